import * as Batch from "../../../src/session/Batch.ts";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { gzipSync } from "node:zlib";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import * as Effect from "effect/Effect";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as DigestList from "../../../src/dataset/DigestList.ts";
import type * as Manifest from "../../../src/dataset/Manifest.ts";
import * as Verify from "../../../src/dataset/verify/Verify.ts";
import type { Encodable } from "../../../src/format/Format.ts";
import type { Session } from "../../../src/session/Session.ts";
import { make } from "../../../src/sandbox/mod.ts";
import { anyText, batch, example, examples } from "../../contract/sessions.ts";
import { newFolder } from "../../folders.ts";
import {
  changeManifest,
  changeText,
  choices,
  exportInto,
  type Given,
  manifestOf,
  mend,
  problemsOf,
  write,
} from "../written.ts";
import { some } from "../../size.ts";

const verify = (root: string) => Effect.runPromise(Verify.run(root));

/** The problems, as a person reads them. */
/** Two parts of 116 rows and what was quarantined of each, in every format. */
const exported = async (options?: Parameters<typeof exportInto>[2]) => {
  const root = await newFolder();
  await exportInto(make({ users: 6, sessionsPerUser: 40, seed: 3, malformed: 0.03 }), root, options);
  return root;
};

const ndjson = "ndjson/part-00001.ndjson";
const csv = "csv/part-00001.csv";
const parquet = "parquet/part-00001.parquet";

/** The line with this number, from 1, of text whose lines end so. */
const lineOf = (text: string, number: number, end = "\n") => text.split(end)[number - 1]! + end;

const inEvery = (batches: ReadonlyArray<Encodable>): ReadonlyArray<Given> => [
  { format: "ndjson", batches },
  { format: "csv", batches },
  { format: "parquet", batches },
];

const of = (sessions: ReadonlyArray<Session>, userId = "alice"): ReadonlyArray<Encodable> => [
  Batch.make(userId, sessions),
];

describe("a dataset as it was written", () => {
  it.each([["ndjson", "csv", "parquet"], ["ndjson.gz", "csv.gz"], ["parquet"], ["csv"]])(
    "verifies: %s %s %s",
    async (...names) => {
      const formats = choices(...names.filter((name) => name !== undefined));
      const root = await exported({ formats });
      const { parts, runs } = await manifestOf(root);
      const [{ sessions, quarantined }] = runs;
      expect(quarantined).toBeGreaterThan(0);
      expect(await verify(root)).toEqual({
        parts: parts.length,
        sessions,
        rows: sessions * formats.length + quarantined,
        bytes: parts.reduce((sum: number, { bytes }: { bytes: number }) => sum + bytes, 0),
        unfinished: false,
        problems: [],
      });
    },
  );

  it("verifies whatever rows are in it, in all formats", async () => {
    const batches = fc.array(batch, { maxLength: 4 }).map((batches) => {
      // Sessions of a user are known by their ids.
      const ids = new Set<string>();
      return batches.map((batch): Encodable =>
        Batch.filter(batch, ({ session_id }, userId) => {
          const id = `${userId.toWellFormed()} ${session_id.toWellFormed()}`;
          if (ids.has(id)) return false;
          ids.add(id);
          return true;
        })
      );
    });
    const keeps = fc.constantFrom(true, false, undefined);
    const versions = fc.constantFrom(1 as const, 2 as const);
    await fc.assert(
      fc.asyncProperty(
        batches,
        keeps,
        fc.boolean(),
        versions,
        async (batches, keepFormulas, gzip, version) => {
          const root = await newFolder();
          const given: ReadonlyArray<Given> = [
            { format: "ndjson", gzip, batches },
            { format: "csv", gzip, batches, keepFormulas: keepFormulas ?? false },
            { format: "parquet", version, batches },
          ];
          await write(root, [given], keepFormulas === undefined ? {} : { keepFormulas });
          expect(await problemsOf(root)).toEqual([]);
          await rm(root, { recursive: true });
        },
      ),
      { numRuns: some(1000) },
    );
  }, 120_000);

  it("verifies as far as it has come, while its run has not finished", async () => {
    const root = await newFolder();
    const sandbox = make({ users: 12, sessionsPerUser: 35, seed: 5 });
    let answers = 0;
    const failing = {
      ...sandbox,
      fetch: (request: Request) =>
        answers++ < 8 ? sandbox.fetch(request) : Promise.resolve(new Response("", { status: 401 })),
    };
    await exportInto(failing, root, { walk: { concurrency: 1 }, partRows: 50 }).catch(() => undefined);
    await writeFile(join(root, "csv/part-00099.csv"), "just being written");
    expect(await verify(root)).toMatchObject({ unfinished: true, sessions: 8 * 35, problems: [] });
    await rm(join(root, csv));
    expect(await problemsOf(root)).toEqual([`${csv} is missing, with its 70 rows`]);
  });

  it("says that its run has not finished before there is a part as well", async () => {
    const root = await newFolder();
    const refusing = {
      ...make({ users: 2 }),
      fetch: () => Promise.resolve(new Response("", { status: 401 })),
    };
    await exportInto(refusing, root).catch(() => undefined);
    expect(await verify(root)).toMatchObject({ unfinished: true, parts: 0, problems: [] });
  });

  it("is left alone, and needs no right to write", async () => {
    const root = await exported();
    const before = await manifestOf(root);
    await verify(root);
    expect(await manifestOf(root)).toEqual(before);
  });
});

