/** Files read back by readers that share no code with the encoder. DuckDB, one more of them, reads those of the contract. */
import { ParquetReader } from "@dsnp/parquetjs";
import * as Arrow from "apache-arrow";
import * as fc from "fast-check";
import { parquetReadObjects } from "hyparquet";
import * as Wasm from "parquet-wasm";
import { describe, expect, it } from "vitest";
import * as Parquet from "../../../src/format/parquet/encode.ts";
import * as Batch from "../../../src/session/Batch.ts";
import { columns } from "../../../src/session/Columns.ts";
import { encodeAll } from "../../contract/encoder.ts";
import { batch } from "../../contract/sessions.ts";
import { expectedRows } from "../duckdb.ts";

type Row = Readonly<Record<string, unknown>>;

// A BOM is text like any other.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
const parsers = {
  stringFromBytes: (bytes: Uint8Array | undefined): string | undefined => bytes && utf8.decode(bytes),
};

const byHyparquet = (file: Uint8Array<ArrayBuffer>): Promise<Array<Row>> =>
  parquetReadObjects({ file: file.buffer, parsers });

/** Arrow takes a BOM off a text, so its columns are read as the bytes that they are. */
const byParquetWasm = (file: Uint8Array): Promise<Array<Row>> => {
  const table = Arrow.tableFromIPC(Wasm.readParquet(file).intoIPCStream());
  const valueOf = (vector: Arrow.Vector, row: number): unknown => {
    const value = vector.get(row);
    if (value instanceof Arrow.Vector) return Array.from(value, (_, i) => valueOf(value, i));
    if (typeof value !== "string") return value;
    const { values, valueOffsets } = vector.data[0]!;
    return utf8.decode(values.subarray(valueOffsets[row], valueOffsets[row + 1]));
  };
  return Promise.resolve(
    Array.from({ length: table.numRows }, (_, row) =>
      Object.fromEntries(columns.map(({ name, kind }) => {
        const value = valueOf(table.getChild(name)!, row);
        return [name, kind === "timestamp" ? new Date(Number(value)) : value];
      }))),
  );
};

const byParquetjs = async (file: Uint8Array): Promise<Array<Row>> => {
  const cursor = (await ParquetReader.openBuffer(Buffer.from(file))).getCursor();
  const rows: Array<Row> = [];
  for (let row = await cursor.next() as Row; row !== null; row = await cursor.next() as Row) {
    const { list } = row["client_ids"] as {
      readonly list: ReadonlyArray<{ readonly element: string }> | null;
    };
    rows.push({ ...row, client_ids: (list ?? []).map(({ element }) => element) });
  }
  return rows;
};

const readers = { hyparquet: byHyparquet, "parquet-wasm": byParquetWasm, parquetjs: byParquetjs };
type Name = keyof typeof readers;

const reads = (name: Name, version: 1 | 2) =>
  fc.assert(
    fc.asyncProperty(
      fc.array(batch, { minLength: 1, maxLength: 20 }),
      fc.boolean(),
      fc.constantFrom("snappy" as const, "uncompressed" as const),
      async (batches, withKeys, codec) => {
        const kept = withKeys
          ? batches
          : batches.map((batch) => Batch.map(batch, (session) => ({ ...session, session_key: null })));
        const file = encodeAll(Parquet.make({ rowGroupRows: 9, version, codec }), kept);
        expect(await readers[name](file)).toEqual(kept.flatMap(expectedRows));
      },
    ),
  );

describe("of version 1, the default, any sessions are read by", () => {
  it.each(Object.keys(readers) as Array<Name>)("%s", (name) => reads(name, 1));
});

describe("of version 2", () => {
  it.each(["hyparquet", "parquet-wasm"] as const)("any sessions are read by %s", (name) => reads(name, 2));

  it("none is read by parquetjs, as by others that know no deltas", async () => {
    const file = encodeAll(Parquet.make({ version: 2 }), [
      Batch.make("alice", [{
        session_id: "S1",
        client_ids: [],
        initiated_at: 1,
        expires_at: 2,
        last_updated: 1,
      }]),
    ]);
    await expect(byParquetjs(file)).rejects.toThrow("invalid encoding: DELTA");
  });
});
