import { describe, expect, it, onTestFinished, vi } from "vitest";
import * as Batch from "../../../src/session/Batch.ts";
import { columns, sqlTypes } from "../../../src/session/Columns.ts";
import * as Parquet from "../../../src/format/parquet/encode.ts";
import { encodeAll, encoderContract } from "../../contract/encoder.ts";
import { example, examples } from "../../contract/sessions.ts";
import { expectedRows, parquetRows, query } from "../duckdb.ts";

const variants = [
  {},
  { rowGroupRows: 7 },
  { codec: "uncompressed" },
  { version: 2 },
  { version: 2, rowGroupRows: 7 },
  { version: 2, codec: "uncompressed" },
] as const;
for (const options of variants) {
  describe(`with ${JSON.stringify(options)}`, () => {
    encoderContract({ format: Parquet.format(options), read: parquetRows, rows: expectedRows });
  });
}

const agents = (user_agents: ReadonlyArray<string | null>) =>
  user_agents.map((user_agent) => example({ last_metadata: { user_agent } }));

describe("Parquet.make()", () => {
  it("writes the types of the columns, whatever the data", async () => {
    const types = columns.map(({ name, kind }) => ({
      name,
      type: sqlTypes[kind].replace("TIMESTAMPTZ", "TIMESTAMP WITH TIME ZONE"),
    }));
    const describeFile =
      "SELECT column_name AS name, column_type AS type FROM (DESCRIBE FROM read_parquet($file))";
    const sparse = example({ session_key: null, client_ids: [], last_metadata: null });
    for (const sessions of [[], [example()], [sparse]]) {
      expect(await query(encodeAll(Parquet.make(), [Batch.make("a", sessions)]), describeFile)).toEqual(
        types,
      );
    }
  });

  it("declares times as UTC twice over, and required columns as required", async () => {
    const schema = await query(
      encodeAll(Parquet.make(), []),
      "SELECT name, type, repetition_type, converted_type, logical_type FROM parquet_schema($file)",
    );
    const element = (name: string) => schema.find((row) => row.name === name);
    expect(element("initiated_at")).toMatchObject({
      type: "INT64",
      repetition_type: "REQUIRED",
      converted_type: "TIMESTAMP_MILLIS",
      logical_type: expect.stringContaining("isAdjustedToUTC=1"),
    });
    expect(element("user_agent")).toMatchObject({ repetition_type: "OPTIONAL", converted_type: "UTF8" });
    expect(element("client_ids")).toMatchObject({ repetition_type: "REQUIRED", converted_type: "LIST" });
    expect(element("list")).toMatchObject({ repetition_type: "REPEATED" });
    expect(element("element")).toMatchObject({ repetition_type: "REQUIRED", converted_type: "UTF8" });
  });

  it("names who made it", async () => {
    const made = await query(
      encodeAll(Parquet.make(), []),
      "SELECT created_by FROM parquet_file_metadata($file)",
    );
    expect(made).toEqual([{ created_by: "monocloud-sessions" }]);
  });

  it("gives the bytes of each row group as it fills, across batches and within one", async () => {
    const encoder = Parquet.make({ rowGroupRows: 10 });
    const batches = [7, 7, 31].map((count, i) => Batch.make(`u${i}`, examples(count)));
    const lengths = batches.map((batch) => encoder.encode(batch).length);
    expect(lengths[0]).toBe("PAR1".length);
    expect(lengths[1]).toBeGreaterThan(100);
    expect(lengths[2]).toBeGreaterThan(300);
    const groups = await query(
      encodeAll(Parquet.make({ rowGroupRows: 10 }), batches),
      `SELECT DISTINCT row_group_id::INT AS id, row_group_num_rows::INT AS rows
       FROM parquet_metadata($file) ORDER BY id`,
    );
    expect(groups.map(({ rows }) => rows)).toEqual([10, 10, 10, 10, 5]);
  });

  it.each([1, 2] as const)("of version %d keeps a text of megabytes", async (version) => {
    const long = "漢".repeat(3_000_000);
    const rows = await parquetRows(
      encodeAll(Parquet.make({ version }), [Batch.make("a", agents([long, "b", long]))]),
    );
    expect(rows.map(({ user_agent }) => user_agent === long)).toEqual([true, false, true]);
  });

  it("writes bounds of cut texts that still hold the texts", async () => {
    // Each ends where a bound is cut, or can't be rounded up there: the last code points, and a lone
    // surrogate.
    const texts = [
      "a".repeat(40),
      "z".repeat(40),
      "\u{10ffff}".repeat(9),
      "\uffff".repeat(20),
      "🦆".repeat(9),
      `${"x".repeat(15)}é-after`,
      `${"x".repeat(15)}\ud800-after`,
      `${"\ud7ff".repeat(20)}!`,
    ];
    const file = encodeAll(
      Parquet.make({ rowGroupRows: 1 }),
      texts.map((userId) => Batch.make(userId, examples(1))),
    );
    const found = await query(
      file,
      `SELECT count(*)::INT AS rows, count(*) FILTER (bounds.stats_min_value <= user_id)::INT AS above,
        count(*) FILTER (bounds.stats_max_value >= user_id)::INT AS below
       FROM (SELECT user_id, row_number() OVER () - 1 AS id FROM read_parquet($file)) AS file
       JOIN parquet_metadata($file) AS bounds ON bounds.row_group_id = file.id
       WHERE path_in_schema = 'user_id'`,
    );
    expect(found).toEqual([{ rows: texts.length, above: texts.length, below: texts.length }]);
    for (const text of texts) {
      const matching = `FROM read_parquet($file) WHERE user_id = '${text.toWellFormed()}'`;
      expect(await query(file, `SELECT count(*)::INT AS rows ${matching}`), text).toEqual([{ rows: 1 }]);
    }
  });

  it("has bounds of users and times, and says how many rows have something rescued", async () => {
    const found = await query(
      encodeAll(Parquet.make(), [Batch.make("a", examples(5))]),
      `SELECT path_in_schema AS name, stats_min_value IS NOT NULL AS bounds, stats_null_count::INT AS nulls
       FROM parquet_metadata($file) WHERE stats_null_count IS NOT NULL`,
    );
    expect(found).toEqual([
      { name: "user_id", bounds: true, nulls: 0 },
      ...["initiated_at", "expires_at", "last_updated"].map((name) => ({ name, bounds: true, nulls: 0 })),
      { name: "_rescued_data", bounds: false, nulls: 5 },
    ]);
  });

  it("lets a reader skip by time", async () => {
    const bounds = await query(
      encodeAll(Parquet.make({ rowGroupRows: 100 }), [Batch.make("a", examples(250))]),
      `SELECT epoch(stats_min_value::TIMESTAMPTZ)::INT AS low,
        epoch(stats_max_value::TIMESTAMPTZ)::INT AS high
       FROM parquet_metadata($file) WHERE path_in_schema = 'initiated_at' ORDER BY row_group_id`,
    );
    expect(bounds).toEqual([0, 100, 200].map((i) => ({
      low: 1640975400 + i,
      high: 1640975400 + Math.min(249, i + 99),
    })));
  });

  it("keeps the first and the last second there is", async () => {
    const session = example({ initiated_at: 0, expires_at: 253_402_300_799 });
    expect(await parquetRows(encodeAll(Parquet.make(), [Batch.make("a", [session])])))
      .toMatchObject([{
        initiated_at: new Date(0),
        expires_at: new Date("9999-12-31T23:59:59Z"),
      }]);
  });

  it.each([0, -1, 1.5, Number.NaN, "10"])("refuses %j rows a group", (rowGroupRows) => {
    const options = { rowGroupRows: rowGroupRows as number };
    expect(() => Parquet.make(options)).toThrow(
      `'rowGroupRows' must be a positive integer: current value is ${rowGroupRows}`,
    );
    expect(() => Parquet.format(options)).toThrow(TypeError);
  });

  it("refuses a codec that it does not know", () => {
    expect(() => Parquet.make({ codec: "zstd" as never })).toThrow(
      'must be "snappy" or "uncompressed": current value is zstd',
    );
  });

  it("refuses more rows a group than can be read back", () => {
    expect(() => Parquet.make({ rowGroupRows: 2 ** 20 })).not.toThrow();
    expect(() => Parquet.make({ rowGroupRows: 2 ** 20 + 1 })).toThrow(
      "'rowGroupRows' must be at most 1048576, which is what can be read back: current value is 1048577",
    );
  });

  it.each([0, 3, "1"])("refuses version %j", (version) => {
    expect(() => Parquet.make({ version: version as never })).toThrow(
      `'version' must be 1 or 2: current value is ${version}`,
    );
  });

  it("writes the same where WebAssembly can't be made of bytes", async () => {
    vi.resetModules();
    vi.stubGlobal("WebAssembly", {
      Module: class {
        constructor() {
          throw new Error("Wasm code generation disallowed by embedder");
        }
      },
    });
    onTestFinished(() => void vi.unstubAllGlobals());
    const without: typeof Parquet = await import("../../../src/format/parquet/encode.ts");
    const sessions = agents(Array.from({ length: 50 }, (_, n) => `${n} ${"the same agent ".repeat(20)}`));
    const bytes = encodeAll(without.make(), [Batch.make("a", sessions)]);
    vi.unstubAllGlobals();
    expect(await parquetRows(bytes)).toEqual(
      await parquetRows(encodeAll(Parquet.make(), [Batch.make("a", sessions)])),
    );
    expect(bytes.length).toBeLessThan(
      encodeAll(Parquet.make({ codec: "uncompressed" }), [Batch.make("a", sessions)]).length,
    );
  });
});
