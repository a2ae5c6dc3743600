/** The pages of a file and their encodings: what decides which readers can read it. */
import { parquetMetadata } from "hyparquet";
import { deserializeTCompactProtocol } from "hyparquet/src/thrift.js";
import { Encodings, PageTypes } from "hyparquet/src/constants.js";
import { describe, expect, it } from "vitest";
import * as Parquet from "../../../src/format/parquet/encode.ts";
import type { ParquetOptions } from "../../../src/format/FormatOptions.ts";
import * as Batch from "../../../src/session/Batch.ts";
import { encodeAll } from "../../contract/encoder.ts";
import { example } from "../../contract/sessions.ts";

const numbers = Array.from({ length: 20_000 }, (_, n) => n);

/** Sessions as they are: of ids that differ, at times that differ, from a few places. */
const sessions = numbers.map((n) =>
  example({
    session_id: `${n}`.padStart(32, "0"),
    session_key: n % 50 === 0 ? null : `${n}`.padStart(64, "0"),
    initiated_at: 1_700_000_000 + 311 * n,
    expires_at: 1_740_000_000 + 97 * n,
    last_updated: 1_700_000_000 + 313 * n,
    last_metadata: n % 40 === 0 ? null : example().last_metadata,
  })
);

interface Header {
  readonly field_1: number;
  readonly field_2: number;
  readonly field_3: number;
  readonly field_5?: { readonly field_2: number; readonly field_3: number; readonly field_4: number };
  readonly field_7?: { readonly field_2: number };
  readonly field_8?: { readonly field_4: number };
}

/** Give the pages of each column, as `type:encoding`, in their order. */
const pagesOf = (file: Uint8Array<ArrayBuffer>) =>
  parquetMetadata(file.buffer).row_groups.map(({ columns }) =>
    columns.map(({ meta_data: its }) => {
      const start = Number(its!.dictionary_page_offset ?? its!.data_page_offset);
      const end = start + Number(its!.total_compressed_size);
      const reader = { view: new DataView(file.buffer), offset: start };
      const pages: Array<string> = [];
      let unpacked = 0;
      while (reader.offset < end) {
        const at = reader.offset;
        const header = deserializeTCompactProtocol(reader) as unknown as Header;
        const { field_2: encoding } = header.field_5 ?? header.field_7 ??
          { field_2: header.field_8!.field_4 };
        pages.push(`${PageTypes[header.field_1]}:${Encodings[encoding]}`);
        const levels = [header.field_5?.field_3, header.field_5?.field_4];
        expect(levels.every((level) => level === undefined || Encodings[level] === "RLE")).toBe(true);
        unpacked += reader.offset - at + header.field_2;
        reader.offset += header.field_3;
      }
      expect(reader.offset).toBe(end);
      expect(Number(its!.total_uncompressed_size)).toBe(unpacked);
      return { name: its!.path_in_schema[0], pages, codec: its!.codec, encodings: its!.encodings };
    })
  );

const rows = 10_000;
const write = (options: ParquetOptions) =>
  encodeAll(Parquet.make({ rowGroupRows: rows, ...options }), [Batch.make("alice", sessions)]);

const ids = ["session_id", "session_key"];
const times = ["initiated_at", "expires_at", "last_updated"];
const empty = ["_rescued_data"];

describe("a file of version 1, the default", () => {
  const found = pagesOf(write({}));

  it("has data pages of version 1, plain or of a dictionary", () => {
    expect(found).toHaveLength(2);
    for (const { name = "", pages } of found.flat()) {
      expect([name, pages]).toEqual([
        name,
        [...ids, ...times, ...empty].includes(name)
          ? ["DATA_PAGE:PLAIN"]
          : ["DICTIONARY_PAGE:PLAIN_DICTIONARY", "DATA_PAGE:PLAIN_DICTIONARY"],
      ]);
    }
  });

  it("says so of its columns, and compresses all of them", () => {
    for (const { name = "", codec, encodings } of found.flat()) {
      const isPlain = [...ids, ...times, ...empty].includes(name);
      const isRequired = ["user_id", "session_id", ...times].includes(name);
      expect([name, codec, encodings]).toEqual([
        name,
        "SNAPPY",
        [isPlain ? "PLAIN" : "PLAIN_DICTIONARY", ...(isRequired ? [] : ["RLE"])],
      ]);
    }
  });

  it("counts its pages, each with its type and encoding", () => {
    const [{ columns = [] } = {}] = parquetMetadata(write({}).buffer).row_groups;
    const stats = columns.flatMap(({ meta_data }) => meta_data!.encoding_stats ?? []);
    expect(stats.length).toBeGreaterThan(0);
    for (const { page_type, encoding } of stats) {
      expect(["DATA_PAGE:PLAIN", "DATA_PAGE:PLAIN_DICTIONARY", "DICTIONARY_PAGE:PLAIN_DICTIONARY"])
        .toContain(`${page_type}:${encoding}`);
    }
  });
});

it("a file of version 2 has data pages of version 2, with deltas of times and of the lengths of ids", () => {
  for (const { name = "", pages, codec, encodings } of pagesOf(write({ version: 2 })).flat()) {
    const packed = ids.includes(name)
      ? "DELTA_LENGTH_BYTE_ARRAY"
      : times.includes(name)
      ? "DELTA_BINARY_PACKED"
      : undefined;
    expect([name, pages, codec]).toEqual([
      name,
      packed !== undefined
        ? [`DATA_PAGE_V2:${packed}`]
        : empty.includes(name)
        ? ["DATA_PAGE_V2:PLAIN"]
        : ["DICTIONARY_PAGE:PLAIN", "DATA_PAGE_V2:RLE_DICTIONARY"],
      packed === undefined ? "SNAPPY" : "UNCOMPRESSED",
    ]);
    expect(encodings.at(-1)).toBe(packed ?? (empty.includes(name) ? "PLAIN" : "RLE_DICTIONARY"));
  }
});

it.each([1, 2] as const)("a file of version %d says so, one without sessions too", (version) => {
  for (const batches of [[], [Batch.make("alice", sessions.slice(0, 3))]]) {
    const file = encodeAll(Parquet.make({ version }), batches);
    expect(parquetMetadata(file.buffer).version).toBe(version);
  }
});

it("a column of several pages has the place of each, in both versions", () => {
  const options = { rowGroupRows: 20_000, codec: "uncompressed" } as const;
  for (const version of [1, 2] as const) {
    const file = write({ ...options, version });
    const key = parquetMetadata(file.buffer).row_groups[0]!.columns[2]!;
    expect(pagesOf(file)[0]![2]!.pages).toHaveLength(2);
    const reader = { view: new DataView(file.buffer), offset: Number(key.offset_index_offset) };
    const { field_1: places } = deserializeTCompactProtocol(reader) as unknown as {
      readonly field_1: ReadonlyArray<{ readonly field_1: bigint; readonly field_2: number }>;
    };
    const at = places.map(({ field_1 }) => Number(field_1));
    expect(at[0]).toBe(Number(key.meta_data!.data_page_offset));
    expect(at[1]).toBe(at[0]! + places[0]!.field_2);
    const end = at[0]! + Number(key.meta_data!.total_compressed_size);
    expect(at[1]! + places[1]!.field_2).toBe(end);
  }
});
