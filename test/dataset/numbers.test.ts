/** Which numbers parts get, by what is found: never one that a part has had. And what the manifest says of a dataset. */
import { readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import { columns } from "../../src/session/Columns.ts";
import type * as Manifest from "../../src/dataset/Manifest.ts";
import * as Verify from "../../src/dataset/verify/Verify.ts";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import { keysOf } from "../cli/command.ts";
import { keysInEach } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { changeManifest, choices, exportInto, failureOf, manifestOf, type Options } from "./written.ts";

const options: Options = { formats: choices("ndjson", "csv", "parquet"), partRows: 40, mode: "resume" };
const adding: Options = { ...options, changes: "since-last" };

const tenant = () => make({ users: 6, sessionsPerUser: 25 });

/** As it is, but the tenant refuses the key after so many answers. */
const refusing = (sandbox: Sandbox, after: number): Sandbox => {
  let answers = 0;
  return {
    ...sandbox,
    fetch: (request) =>
      answers++ < after ? sandbox.fetch(request) : Promise.resolve(new Response("", { status: 401 })),
  };
};

// deno-lint-ignore no-explicit-any
const journalOf = async (root: string): Promise<Array<any>> =>
  (await readFile(join(root, "journal.ndjson"), "utf8")).trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );

const setJournal = (root: string, lines: ReadonlyArray<unknown>) =>
  writeFile(join(root, "journal.ndjson"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));

const highest = async (root: string): Promise<number> =>
  Math.max(...(await manifestOf(root)).parts.map(({ part }: Manifest.Part) => part));

const problems = async (root: string) => (await Effect.runPromise(Verify.run(root))).problems;

it("numbers follow one another as long as nothing is broken off", async () => {
  const root = await newFolder();
  const sandbox = tenant();
  for (let run = 0; run < 3; run++) {
    await exportInto(sandbox, root, adding);
    for (const userId of sandbox.userIds()) sandbox.add(userId);
  }
  const { parts, next_part } = await manifestOf(root);
  const numbers = [...new Set<number>(parts.map(({ part }: Manifest.Part) => part))];
  expect(numbers).toEqual(Array.from({ length: next_part }, (_, i) => i));
});

it("a number that a killed process has taken is not given again, whatever comes between", async () => {
  const root = await newFolder();
  const sandbox = tenant();
  await exportInto(sandbox, root, adding);
  const { next_part: free, runs } = await manifestOf(root);
  for (const userId of sandbox.userIds()) sandbox.add(userId);
  // Killed before its first checkpoint, when a part had its name: the header says that the number is taken.
  await exportInto(refusing(sandbox, 5), root, adding).catch(() => undefined);
  const [header] = await journalOf(root);
  expect(header).toMatchObject({ run: runs.length + 1, claims: free });
  await setJournal(root, [header]);
  // A run that has nothing to do sweeps what is left, and does not forget the number.
  expect(await exportInto(sandbox, root, options)).toMatchObject({ wasFinished: true });
  expect((await readdir(root)).sort()).toEqual(["csv", "cursors", "manifest.json", "ndjson", "parquet"]);
  expect(await manifestOf(root)).toMatchObject({ next_part: free + 1 });
  expect(await problems(root)).toEqual([]);
  await exportInto(sandbox, root, adding);
  const { parts } = await manifestOf(root);
  expect(parts.filter(({ part }: Manifest.Part) => part === free)).toEqual([]);
  expect(await highest(root)).toBe(free + 1);
  expect(await problems(root)).toEqual([]);
});

it("nor is it where the run after it knows none of the users", async () => {
  const root = await newFolder();
  const sandbox = tenant();
  await exportInto(refusing(sandbox, 4), root, options).catch(() => undefined);
  const [header] = await journalOf(root);
  await setJournal(root, [{ ...header, claims: 7 }]);
  for (const folder of ["ndjson", "csv", "parquet"]) {
    for (const name of await readdir(join(root, folder))) {
      await rename(join(root, folder, name), join(root, folder, name.replace(/\d{5}/, "00007")));
    }
  }
  const unknown: Sandbox = {
    ...sandbox,
    fetch: () =>
      Promise.resolve(Response.json({ status: 404 }, {
        status: 404,
        headers: { "content-type": "application/problem+json" },
      })),
  };
  expect(await failureOf(unknown, root, options)).toMatchObject({ reason: "NoSuchUsers" });
  await exportInto(sandbox, root, options);
  expect((await manifestOf(root)).parts[0].part).toBeGreaterThan(7);
  for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
});

