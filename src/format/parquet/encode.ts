/**
 * Parquet: the columns of `Columns.ts` with their types, compressed, readable by DuckDB, Spark, pandas and
 * the rest.
 */
import { ByteWriter, type ColumnSource, ParquetWriter } from "hyparquet-writer";
import { snappyCompressor } from "hysnappy";
import * as Columns from "../../session/Columns.ts";
import * as RescuedData from "../../session/RescuedData.ts";
import * as FieldOffsets from "../../scan/FieldOffsets.ts";
import type { RowSlices } from "../../scan/RowSlices.ts";
import * as Options from "../../options/Options.ts";
import { type Allocate, own } from "../../sink/Allocate.ts";
import { MOST_ROWS, schemaOf } from "./schema.ts";
import * as ColumnBuffers from "./ColumnBuffers.ts";
import * as DataPageV1 from "./DataPageV1.ts";
import * as Footer from "./Footer.ts";
import type { ParquetOptions } from "../FormatOptions.ts";
import { columnsNamed, type Encoder, encoder, type Format } from "../Format.ts";

export const optionNames: Options.Names<ParquetOptions> = {
  rowGroupRows: Options.number,
  codec: Options.oneOf(["snappy", "uncompressed"]),
  version: Options.oneOf([1, 2]),
};

const utf8 = new TextEncoder();

interface ColumnBuilder {
  /** Appends its values for the rows from `from` up to `to`. */
  readonly fill: (userId: string, rows: RowSlices, from: number, to: number) => void;
  /** Gives all of them, as the writer takes them. The array is reused for the next row group: do not read it after that begins. */
  readonly take: () => Array<unknown>;
}

/** Ids are handed to the writer in UTF-8, as they come. */
const isId = ({ name }: Columns.Column) => name === "session_id" || name === "session_key";

/** Appends the values of the rows from `from` up to `to`. A loop for each kind: one for all would be slow. */
type Fill = ColumnBuilder["fill"];

const ofIds = (place: number): ColumnBuilder => {
  const { push, pushNull, take } = ColumnBuffers.bytes();
  const fill: Fill = (_, { bytes, fields: { texts, textCount } }, from, to) => {
    for (let row = from; row < to; row++) {
      const at = 2 * (row * textCount + place);
      const begin = texts[at]!;
      const end = texts[at + 1]!;
      if (begin < 0) pushNull();
      else if (end >= 0) push(bytes, begin, end);
      else {
        const text = utf8.encode(FieldOffsets.text(bytes, begin, end));
        push(text, 0, text.length);
      }
    }
  };
  return { fill, take };
};

const ofNumbers = (place: number): ColumnBuilder => {
  const { push, take } = ColumnBuffers.numbers();
  const fill: Fill = (_, { bytes, fields: { texts, textCount } }, from, to) => {
    for (let row = from; row < to; row++) {
      const at = 2 * (row * textCount + place);
      push(texts[at]! < 0 ? null : RescuedData.decimalAt(bytes, texts[at]!, texts[at + 1]!));
    }
  };
  return { fill, take };
};

const ofTimes = (place: number): ColumnBuilder => {
  const times = ColumnBuffers.none<number>();
  const fill: Fill = (_, { fields: { numbers, numberCount } }, from, to) => {
    for (let row = from; row < to; row++) {
      times.all[times.count++] = numbers[row * numberCount + place]! * 1000;
    }
  };
  return { fill, take: () => ColumnBuffers.take(times) };
};

/** The column of users, and what no other can hold. */
const ofRest = (isUser: boolean): ColumnBuilder => {
  const values = ColumnBuffers.none<string | null>();
  const fill: Fill = (userId, rows, from, to) => {
    for (let row = from; row < to; row++) {
      values.all[values.count++] = isUser ? userId : RescuedData.at(rows, row);
    }
  };
  return { fill, take: () => ColumnBuffers.take(values) };
};

