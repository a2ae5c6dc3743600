/**
 * A later version, which knows a field more of a session and one more of its metadata: what this version and 0.1 wrote is read,
 * verified, resumed, extended, pruned and replayed by it.
 */
import { cp, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import * as promise from "../../src/promise.ts";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import { columns } from "../../src/session/Columns.ts";
import { sql } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { reach, reasonOf } from "../promise/tenant.ts";
import { tenantAt, unpack } from "./version1.ts";
import { changeManifest } from "./written.ts";

/** Loads the library with two fields more: `acr` and `last_metadata.device`. Nothing but the schema is changed. */
const laterVersion = async (): Promise<typeof promise> => {
  const root = await newFolder();
  const project = new URL("../../", import.meta.url);
  await cp(new URL("src", project), join(root, "src"), { recursive: true });
  await symlink(fileURLToPath(new URL("node_modules", project)), join(root, "node_modules"));
  const path = join(root, "src", "session", "Session.ts");
  let source = await readFile(path, "utf8");
  for (const line of ["  city: text,\n", "  initiated_at: EpochSeconds,\n"]) {
    expect(source.split(line)).toHaveLength(2);
    source = source.replace(line, `${line.includes("city") ? "  device: text,\n" : "  acr: text,\n"}${line}`);
  }
  await writeFile(path, source);
  return await import(pathToFileURL(join(root, "src", "promise.ts")).href);
};

type Json = Record<string, unknown>;

/** Reaches a tenant that serves fields of later versions, by `change`. */
const serving = (sandbox: Sandbox, change: (session: Json) => Json) => ({
  ...reach(sandbox),
  fetch: async (input: string | URL | Request, init?: RequestInit) => {
    const response = await sandbox.fetch(new Request(input, init));
    if (!new URL(response.url || new Request(input).url).pathname.endsWith("/sessions")) return response;
    const rows: ReadonlyArray<Json> = await response.json();
    return new Response(JSON.stringify(rows.map(change)), response);
  },
});

const withMore = (session: Json): Json => ({
  ...session,
  acr: "loa2",
  last_metadata: { ...session["last_metadata"] as Json, device: "phone" },
  amr: ["pwd"],
});

/** The same, as a later version refuses it: of such a type as its field does not have. */
const withOthers = (session: Json): Json => ({
  ...withMore(session),
  acr: 5,
  last_metadata: { ...session["last_metadata"] as Json, device: ["phone", "watch"] },
});

const isFaultless = async (library: typeof promise, folder: string) =>
  expect((await library.verify(folder)).problems).toEqual([]);

const FORMATS = ["ndjson", "csv", "parquet"] as const;

/** What tables of all parts together say of the two columns, and how many rows they have. */
const countsIn = async (folder: string) => {
  const tables = [
    `read_json('${folder}/ndjson/*.ndjson', union_by_name = true, columns = {acr: 'JSON'})`,
    `read_csv('${folder}/csv/*.csv', union_by_name = true, all_varchar = true)`,
    `read_parquet('${folder}/parquet/*.parquet', union_by_name = true)`,
  ];
  return await Promise.all(tables.map(async (table) => {
    const [row] = await sql(`SELECT count(*) AS rows, count(acr) AS acrs FROM ${table}`);
    return [Number(row!["rows"]), Number(row!["acrs"])];
  }));
};

/** Expects every part of a later version to begin with the columns of this one, and to have its own behind them. */
const areAppended = async (folder: string) => {
  const { parts } = JSON.parse(await readFile(join(folder, "manifest.json"), "utf8"));
  const names = columns.map(({ name }) => name);
  const headers = new Set<string>();
  for (const { path, format } of parts) {
    if (format !== "csv" && format !== "parquet") continue;
    const described = await sql(`DESCRIBE FROM '${join(folder, path)}'`);
    const header = described.map(({ column_name }) => String(column_name));
    expect(header.slice(0, names.length)).toEqual(names);
    headers.add(header.slice(names.length).join());
  }
  expect([...headers].sort()).toEqual(["", "acr,device"]);
};

it.each([
  ["that are as a later version has them", withMore],
  ["that are as no version has them", withOthers],
])("a dataset of this version that holds fields %s", async (_, change) => {
  const later = await laterVersion();
  const sandbox = make({ users: 6, sessionsPerUser: 9 });
  const folder = join(await newFolder(), "sessions");
  const all = { users: "all", folder, formats: FORMATS } as const;
  const before = { ...serving(sandbox, change), ...all };
  const after = { ...serving(sandbox, withMore), ...all };

  // Broken off by this version, gone on with by the later one.
  const controller = new AbortController();
  const fetch: typeof before.fetch = (input, init) => {
    if (sandbox.counts.total === 4) controller.abort("enough");
    return before.fetch(input, init);
  };
  const { signal } = controller;
  expect(await reasonOf(promise.dataset({ ...before, fetch, concurrency: 1, signal }))).toBe("enough");
  await isFaultless(later, folder);
  const resumed = await later.dataset({ ...after, resume: true });
  expect(resumed).toMatchObject({ run: 1, sessions: 54, verified: true });
  await isFaultless(later, folder);
  for (const [rows, acrs] of await countsIn(folder)) {
    expect(rows).toBe(54);
    expect(acrs).toBeGreaterThan(0);
  }
  await areAppended(folder);

  // Extended and pruned: what has not changed is not delivered again for the new columns' sake.
  const [userId = ""] = sandbox.userIds();
  const [ended] = sandbox.sessions(userId);
  sandbox.remove(userId, ended!.session_id);
  sandbox.add(userId);
  const extended = await later.dataset({ ...after, sinceLast: true, prune: true, resume: true });
  expect(extended).toMatchObject({ run: 2, verified: true, tombstones: { gone: 1 } });
  if (change === withMore) expect(extended.sessions).toBe(1);
  await isFaultless(later, folder);
  await later.replay(folder);

  // The version before tells that it can't read what came after it.
  const { problems } = await promise.verify(folder);
  expect(problems.map(({ problem }) => problem).join()).toMatch(
    /column "acr", which this version does not know/,
  );
  await changeManifest(folder, (manifest: { parts: Array<{ columns?: Array<string> }> }) => {
    for (const part of manifest.parts) if (part.columns) part.columns = ["user_id", "session_id"];
  });
  const without = await later.verify(folder);
  expect(without.problems.map(({ problem }) => problem).join()).toContain("it has no column initiated_at");
});

it("a dataset of 0.1, which did not record its columns", async () => {
  const later = await laterVersion();
  const folder = await unpack("finished");
  const { sandbox, pass } = tenantAt("finished");
  await isFaultless(later, folder);
  await later.replay(folder);
  pass();
  const run = await later.dataset({
    ...reach(sandbox),
    domain: JSON.parse(await readFile(join(folder, "manifest.json"), "utf8")).tenant,
    users: "all",
    folder,
    formats: ["ndjson", "csv.gz", "parquet"],
    sinceLast: true,
    prune: true,
    resume: true,
  });
  expect(run).toMatchObject({ sessions: 0 });
  await isFaultless(later, folder);
});
