/** Files that are made to hurt their reader, by their depth, their size or what they say of themselves: each one by itself. */
import { createHash } from "node:crypto";
import { readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import * as Effect from "effect/Effect";
import { describe, expect, it } from "vitest";
import * as Verify from "../../../src/dataset/verify/Verify.ts";
import * as Formats from "../../../src/format/Formats.ts";
import { newFolder } from "../../folders.ts";
import { deep, doNow, formats, received, sandbox } from "../hostile.ts";
import {
  changeManifest,
  choices,
  exportInto,
  failureOf,
  manifestOf,
  mend,
  problemsOf,
  setManifest,
} from "../written.ts";

const addTo = (root: string) => failureOf(sandbox, root, { formats, mode: "resume", changes: "since-last" });

describe("JSON that is too much is damage:", () => {
  const bodies: ReadonlyArray<readonly [string, string, string]> = [
    ["arrays in arrays", deep(), "it is nested more than 100 deep"],
    ["objects in objects", `${'{"a":'.repeat(2e5)}1${"}".repeat(2e5)}`, "it is nested more than 100 deep"],
    [
      "a great many names",
      `{${Array.from({ length: 2e5 }, (_, i) => `"a${i}":0`)}}`,
      "it has more than 500 names",
    ],
    ["a great many values", `[${"0,".repeat(2 ** 24)}0]`, "it has more than 16777216 values"],
  ];
  it.each(bodies)("%s", async (_, body, words) => {
    for (const name of ["manifest.json", "journal.ndjson"]) {
      const { root } = await received();
      await writeFile(join(root, name), `${body}\n`);
      const error = await Effect.runPromise(Effect.flip(Verify.run(root)));
      expect(error.message).toContain(`${join(root, name)} is damaged: ${words}`);
    }
  });

  it("a gigabyte", async () => {
    for (const name of ["manifest.json", "journal.ndjson"]) {
      const { root } = await received();
      await writeFile(join(root, name), "");
      await truncate(join(root, name), 2 ** 30);
      const error = await Effect.runPromise(Effect.flip(Verify.run(root)));
      expect(error.message).toBe(
        `${join(root, name)} is damaged: it has ${2 ** 30} bytes, and ${
          2 ** 28
        } are the most it may have. ${doNow}`,
      );
    }
  });

  it("a line of the journal of more than 64 MiB", async () => {
    const { root } = await received();
    await writeFile(join(root, "journal.ndjson"), " ".repeat(2 ** 26 + 2 ** 20));
    const error = await addTo(root);
    expect(error.message).toContain("journal.ndjson is damaged: a line is longer than 67108864 bytes");
  });

  it("where a walk stands that is nowhere", async () => {
    const { root } = await received();
    await changeManifest(
      root,
      (manifest) => manifest.failed = [{ user_id: "a", message: "", state: { walk: 1 } }],
    );
    expect((await addTo(root)).message).toContain(
      "manifest.json is damaged: failed.0.state: is no state of a walk",
    );
  });
});

/** Replaces a part by these bytes, and makes the manifest say that they were written so. */
const put = async (root: string, path: string, bytes: Uint8Array) => {
  await writeFile(join(root, path), bytes);
  await mend(root, path);
};

describe("a part that is made to hurt its reader is damage:", () => {
  const line = (part: string) => `{"user_id":"u","session_id":"s",${part}}\n`;
  const parquetOf = (footer: ReadonlyArray<number>) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(footer.length);
    return Buffer.concat([Buffer.from("PAR1"), Buffer.from(footer), length, Buffer.from("PAR1")]);
  };
  const many = (length: number, byte: number) => Array.from({ length }, () => byte);
  // A list that says it has 30 million items, of which the first is such a list.
  const list = [0xf9, 0x80, 0x87, 0xa7, 0x0e];
  const bodies: ReadonlyArray<readonly [string, string, () => Uint8Array, RegExp]> = [
    [
      "a row nested 200,000 deep",
      "ndjson/part-00000.ndjson",
      () => Buffer.from(line(`"x":${deep()}`)),
      /row 1 is (no session|nested too deep)/,
    ],
    ["a line of 70 MB", "ndjson/part-00000.ndjson", () => Buffer.alloc(70e6, 0x61), /a line is longer than/],
    [
      "millions of lines",
      "ndjson/part-00000.ndjson",
      () => Buffer.alloc(6e5, 0x0a),
      /was not read on from row/,
    ],
    [
      "a row of millions of cells",
      "csv/part-00000.csv",
      () => Buffer.alloc(5e6, 0x2c),
      /more than 10000 columns/,
    ],
    [
      "a cursor nested deep",
      "cursors/part-00000.ndjson",
      () => Buffer.from(line(`"cursor":${deep()}`)),
      /is no cursor/,
    ],
    [
      "lists of Parquet that are not there",
      "parquet/part-00000.parquet",
      () => parquetOf([0x19, ...Array.from({ length: 50 }, () => list).flat()]),
      /can't be read: it is no Parquet of this program: a list has 30000000 items/,
    ],
    [
      "a number of Parquet without an end",
      "parquet/part-00000.parquet",
      () => parquetOf([0x16, ...many(1e6, 0xff)]),
      /a number has no end/,
    ],
    [
      "structs of Parquet in structs",
      "parquet/part-00000.parquet",
      () => parquetOf(many(1e6, 0x1c)),
      /it is nested too deep/,
    ],
  ];
  it.each(bodies)("%s", async (_, path, bytes, words) => {
    const { root } = await received();
    await put(root, path, bytes());
    const problems = await problemsOf(root);
    expect(problems.find((problem) => words.test(problem))).toContain(path);
  });

  it("a bomb of gzip", async () => {
    const root = join(await newFolder(), "data");
    await exportInto(sandbox, root, { formats: choices("ndjson.gz") });
    for (const [bytes, byte] of [[7e7, 0x61], [1e6, 0x0a]] as const) {
      await put(root, "ndjson/part-00000.ndjson.gz", gzipSync(Buffer.alloc(bytes, byte)));
      expect((await problemsOf(root)).join()).toMatch(/a line is longer than|was not read on from row/);
    }
  });

  it.each([1, 2] as const)("values of Parquet %d that are packed as more than they are", async (version) => {
    const parquet = Formats.choose("parquet", { parquet: { version } })!;
    const { root } = await received([...choices("ndjson", "csv"), parquet]);
    const path = "parquet/part-00000.parquet";
    const whole = await readFile(join(root, path));
    // Of each byte in turn of the pages: whatever it tells, the reader comes to an end.
    for (let at = 4; at < whole.length - 8; at += 37) {
      const bytes = Buffer.from(whole);
      bytes[at] = 0xfe;
      await writeFile(join(root, path), bytes);
      const manifest = await manifestOf(root);
      const part = manifest.parts.find((part: { readonly path: string }) => part.path === path);
      part.sha256 = createHash("sha256").update(bytes).digest("hex");
      await setManifest(root, manifest);
      const { problems } = await Effect.runPromise(Verify.run(root));
      expect(problems.every((problem) => problem.path === path || problem.path.startsWith("csv"))).toBe(true);
    }
  });
});