const ofTexts = ({ name, kind }: Columns.Column, place: number): ColumnBuilder => {
  // What comes again is made once: addresses hardly do.
  const read = kind === "text_list"
    ? FieldOffsets.memo(10, (json): ReadonlyArray<string> => JSON.parse(json), FieldOffsets.json)
    : name === "ip_address"
    ? FieldOffsets.text
    : FieldOffsets.memo(10, (text) => text);
  const values = ColumnBuffers.none<unknown>();
  const fill: Fill = (_, { bytes, fields: { texts, textCount } }, from, to) => {
    for (let row = from; row < to; row++) {
      const at = 2 * (row * textCount + place);
      values.all[values.count++] = texts[at]! < 0 ? null : read(bytes, texts[at]!, texts[at + 1]!);
    }
  };
  return { fill, take: () => ColumnBuffers.take(values) };
};

const builderOf = (column: Columns.Column): ColumnBuilder => {
  const { name, kind, place } = column;
  if (place === undefined) return ofRest(name === "user_id");
  if (isId(column)) return ofIds(place);
  if (kind === "number") return ofNumbers(place);
  return kind === "timestamp" ? ofTimes(place) : ofTexts(column, place);
};

/** The writer's bytes so far, copied out as its buffer is used again. Its `offset` counts the whole file. */
const drain = (writer: ByteWriter, allocate: Allocate): Uint8Array<ArrayBuffer> => {
  const bytes = allocate(writer.index);
  bytes.set(writer.getBytes());
  writer.index = 0;
  return bytes;
};

/** Make the compressor. Cloudflare Workers make no WebAssembly of bytes: there the writer's own, slower one stands in. */
const makeSnappy = (): { SNAPPY?: ReturnType<typeof snappyCompressor> } => {
  try {
    return { SNAPPY: snappyCompressor() };
  } catch {
    return {};
  }
};

let compressors: ReturnType<typeof makeSnappy> | undefined;
/** One for all encoders: it is synchronous, and owns WebAssembly memory. */
const snappy = () => (compressors ??= makeSnappy());

/** Tell whether the least and the most of a row group show what may be left out: users and times lie together, nothing else does. */
const wantsStatistics = ({ name, kind }: Columns.Column) =>
  name === "user_id" || kind === "timestamp" || kind === "json"; // of JSON, how many there are

/** Tell whether values seldom come again. The writer would try a dictionary, and then write them plain. */
const isUnique = (column: Columns.Column) => column.kind === "timestamp" || isId(column);

/**
 * Make the source of a column for files of version 1. Compression of ids finds the lengths before them, and that their digits
 * are few: 6 % of the file, at a fifth of the time.
 */
const columnSource1 = (column: Columns.Column, data: Array<unknown>): ColumnSource => ({
  name: column.name,
  data,
  statistics: wantsStatistics(column),
  ...(isUnique(column) ? { encoding: "PLAIN" } : {}),
});

/**
 * Make the source of a column for files of version 2. Times lie close together: deltas take 6 % off the file. Ids are random,
 * so their bytes stand end to end behind their lengths. Compression would take as long again as all else for ids and find 5 %
 * in them, and nothing in deltas.
 */
const columnSource2 = (column: Columns.Column, data: Array<unknown>): ColumnSource => {
  const { name, kind } = column;
  const its = { name, data, statistics: wantsStatistics(column) };
  if (kind === "timestamp") return { ...its, encoding: "DELTA_BINARY_PACKED", codec: "UNCOMPRESSED" };
  if (isId(column)) return { ...its, encoding: "DELTA_LENGTH_BYTE_ARRAY", codec: "UNCOMPRESSED" };
  return its;
};

