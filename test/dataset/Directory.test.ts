import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { expect, it } from "vitest";
import * as Batch from "../../src/Batch.ts";
import { columns } from "../../src/Columns.ts";
import * as Directory from "../../src/dataset/Directory.ts";
import * as Export from "../../src/Export.ts";
import * as Formats from "../../src/format/Formats.ts";
import { version } from "../../src/version.ts";
import { examples } from "../contract/sessions.ts";
import { newFolder } from "../folders.ts";

const choices = (...names: ReadonlyArray<string>): ReadonlyArray<Formats.Choice> =>
  names.map((name) => Formats.choose(name)!);

const rejected: Batch.Batch["rejected"][number] = {
  userId: "bob",
  page: 1,
  size: 100,
  index: 0,
  message: "not a session",
  source: '{"session_id":7}',
};

const source = Stream.make<[Batch.Batch, Batch.Batch]>(
  Batch.make("alice", examples(5)),
  { ...Batch.make("bob", examples(2)), rejected: [rejected] },
);

/** Exports into the folder; leaves out the completion if told so. */
const exportInto = (
  root: string,
  formats: ReadonlyArray<Formats.Choice>,
  batches: Stream.Stream<Batch.Batch, unknown> = source,
) =>
  Effect.gen(function* () {
    const directory = yield* Directory.open(root, formats);
    const report = yield* Export.run({
      source: batches,
      targets: directory.targets,
      rejects: directory.rejects,
    });
    return { report, complete: directory.complete(report, { tenant: "https://tenant.example", run: 7 }) };
  });

const exportWhole = (root: string, formats: ReadonlyArray<Formats.Choice>) =>
  Effect.runPromise(Effect.flatMap(exportInto(root, formats), ({ complete }) => complete));

const tree = async (root: string): Promise<Array<string>> => {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1)).sort();
};

const manifestOf = async (root: string) => JSON.parse(await readFile(join(root, "manifest.json"), "utf8"));

const refusal = (root: string) => Effect.runPromise(Effect.flip(Directory.open(root, choices("csv"))));

it("has a folder for each format, one for rejected rows, and a manifest", async () => {
  const root = join(await newFolder(), "made", "as", "needed");
  await exportWhole(root, choices("ndjson", "csv", "parquet"));
  expect(await tree(root)).toEqual([
    "csv/part-00000.csv",
    "manifest.json",
    "ndjson/part-00000.ndjson",
    "parquet/part-00000.parquet",
    "rejected/part-00000.ndjson",
  ]);
});

it("compresses a part whose format says so", async () => {
  const root = join(await newFolder(), "out");
  await exportWhole(root, choices("ndjson.gz", "csv.gz"));
  const text = gunzipSync(await readFile(join(root, "csv/part-00000.csv.gz"))).toString();
  expect(text.trimEnd().split("\r\n")).toHaveLength(8);
  expect((await tree(root))[1]).toBe("manifest.json");
});

it("has a manifest that says of every file what is really there", async () => {
  const root = join(await newFolder(), "out");
  await exportWhole(root, choices("ndjson", "csv.gz", "parquet"));
  const manifest = await manifestOf(root);
  expect(manifest.files.map(({ path, format, rows }: Record<string, unknown>) => [path, format, rows]))
    .toEqual([
      ["rejected/part-00000.ndjson", "rejected", 1],
      ["ndjson/part-00000.ndjson", "ndjson", 7],
      ["csv/part-00000.csv.gz", "csv", 7],
      ["parquet/part-00000.parquet", "parquet", 7],
    ]);
  for (const { path, bytes, sha256 } of manifest.files) {
    const file = await readFile(join(root, path));
    expect(bytes).toBe(file.length);
    expect(sha256).toBe(createHash("sha256").update(file).digest("hex"));
  }
  expect(manifest.bytes).toBe(
    manifest.files.reduce((sum: number, file: { bytes: number }) => sum + file.bytes, 0),
  );
});

