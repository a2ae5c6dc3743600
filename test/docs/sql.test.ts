/** The SQL of the docs, run by DuckDB over what an export writes. */
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { pages, read } from "../../docs/prose.ts";
import { exportSessions } from "../../src/promise.ts";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import { columns } from "../../src/session/Columns.ts";
import { keysOf } from "../cli/command.ts";
import { type Row, sql } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { exportInto, manifestOf, type Options } from "../dataset/written.ts";

/** Give the SQL snippets of a page. */
const snippetsOf = (page: string): ReadonlyArray<string> =>
  [...page.matchAll(/^```sql\n([\s\S]*?)^```$/gm)].map(([, text = ""]) => text);

const datasets = snippetsOf(await read("docs/datasets.md"));
const formats = snippetsOf(await read("docs/formats.md"));

const keysFrom = (rows: ReadonlyArray<Row>) =>
  rows.map(({ user_id, session_id }) => `${user_id} ${session_id}`).sort();

/** Runs the snippets of `docs/datasets.md` over a folder: gives the rows of each query that follows on the first one. */
const query = (root: string): Promise<ReadonlyArray<ReadonlyArray<Row>>> => {
  const [prelude = "", ...queries] = datasets.map((text) => text.replaceAll("export/", `${root}/`));
  return Promise.all(queries.map((text) => sql(`${prelude}${text}`)));
};

/** A tenant with values that a reader who guesses at types would change. */
const tenant = (): { readonly sandbox: Sandbox; readonly userId: string } => {
  const sandbox = make({ users: 3, sessionsPerUser: 40 });
  const [userId = ""] = sandbox.userIds();
  for (const session_id of ["123456789012345678901", "0012", "1e5", "true"]) {
    sandbox.add(userId, {
      session_id,
      last_metadata: { country: "2024-1-1", region: "NULL", city: "", user_agent: '12:30, "and" a\nline' },
    } as never);
  }
  return { sandbox, userId };
};

/** Takes a column out of the first parts, as if a version that did not know it had written them. */
const withoutColumn = async (root: string, name: string): Promise<void> => {
  for (
    const [path, reader, options] of [
      ["parquet/part-00000.parquet", "read_parquet('FILE')", "FORMAT parquet"],
      [
        "csv/part-00000.csv",
        "read_csv('FILE', all_varchar = true, header = true, quote = '\"', escape = '\"')",
        "HEADER",
      ],
    ] as const
  ) {
    const file = join(root, path);
    await sql(
      `COPY (SELECT * EXCLUDE (${name}) FROM ${reader.replace("FILE", file)}) TO '${file}.new' (${options})`,
    );
    await rename(`${file}.new`, file);
  }
};

it("is run here, all of it", async () => {
  const found = await Promise.all(
    // Those of the warehouse and of many machines have tests of their own.
    (await pages()).filter((path) => !["docs/scale.md", "docs/warehouse.md"].includes(path))
      .map(async (path) => snippetsOf(await read(path)).map(() => path)),
  );
  expect(found.flat()).toEqual([
    ...datasets.map(() => "docs/datasets.md"),
    ...formats.map(() => "docs/formats.md"),
  ]);
  expect([datasets.length, formats.length]).toEqual([5, 2]);
});

it("reads single files as they are, with ids and texts that look like something else", async () => {
  const root = await newFolder();
  // Every value of a column looks like something else: else a reader who guesses would take it for text.
  const sandbox = make({ users: 1, sessionsPerUser: 0 });
  const [userId = ""] = sandbox.userIds();
  const metadata = {
    country: "2024-1-1",
    region: "12:30",
    city: "true",
    user_agent: "007",
    ip_address: "1e5",
  };
  for (const session_id of ["123456789012345678901", "123456789012345678902", "123456789012345678903"]) {
    sandbox.add(userId, { session_id, session_key: "00", last_metadata: metadata } as never);
  }
  const fetch: typeof globalThis.fetch = (input, init) => sandbox.fetch(new Request(input, init));
  const out = ["sessions.csv", "sessions.parquet"].map((name) => join(root, name));
  await exportSessions({ domain: "sandbox.example", apiKey: sandbox.key, fetch, users: "all", out });
  const [csv = [], countries = []] = await Promise.all(
    formats.map((text) => sql(text.replaceAll("'sessions.", `'${root}/sessions.`))),
  );
  expect(keysFrom(csv)).toEqual(keysOf(sandbox));
  expect(csv).toEqual(await sql(`FROM '${root}/sessions.parquet'`));
  expect(csv[0]).toMatchObject({ session_key: "00", ...metadata });
  expect(Object.keys(csv[0]!)).toEqual(columns.map(({ name }) => name));
  expect(countries).toEqual([{ country: "2024-1-1", sessions: 3n }]);
});

it("names the same types for CSV wherever it is read", () => {
  const typesOf = (texts: ReadonlyArray<string>) =>
    texts.filter((text) => text.includes("read_csv")).map((text) => /types = \{[^}]*\}/.exec(text)?.[0]);
  const [types] = typesOf(formats);
  expect(typesOf(datasets)).toEqual([types]);
  expect(columns.filter(({ name }) => !new RegExp(`\\b${name}: '`).test(types!))).toEqual([]);
});

it.each([true, false])("reads a dataset through its manifest; pruned: %s", async (prune) => {
  const root = await newFolder();
  const { sandbox, userId } = tenant();
  const next: Options = { changes: "since-last", mode: "resume", prune };
  await exportInto(sandbox, root, next);
  const ended = [...sandbox.sessions(userId)].slice(0, 3).map(({ session_id }) => session_id);
  const before = keysOf(sandbox);
  const [used] = [...sandbox.sessions(userId)].slice(-1);
  sandbox.update(userId, used!.session_id);
  for (const id of ended) sandbox.remove(userId, id);
  const added = sandbox.add(userId);
  await exportInto(sandbox, root, next);
  expect((await manifestOf(root)).parts.some(({ format }: { format: string }) => format === "tombstones"))
    .toBe(prune);
  await withoutColumn(root, "user_agent");
  // A part that no manifest names: what a killed run leaves.
  await sql(`COPY (SELECT 'nobody' AS user_id) TO '${root}/parquet/part-99999.parquet'`);

  const [parquet = [], csv = [], newest = [], listed = []] = await query(root);
  const ever = [...before, `${userId} ${added.session_id}`].sort();
  expect(keysFrom(parquet)).toEqual([...ever, `${userId} ${used!.session_id}`].sort());
  expect(keysFrom(csv)).toEqual(keysFrom(parquet));
  expect(keysFrom(newest)).toEqual(ever);
  expect(keysFrom(listed)).toEqual(prune ? keysOf(sandbox) : ever);
  const now = [...sandbox.sessions(userId)].find(({ session_id }) => session_id === used!.session_id)!;
  for (const rows of [parquet, csv, newest, listed]) {
    // Those that the first part does not have are there as well.
    expect(Object.keys(rows[0]!).toSorted()).toEqual(columns.map(({ name }) => name).toSorted());
    expect(rows.some(({ user_agent }) => user_agent !== null)).toBe(true);
  }
  for (const rows of [newest, listed]) {
    expect(rows.find(({ session_id }) => session_id === used!.session_id)).toMatchObject({
      last_updated: new Date(now.last_updated * 1000),
    });
  }
});