const settle = (
  { rowGroupRows = 10_000, codec = "snappy", version = 1 }: ParquetOptions,
): Required<ParquetOptions> => {
  const refuse = (must: string, found: unknown) =>
    new TypeError(`Cannot write Parquet as ${must}: current value is ${found}`);
  if (!Number.isSafeInteger(rowGroupRows) || rowGroupRows < 1) {
    throw refuse("'rowGroupRows' must be a positive integer", rowGroupRows);
  }
  if (rowGroupRows > MOST_ROWS) {
    throw refuse(`'rowGroupRows' must be at most ${MOST_ROWS}, which is what can be read back`, rowGroupRows);
  }
  if (codec !== "snappy" && codec !== "uncompressed") {
    throw refuse('\'codec\' must be "snappy" or "uncompressed"', codec);
  }
  if (version !== 1 && version !== 2) throw refuse("'version' must be 1 or 2", version);
  return { rowGroupRows, codec, version };
};

/**
 * An encoder to Parquet. Holds one row group, and the footer of those written, which grows with the file (`bench/report.md`).
 *
 * Times are `TIMESTAMP(ms, UTC)`, `client_ids` is a `LIST<STRING>`, coordinates are `DOUBLE`, `_rescued_data`
 * is the text of a JSON object. The schema is the same for every export, an empty one too, so files can be
 * read together. A lone surrogate, which UTF-8 can't write, becomes U+FFFD.
 *
 * @throws {TypeError} on an option of the wrong type or out of range.
 *
 * @example
 * ```ts
 * import { Batch, Formats } from "monocloud-sessions";
 *
 * const session = { session_id: "S1", client_ids: ["app"], initiated_at: 1, expires_at: 2, last_updated: 1 };
 * const parquet = Formats.make("parquet", { parquet: { rowGroupRows: 50_000 } }).make();
 * const file = [parquet.encode(Batch.make("alice", [session])), parquet.finish()];
 * console.assert(new TextDecoder().decode(file.at(-1)).endsWith("PAR1"));
 * ```
 */
export const make = (options: ParquetOptions = {}, chosen = Columns.columns): Encoder => {
  const { rowGroupRows, codec, version } = settle(options);
  const writer = new ByteWriter();
  const parquet = new ParquetWriter({
    writer,
    schema: [...schemaOf(chosen)],
    createdBy: "monocloud-sessions",
    ...(codec === "snappy" ? { codec: "SNAPPY", compressors: snappy() } : { codec: "UNCOMPRESSED" }),
  });
  const writeGroup = version === 1 ? DataPageV1.groupWriter(parquet, writer) : parquet.write.bind(parquet);
  const columnSource = version === 1 ? columnSource1 : columnSource2;
  const group = chosen.map(builderOf);
  let rows = 0;

  const flush = () => {
    const columnData = chosen.map((column, i) => columnSource(column, group[i]!.take()));
    writeGroup({ columnData, rowGroupSize: rows });
    rows = 0;
  };

  return encoder("parquet", {
    encode: ({ userId, rows: { slices } }, allocate) => {
      const size = slices.from.length;
      for (let from = 0; from < size;) {
        const to = Math.min(size, from + rowGroupRows - rows);
        group.forEach(({ fill }) => fill(userId, slices, from, to));
        rows += to - from;
        from = to;
        if (rows === rowGroupRows) flush();
      }
      return drain(writer, allocate);
    },
    finish: () => {
      if (rows > 0) flush();
      parquet.finish();
      return Footer.correct(drain(writer, own), { version, isEmpty: parquet.row_groups.length === 0 });
    },
  });
};

/**
 * The format with these options, for a driver that makes many files.
 *
 * @throws {TypeError} on an option of the wrong type or out of range.
 */
export const format = (options: ParquetOptions = {}, chosen = Columns.columns): Format => {
  const settled = settle(options);
  return {
    name: "parquet",
    extension: "parquet",
    contentType: "application/vnd.apache.parquet",
    gzip: false,
    columns: chosen.map(({ name }) => name),
    make: () => make(settled, chosen),
    select: (names) => format(settled, columnsNamed(names)),
    decode: async function* (file, { columns }) {
      yield* (await import("./decode.ts")).decode(file, columns);
    },
  };
};