it("a file of someone else among the parts stays, and is told of", async () => {
  const root = await newFolder();
  const sandbox = tenant();
  await exportInto(sandbox, root, adding);
  for (const name of ["csv/part-00000.csv.gz", "csv/part-00099.csv"]) {
    const { mkdir, rm } = await import("node:fs/promises");
    await mkdir(join(root, name, ".."), { recursive: true });
    await writeFile(join(root, name), "mine");
    expect(await failureOf(sandbox, root, adding)).toMatchObject({ reason: "Occupied" });
    expect(await readFile(join(root, name), "utf8")).toBe("mine");
    await rm(join(root, name));
  }
});

it("the manifest has an id that stays, and each part of sessions its columns", async () => {
  const root = await newFolder();
  const sandbox = tenant();
  await exportInto(refusing(sandbox, 4), root, adding).catch(() => undefined);
  const [{ dataset_id: id }] = await journalOf(root);
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-/);
  for (let run = 0; run < 2; run++) {
    await exportInto(sandbox, root, adding);
    expect(await manifestOf(root)).toMatchObject({ dataset_id: id });
    for (const userId of sandbox.userIds()) sandbox.add(userId);
  }
  const names = columns.map(({ name }) => name);
  for (const part of (await manifestOf(root)).parts) {
    expect(part.columns).toEqual(
      { csv: names, parquet: names, ndjson: names.slice(0, -1) }[part.format as string],
    );
  }
  const [line] = (await readFile(join(root, "csv/part-00000.csv"), "utf8")).split("\r\n");
  expect(line).toBe(names.join());
});

it("a dataset of version 0.1 is verified, gone on with and added to", async () => {
  const root = await newFolder();
  const sandbox = tenant();
  await exportInto(refusing(sandbox, 5), root, adding).catch(() => undefined);
  // As version 0.1 left it when it was killed: nothing says which number is taken.
  const [{ dataset_id: _, claims: __, users_file, ...header }, ...checkpoints] = await journalOf(root);
  const last = checkpoints.pop();
  await rename(join(root, users_file.path), join(root, "users.txt"));
  const plain = (parts: ReadonlyArray<Manifest.Part>) => parts.map(({ columns: _, ...part }) => part);
  await setJournal(root, [
    header,
    ...checkpoints.map(({ claims: _, parts, ...cut }) => ({ ...cut, parts: plain(parts) })),
  ]);
  const taken = last.parts[0].part;
  expect(await problems(root)).toEqual([]);
  await exportInto(sandbox, root, adding);
  for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
  const { parts } = await manifestOf(root);
  expect(parts.filter(({ part }: Manifest.Part) => part === taken)).toEqual([]);
  expect(await problems(root)).toEqual([]);
  // And as it left it when it had finished.
  await changeManifest(root, (manifest) => {
    delete manifest.dataset_id;
    delete manifest.next_part;
    manifest.parts = plain(manifest.parts);
  });
  expect(await problems(root)).toEqual([]);
  for (const userId of sandbox.userIds()) sandbox.add(userId);
  await exportInto(sandbox, root, adding);
  expect(await manifestOf(root)).toMatchObject({
    dataset_id: expect.any(String),
    next_part: expect.any(Number),
  });
  expect(await problems(root)).toEqual([]);
});

it.each([
  { what: "shorter", change: (text: string) => text.slice(0, text.indexOf("\n") + 1) },
  { what: "missing", change: undefined },
])("a list of users that is $what ends the run that goes on", async ({ change }) => {
  const root = await newFolder();
  const sandbox = tenant();
  await exportInto(refusing(sandbox, 4), root, options).catch(() => undefined);
  const [{ users_file: { path } }] = await journalOf(root);
  const { rm } = await import("node:fs/promises");
  if (change === undefined) await rm(join(root, path));
  else await writeFile(join(root, path), change(await readFile(join(root, path), "utf8")));
  const error = await failureOf(sandbox, root, options);
  expect(error).toMatchObject({ _tag: "DatasetError", reason: "Corrupt", path: join(root, path) });
});

it("a journal that was moved away by a process that died is put back", async () => {
  const root = await newFolder();
  const sandbox = tenant();
  await exportInto(refusing(sandbox, 4), root, options).catch(() => undefined);
  await rename(join(root, "journal.ndjson"), join(root, "journal.ndjson.0a1b2c3d.moved"));
  await exportInto(sandbox, root, options);
  expect((await readdir(root)).sort()).toEqual(["csv", "cursors", "manifest.json", "ndjson", "parquet"]);
  for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
});