it("has a manifest that says what was exported, from where, by what, and with which columns", async () => {
  const root = join(await newFolder(), "out");
  await exportWhole(root, choices("csv"));
  const manifest = await manifestOf(root);
  expect(manifest).toMatchObject({
    manifest_version: 1,
    created_by: `monocloud-sessions ${version}`,
    tenant: "https://tenant.example",
    run: 7,
    sessions: 7,
    rejected: 1,
    verified: true,
  });
  expect(manifest.columns.map(({ name }: { name: string }) => name)).toEqual(
    columns.map(({ name }) => name),
  );
  expect(manifest.columns).toContainEqual({ name: "session_id", type: "VARCHAR", nullable: false });
});

it("gives paths in the manifest that hold when the folder is named with dots and slashes", async () => {
  const root = join(await newFolder(), "out");
  await exportWhole(`${root}/../out//`, choices("csv"));
  expect((await manifestOf(root)).files[1].path).toBe("csv/part-00000.csv");
});

it("gets its manifest last", async () => {
  const root = join(await newFolder(), "out");
  const { complete } = await Effect.runPromise(exportInto(root, choices("csv")));
  expect(await tree(root)).toEqual(["csv/part-00000.csv", "rejected/part-00000.ndjson"]);
  await Effect.runPromise(complete);
  expect(await tree(root)).toContain("manifest.json");
});

it("has neither parts nor a manifest after an export that failed, and can be used again", async () => {
  const root = join(await newFolder(), "out");
  const failing = Stream.concat(source, Stream.fail("this source's failure"));
  await Effect.runPromise(Effect.flip(exportInto(root, choices("csv", "parquet"), failing)));
  expect(await tree(root)).toEqual([]);
  await exportWhole(root, choices("csv"));
  expect(await tree(root)).toContain("manifest.json");
});

it("is refused when it holds a finished export, which stays as it is", async () => {
  const root = join(await newFolder(), "out");
  await exportWhole(root, choices("csv"));
  const before = await stat(join(root, "manifest.json"));
  const error = await refusal(root);
  expect(error).toMatchObject({ _tag: "DirectoryError", reason: "Occupied", path: root });
  expect(error.message).toBe(
    `Cannot export into ${root}: it holds a finished export. Choose another folder, or remove this one first`,
  );
  expect((await stat(join(root, "manifest.json"))).mtimeMs).toBe(before.mtimeMs);
});

it.each(["ndjson", "csv", "parquet", "rejected"])(
  "is refused when it holds parts in %s and no manifest",
  async (folder) => {
    const root = await newFolder();
    await mkdir(join(root, folder));
    await writeFile(join(root, folder, `part-00000.${folder}`), "");
    const error = await refusal(root);
    expect(error).toMatchObject({ _tag: "DirectoryError", reason: "Occupied" });
    expect(error.message).toBe(
      `Cannot export into ${root}: it holds parts of an export that did not finish. ` +
        "Choose another folder, or remove this one first",
    );
  },
);

it("is accepted with what a killed export left unfinished, and with files of someone else", async () => {
  const root = await newFolder();
  await mkdir(join(root, "csv"));
  await writeFile(join(root, "csv", "part-00000.csv.0a1b2c3d.partial"), "half");
  await writeFile(join(root, "manifest.json.0a1b2c3d.partial"), "half");
  await writeFile(join(root, "README.md"), "mine");
  await exportWhole(root, choices("csv"));
  expect(await readFile(join(root, "README.md"), "utf8")).toBe("mine");
  expect((await manifestOf(root)).files[1].path).toBe("csv/part-00000.csv");
});

it("can't be where a file is", async () => {
  const path = join(await newFolder(), "a-file");
  await writeFile(path, "mine");
  const error = await refusal(path);
  expect(error).toMatchObject({ _tag: "OutputError", reason: "Open" });
  expect(error.message).toBe(`Cannot open ${path}: part of its path is a file, not a folder`);
  expect(await readFile(path, "utf8")).toBe("mine");
});