describe("what is not as it was written is told:", () => {
  it("a flipped byte, and the row it is in", async () => {
    const root = await exported();
    await changeText(root, csv, (text) => text.replace(/(.*\r\n.*\r\n[^,]*,[^,]*,.)./, "$1~"));
    const [sum, row, ...more] = await problemsOf(root);
    expect(sum).toMatch(
      /^csv\/part-00001\.csv has been changed since it was written: its sha256 is [0-9a-f]{64}, not /,
    );
    expect(row).toMatch(
      /^csv\/part-00001\.csv row 2 is not that of ndjson\/part-00001\.ndjson: session_key is ".~/,
    );
    expect(more).toEqual([]);
  });

  it("any flipped bit of any part", async () => {
    const root = await newFolder();
    const sandbox = make({ users: 2, sessionsPerUser: 3, seed: 3, malformed: 0.4 });
    await exportInto(sandbox, root, { formats: choices("ndjson.gz", "csv", "parquet") });
    const { parts } = await manifestOf(root);
    expect(parts).toHaveLength(5);
    const anywhere = fc.tuple(fc.nat(parts.length - 1), fc.nat(), fc.nat(7));
    await fc.assert(
      fc.asyncProperty(anywhere, async ([which, place, bit]) => {
        const path = join(root, parts[which].path);
        const bytes = await readFile(path);
        const flipped = Buffer.from(bytes);
        flipped[place % bytes.length]! ^= 1 << bit;
        await writeFile(path, flipped);
        const [first] = (await verify(root)).problems;
        expect(first?.path).toBe(parts[which].path);
        expect(first?.problem).toMatch(/^has been changed since it was written/);
        await writeFile(path, bytes);
      }),
      { numRuns: some(2000) },
    );
    expect(await problemsOf(root)).toEqual([]);
  }, 120_000);

  it.each([ndjson, csv, parquet])("a missing part: %s", async (path) => {
    const root = await exported();
    await rm(join(root, path));
    expect(await problemsOf(root)).toEqual([`${path} is missing, with its 116 rows`]);
  });

  it("a part that can't be opened", async () => {
    const root = await exported();
    await rm(join(root, csv));
    await mkdir(join(root, csv));
    expect((await problemsOf(root))[0]).toMatch(/^csv\/part-00001\.csv can't be read: EISDIR/);
  });

  it.each([[ndjson, "\n", 5], [csv, "\r\n", 6]])("a duplicated row: %s", async (path, end, line) => {
    const root = await exported();
    await changeText(root, path, (text) => text.replace(lineOf(text, line, end), (found) => found + found));
    const problems = await problemsOf(root);
    const [, bytes] = /has (\d+) bytes, not \d+$/.exec(problems[0]!) ?? [];
    expect(Number(bytes)).toBe((await readFile(join(root, path))).length);
    expect(problems.slice(1)).toEqual([
      expect.stringMatching(
        new RegExp(`^${path} row 6 is not that of .*: session_id is .*; and 110 more rows like it$`),
      ),
      `${path} has 117 rows, not 116`,
      expect.stringMatching(
        new RegExp(`^${path} row 6 is there twice: session "[^"]+" of user "[^"]+" is row 5 already$`),
      ),
    ]);
  });

  it("a duplicated row that sums and counts do not tell", async () => {
    const root = await newFolder();
    const sessions = examples(5);
    await write(root, [inEvery(of([...sessions, sessions[1]!]))]);
    expect(await problemsOf(root)).toEqual([
      `ndjson/part-00000.ndjson row 6 is there twice: session "S1" of user "alice" is row 2 already`,
    ]);
  });

  it("a session in two parts, also in one of a later run of the same kind", async () => {
    for (const kinds of [["full"], ["full", "retry"], ["full", "replay"]]) {
      const root = await newFolder();
      const parts = [inEvery(of(examples(5))), inEvery([...of(examples(2), "bob"), ...of(examples(1))])];
      await write(root, parts, {}, kinds);
      expect(await problemsOf(root)).toEqual([
        `ndjson/part-00001.ndjson row 3 is there twice: session "S0" of user "alice" is row 1 of ndjson/part-00000.ndjson already`,
      ]);
    }
  });

  it.each([ndjson, csv])("a format with fewer rows, whose sums were mended: %s", async (path) => {
    const root = await exported();
    const end = path === csv ? "\r\n" : "\n";
    await changeText(root, path, (text) => text.replace(lineOf(text, 101, end), ""));
    await mend(root, path);
    expect(await problemsOf(root)).toContainEqual(`${path} has 115 rows, not 116`);
  });

  it("a format with fewer rows, which says so", async () => {
    const root = await newFolder();
    const batches = of(examples(5));
    await write(root, [[
      { format: "ndjson", batches },
      { format: "parquet", batches: of(examples(4)) },
    ]], { format: ["ndjson", "parquet"] });
    expect(await problemsOf(root)).toEqual([
      "manifest.json says run 1 has 5 sessions, and 4 in its parquet parts",
    ]);
  });

  it("rows in another order", async () => {
    const root = await newFolder();
    const [batches, turned] = [of(examples(5)), of(examples(5).reverse())];
    await write(root, [[{ format: "ndjson", batches }, { format: "parquet", batches: turned }]]);
    expect(await problemsOf(root)).toEqual([
      'parquet/part-00000.parquet row 1 is not that of ndjson/part-00000.ndjson: session_id is "S4", not "S0"; ' +
      "and 3 more rows like it",
    ]);
  });

  const other: ReadonlyArray<readonly [string, Partial<Session> & Record<string, unknown>]> = [
    ["session_key", { session_key: "another" }],
    ["session_key", { session_key: null }],
    ["client_ids", { client_ids: ["another"] }],
    ["client_ids", { client_ids: [] }],
    ["expires_at", { expires_at: 1640983491 }],
    ["last_updated", { last_updated: 1640983491 }],
    ["country", { last_metadata: { ...example().last_metadata, country: "" } }],
    ["city", { last_metadata: { ...example().last_metadata, city: null } }],
    ["latitude", { last_metadata: { ...example().last_metadata, latitude: "34.043239" } }],
    ["user_agent", { last_metadata: { ...example().last_metadata, user_agent: "=1" } }],
    ["user_agent", { last_metadata: { ...example().last_metadata, user_agent: "The User Agent " } }],
    ["_rescued_data", { something: "new" }],
    ["_rescued_data", { user_id: "bob" }],
  ];

  it.each(["ndjson", "csv", "parquet"] as const)("any value that differs in %s alone", async (format) => {
    for (const [column, change] of other) {
      const root = await newFolder();
      const given = inEvery(of([example(), example({ session_id: "S1" })]));
      const changed = of([example(), example({ session_id: "S1", ...change })]);
      await write(root, [given.map((one) => one.format === format ? { ...one, batches: changed } : one)]);
      const problems = await problemsOf(root);
      expect(problems).toHaveLength(format === "ndjson" ? 2 : 1);
      for (const problem of problems) {
        expect(problem).toMatch(new RegExp(`row 2 is not that of .*: ${column} is `));
      }
      await rm(root, { recursive: true });
    }
  });

  it("text that is not escaped as it was to be", async () => {
    const batches = of([example({ last_metadata: { user_agent: "=1+1" } })]);
    const parts = (keepFormulas: boolean): ReadonlyArray<Given> => [
      { format: "parquet", batches },
      { format: "csv", batches, keepFormulas },
    ];
    for (const [written, recorded] of [[true, false], [false, true], [true, true], [false, false]] as const) {
      const root = await newFolder();
      await write(root, [parts(written)], { keepFormulas: recorded });
      const is = written ? '"=1+1", unescaped' : `"'=1+1", not "=1+1"`;
      expect(await problemsOf(root)).toEqual(
        written === recorded
          ? []
          : [`csv/part-00000.csv row 1 is not that of parquet/part-00000.parquet: user_agent is ${is}`],
      );
    }
  });

  it("a line that is no session", async () => {
    const root = await exported();
    for (
      const [line, words] of [
        ["{", "is not JSON"],
        ["", "is not JSON"],
        ["null", "is no session: Expected "],
        [
          JSON.stringify({ user_id: "a", ...example(), expires_at: "soon" }),
          "is no session: expires_at: Expected ",
        ],
        [JSON.stringify(example()), "has no user_id"],
      ] as const
    ) {
      const text = await readFile(join(root, ndjson), "utf8");
      await writeFile(join(root, ndjson), text.replace(lineOf(text, 7), `${line}\n`));
      expect(await problemsOf(root)).toContainEqual(expect.stringContaining(`${ndjson} row 7 ${words}`));
      await writeFile(join(root, ndjson), text);
    }
  });

  it("a row that is none of CSV", async () => {
    const root = await exported();
    const text = await readFile(join(root, csv), "utf8");
    const row = lineOf(text, 8, "\r\n");
    for (
      const [changed, words] of [
        [row.replace(/,/, ""), "row 7 has 14 columns, not 15"],
        [row.replace(/^[^,]*/, ""), "row 7 has no user_id"],
        [row.replace(/\d\dT/, "32T"), 'row 7 has "2'],
        [row.replace(/(T\d\d:\d\d:\d\d)Z/, "$1"), "for initiated_at, which is no timestamp"],
        [row.replace(/""/, '"'), "can't be read"],
      ] as const
    ) {
      expect(changed).not.toBe(row);
      await writeFile(join(root, csv), text.replace(row, changed));
      expect(await problemsOf(root)).toContainEqual(expect.stringContaining(words));
    }
    await writeFile(join(root, csv), text.replace("session_key", "session_kee"));
    expect(await problemsOf(root)).toContainEqual(
      expect.stringContaining(`${csv} can't be read: its header is "user_id,session_id,session_kee,`),
    );
    await writeFile(join(root, csv), "");
    expect(await problemsOf(root)).toContainEqual(`${csv} can't be read: it has no header`);
  });

  it("a Parquet file of another schema", async () => {
    const root = await exported();
    const writer = new ByteWriter();
    const parquetWriter = new ParquetWriter({
      writer,
      schema: [
        { name: "session", num_children: 1 },
        { name: "user_id", repetition_type: "REQUIRED", type: "BYTE_ARRAY", converted_type: "UTF8" },
      ],
    });
    parquetWriter.write({ columnData: [{ name: "user_id", data: ["alice"] }] });
    parquetWriter.finish();
    await writeFile(join(root, parquet), new Uint8Array(writer.getBuffer()));
    await mend(root, parquet);
    expect(await problemsOf(root)).toEqual([
      expect.stringMatching(
        `^${parquet} can't be read: its schema is not that of a session: \\{"name":"session"`,
      ),
    ]);
  });

  it("a compressed part that was cut off", async () => {
    const root = await exported({ formats: choices("ndjson.gz") });
    const path = `${ndjson}.gz`;
    const bytes = await readFile(join(root, path));
    await writeFile(join(root, path), bytes.subarray(0, 3000));
    expect((await problemsOf(root)).at(-1)).toMatch(
      /can't be read( on from row \d+)?: unexpected end of file$/,
    );
    await writeFile(join(root, path), gzipSync("{}\n"));
    expect(await problemsOf(root)).toContainEqual(`${path} has 1 rows, not 116`);
  });

  it("a line of what was quarantined that is none", async () => {
    const root = await exported();
    const { parts } = await manifestOf(root);
    const { path, rows } = parts.find(({ format }: Manifest.Part) => format === "quarantine");
    await changeText(root, path, (text) => text.replace('"user_id"', '"user"'));
    await mend(root, path);
    expect(await problemsOf(root)).toEqual([`${path} row 1 is no quarantined row: user_id: is missing`]);
    await changeText(root, path, (text) => text.replace(lineOf(text, 1), ""));
    expect(await problemsOf(root)).toContainEqual(`${path} has ${rows - 1} rows, not ${rows}`);
  });

  it("a manifest that says what is not so", async () => {
    const root = await exported();
    await changeManifest(root, ({ parts, runs }) => {
      parts[1].initiated_at.min--;
      runs[0].sessions++;
      runs[0].quarantined--;
      runs[0].bytes += 2;
    });
    const { runs: [{ sessions, quarantined, bytes }], parts } = await manifestOf(root);
    const { path, initiated_at: { min, max } } = parts[1];
    expect((await problemsOf(root)).toSorted()).toEqual([
      ...["csv", "ndjson", "parquet"].map((format) =>
        `manifest.json says run 1 has ${sessions} sessions, and ${sessions - 1} in its ${format} parts`
      ),
      `manifest.json says run 1 has ${quarantined} quarantined rows, and ${
        quarantined + 1
      } in its quarantine parts`,
      `manifest.json says run 1 has ${bytes} bytes, and ${bytes - 2} in its parts`,
      `${path} has initiated_at of ${min + 1} to ${max}, not of ${min} to ${max}`,
    ].toSorted());
  });

  it("a part that the manifest names no more, and a file of someone else", async () => {
    const root = await exported();
    await changeManifest(root, (manifest) => {
      manifest.parts = manifest.parts.filter(({ path }: Manifest.Part) => path !== csv);
    });
    await writeFile(join(root, "parquet/notes.txt"), "mine");
    const words = "is no part of the dataset, and is read by all who read the whole folder: move it away";
    expect(await problemsOf(root)).toEqual(expect.arrayContaining([
      `${csv} ${words}`,
      `parquet/notes.txt ${words}`,
    ]));
  });

  it("at most ten problems of one file, one by one", async () => {
    const root = await exported();
    await changeManifest(root, ({ parts }) => {
      for (let i = 0; i < 12; i++) parts.push({ ...parts[0] });
    });
    const told = (await problemsOf(root)).filter((problem) => problem.startsWith("manifest.json"));
    expect(told).toHaveLength(11);
    expect(told.at(-1)).toBe("manifest.json and 4 more problems");
  });
});

describe("a later run of changes", () => {
  const updated = (...seconds: ReadonlyArray<number>) =>
    inEvery(of(seconds.map((last_updated) => example({ session_id: "S1", last_updated }))));
  const kinds = ["full", "changes", "changes"];

  it("may hold a session that is there already, as it is by then", async () => {
    const root = await newFolder();
    await write(root, [updated(10), updated(11), updated(12)], {}, kinds);
    expect(await problemsOf(root)).toEqual([]);
  });

  it("may not hold it twice, nor as another run does", async () => {
    const root = await newFolder();
    await write(root, [updated(10), updated(11, 12), updated(10)], {}, kinds);
    expect(await problemsOf(root)).toEqual([
      `ndjson/part-00001.ndjson row 2 is there twice: session "S1" of user "alice" is row 1 already`,
      `ndjson/part-00002.ndjson row 1 is there twice: session "S1" of user "alice" is row 1 of ndjson/part-00000.ndjson already`,
    ]);
  });
});

describe("what can't be verified", () => {
  it("is a folder without a dataset", async () => {
    const root = await newFolder();
    for (const path of [root, join(root, "none")]) {
      const error = await Effect.runPromise(Effect.flip(Verify.run(path)));
      expect(error).toMatchObject({ _tag: "DatasetError", reason: "Absent", path });
      expect(error.message).toBe(
        `There is no dataset in ${path}: it holds neither manifest.json nor journal.ndjson. ` +
          "Name the folder that an export was written to",
      );
    }
  });

  it("is a dataset whose manifest is damaged", async () => {
    const root = await exported();
    await writeFile(join(root, "manifest.json"), "{");
    const error = await Effect.runPromise(Effect.flip(Verify.run(root)));
    expect(error).toMatchObject({ _tag: "DatasetError", reason: "Corrupt" });
  });
});

describe("keys", () => {
  it("that come more than once are always told, and what is told shares their digests", () => {
    const key = fc.tuple(anyText, anyText);
    fc.assert(fc.property(fc.array(key, { maxLength: 60 }), (keys) => {
      const set = DigestList.make(4);
      for (const key of keys) set.add(key);
      const counts = new Map<string, number>();
      for (const key of keys) counts.set(JSON.stringify(key), 1 + (counts.get(JSON.stringify(key)) ?? 0));
      const isRepeated = set.repeated();
      for (const key of keys) {
        expect(isRepeated?.(key) ?? false).toBe(counts.get(JSON.stringify(key))! > 1);
      }
    }));
  });

  it("take 8 bytes each", () => {
    const before = process.memoryUsage().arrayBuffers;
    const set = DigestList.make(1_000_000);
    for (let i = 0; i < 1_000_000; i++) set.add([`user-${i % 1000}`, `session-${i}`]);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8.1e6);
    expect(set.repeated()).toBeUndefined();
  });
});
