/**
 * Parquet: the columns of `Columns.ts` with their types, compressed, readable by DuckDB, Spark, pandas and
 * the rest.
 *
 * @module
 */
import { ByteWriter, type ColumnSource, ParquetWriter, type SchemaElement } from "hyparquet-writer";
import { snappyCompressor } from "hysnappy";
import * as Batch from "../../session/Batch.ts";
import * as Columns from "../../session/Columns.ts";
import * as Fields from "../../scan/Fields.ts";
import type { JsonRows } from "../../scan/JsonRows.ts";
import * as Options from "../../options/Options.ts";
import * as Room from "../../sink/Room.ts";
import * as ColumnValues from "./ColumnValues.ts";
import * as Encoder from "../Encoder.ts";

/** How Parquet is written. */
export interface ParquetOptions {
  /**
   * Rows in a row group: the unit that readers skip or read side by side, and what the encoder holds. Values
   * are held as they are until the group is full, then encoded in one call. From 10,000 to 100,000 rows a
   * file shrinks by 3 % at most (measured), while memory and that one call grow with the rows: 10,000 cost
   * up to 65 MB and a twentieth of a second.
   *
   * @default {10_000}
   */
  readonly rowGroupRows?: number;
  /**
   * How pages are compressed, but for those of times and of session ids and keys: these are packed as they are.
   *
   * @default {"snappy"}
   */
  readonly codec?: "snappy" | "uncompressed";
}

/** See {@link ParquetOptions}. */
export const optionNames: Options.Names<ParquetOptions> = {
  rowGroupRows: Options.number,
  codec: Options.oneOf(["snappy", "uncompressed"]),
};

const utf8 = new TextEncoder();

const text = { type: "BYTE_ARRAY", converted_type: "UTF8", logical_type: { type: "STRING" } } as const;

/** The schema of one column: the same whatever the sessions are. */
const elements = ({ name, kind, nullable }: Columns.Column): Array<SchemaElement> => {
  const repetition_type = nullable ? "OPTIONAL" : "REQUIRED";
  switch (kind) {
    case "text":
    case "json":
      return [{ name, repetition_type, ...text }];
    case "number":
      return [{ name, repetition_type, type: "DOUBLE" }];
    case "timestamp":
      return [{
        name,
        repetition_type,
        type: "INT64",
        converted_type: "TIMESTAMP_MILLIS", // for readers older than logical types
        logical_type: { type: "TIMESTAMP", isAdjustedToUTC: true, unit: "MILLIS" },
      }];
    case "text_list":
      return [
        { name, repetition_type, num_children: 1, converted_type: "LIST", logical_type: { type: "LIST" } },
        { name: "list", repetition_type: "REPEATED", num_children: 1 },
        { name: "element", repetition_type: "REQUIRED", ...text },
      ];
  }
};

/** The schema of every file: the same whatever the sessions are. */
export const schema: ReadonlyArray<SchemaElement> = [
  { name: "session", num_children: Columns.columns.length },
  ...Columns.columns.flatMap(elements),
];

/** A column of a row group in the making. */
interface Making {
  /** Appends its values for the sessions from `from` up to `to`. */
  readonly fill: (batch: Encoder.Encodable, from: number, to: number) => void;
  /** All of them, as the writer takes them. The next are those of another group; these must not be looked at by then. */
  readonly take: () => Array<unknown>;
}

/** Ids are handed to the writer in UTF-8, as they come. */
const isId = ({ name }: Columns.Column) => name === "session_id" || name === "session_key";

/** Appends the values of the rows from `from` up to `to`, whose fields are known. A loop for each kind: one for all would be slow. */
type FromFields = (
  batch: Encoder.Encodable,
  source: JsonRows,
  fields: Fields.Fields,
  from: number,
  to: number,
) => void;

/** A column by both ways to its values: from the fields of rows, or one by one, as they come from sessions. */
const making = <A>(
  column: Columns.Column,
  take: () => Array<unknown>,
  fromFields: FromFields,
  push: (value: A) => void,
): Making => ({
  take,
  fill: (batch, from, to) => {
    const { userId, source } = batch;
    if (source?.fields !== undefined) return fromFields(batch, source, source.fields, from, to);
    for (let row = from; row < to; row++) push(column.get(batch.sessions[row]!, userId, source, row) as A);
  },
});

const ofIds = (column: Columns.Column, place: number): Making => {
  const { push, pushNull, take } = ColumnValues.bytes();
  const pushText = (text: string | null) => {
    if (text === null) return pushNull();
    const bytes = utf8.encode(text);
    push(bytes, 0, bytes.length);
  };
  return making(column, take, (_, { bytes }, { texts, textCount }, from, to) => {
    for (let row = from; row < to; row++) {
      const at = 2 * (row * textCount + place);
      const begin = texts[at]!;
      const end = texts[at + 1]!;
      if (begin >= 0 && end >= 0) push(bytes, begin, end);
      else pushText(begin < 0 ? null : Fields.text(bytes, begin, end));
    }
  }, pushText);
};

const ofNumbers = (column: Columns.Column, place: number): Making => {
  const { push, take } = ColumnValues.numbers();
  return making(column, take, (_, { bytes }, { texts, textCount }, from, to) => {
    for (let row = from; row < to; row++) {
      const at = 2 * (row * textCount + place);
      push(texts[at]! < 0 ? null : Columns.decimalAt(bytes, texts[at]!, texts[at + 1]!));
    }
  }, push);
};

const ofTimes = (column: Columns.Column, place: number): Making => {
  const times = ColumnValues.none<number>();
  return making(column, () => ColumnValues.take(times), (_, __, { numbers, numberCount }, from, to) => {
    for (let row = from; row < to; row++) {
      times.all[times.count++] = numbers[row * numberCount + place]! * 1000;
    }
  }, (seconds: number) => void (times.all[times.count++] = seconds * 1000));
};

/** The column of users, and what no other can hold. */
const ofRest = (column: Columns.Column): Making => {
  const isUser = column.name === "user_id";
  const values = ColumnValues.none<string | null>();
  return making(column, () => ColumnValues.take(values), ({ userId }, source, fields, from, to) => {
    for (let row = from; row < to; row++) {
      values.all[values.count++] = isUser ? userId : Columns.rescueAt(source, fields, row);
    }
  }, (text: string | null) => void (values.all[values.count++] = text));
};

const ofTexts = (column: Columns.Column, place: number): Making => {
  // What comes again is made once: addresses hardly do.
  const read = column.kind === "text_list"
    ? Fields.memo(10, (json): ReadonlyArray<string> => JSON.parse(json), Fields.json)
    : column.name === "ip_address"
    ? Fields.text
    : Fields.memo(10, (text) => text);
  const values = ColumnValues.none<unknown>();
  return making(column, () => ColumnValues.take(values), (_, { bytes }, { texts, textCount }, from, to) => {
    for (let row = from; row < to; row++) {
      const at = 2 * (row * textCount + place);
      values.all[values.count++] = texts[at]! < 0 ? null : read(bytes, texts[at]!, texts[at + 1]!);
    }
  }, (value: unknown) => void (values.all[values.count++] = value));
};

const makingOf = (column: Columns.Column): Making =>
  isId(column)
    ? ofIds(column, column.place!)
    : column.kind === "number"
    ? ofNumbers(column, column.place!)
    : column.kind === "timestamp"
    ? ofTimes(column, column.place!)
    : column.place === undefined
    ? ofRest(column)
    : ofTexts(column, column.place);

/** The writer's bytes so far, copied out as its buffer is used again. Its `offset` counts the whole file. */
const drain = (writer: ByteWriter, room: Room.Room): Uint8Array<ArrayBuffer> => {
  const bytes = room(writer.index);
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

/** Whether the least and the most of a row group tell what may be left out: users and times lie together, nothing else does. */
const areTelling = ({ name, kind }: Columns.Column) =>
  name === "user_id" || kind === "timestamp" || kind === "json"; // of JSON, how many there are

/**
 * A column as the writer takes it. Left to itself it tries a dictionary, which pays where values come again: in
 * times and in the ids of sessions they don't. Times lie close together: against plain values deltas take 6 % off
 * the file. Ids are random, so their bytes stand end to end behind their lengths. Compression would take as long
 * again as all else for ids and find 5 % in them, and nothing in deltas.
 */
const written = (column: Columns.Column, data: Array<unknown>): ColumnSource => {
  const { name, kind } = column;
  const its = { name, data, statistics: areTelling(column) };
  if (kind === "timestamp") return { ...its, encoding: "DELTA_BINARY_PACKED", codec: "UNCOMPRESSED" };
  if (isId(column)) return { ...its, encoding: "DELTA_LENGTH_BYTE_ARRAY", codec: "UNCOMPRESSED" };
  return its;
};

const settle = ({ rowGroupRows = 10_000, codec = "snappy" }: ParquetOptions): Required<ParquetOptions> => {
  const refuse = (must: string, found: unknown) =>
    new TypeError(`Cannot write Parquet as ${must}: current value is ${found}`);
  if (!Number.isSafeInteger(rowGroupRows) || rowGroupRows < 1) {
    throw refuse("'rowGroupRows' must be a positive integer", rowGroupRows);
  }
  if (codec !== "snappy" && codec !== "uncompressed") {
    throw refuse('\'codec\' must be "snappy" or "uncompressed"', codec);
  }
  return { rowGroupRows, codec };
};

const makeSettled = ({ rowGroupRows, codec }: Required<ParquetOptions>): Encoder.Encoder => {
  const writer = new ByteWriter();
  const parquet = new ParquetWriter({
    writer,
    schema: [...schema],
    createdBy: "monocloud-sessions",
    ...(codec === "snappy" ? { codec: "SNAPPY", compressors: snappy() } : { codec: "UNCOMPRESSED" }),
  });
  const group = Columns.columns.map(makingOf);
  let rows = 0;

  const flush = () => {
    const columnData = Columns.columns.map((column, i) => written(column, group[i]!.take()));
    parquet.write({ columnData, rowGroupSize: rows });
    rows = 0;
  };

  return Encoder.make("parquet", {
    encode: (batch, room) => {
      const size = Batch.size(batch);
      for (let from = 0; from < size;) {
        const to = Math.min(size, from + rowGroupRows - rows);
        group.forEach(({ fill }) => fill(batch, from, to));
        rows += to - from;
        from = to;
        if (rows === rowGroupRows) flush();
      }
      return drain(writer, room);
    },
    finish: () => {
      if (rows > 0) flush();
      parquet.finish();
      return drain(writer, Room.own);
    },
  });
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
 * import { Batch, Parquet } from "monocloud-sessions";
 *
 * const session = { session_id: "S1", client_ids: ["app"], initiated_at: 1, expires_at: 2, last_updated: 1 };
 * const parquet = Parquet.make({ rowGroupRows: 50_000 });
 * const file = [parquet.encode(Batch.make("alice", [session])), parquet.finish()];
 * console.assert(new TextDecoder().decode(file.at(-1)).endsWith("PAR1"));
 * ```
 */
export const make = (options: ParquetOptions = {}): Encoder.Encoder => makeSettled(settle(options));

/**
 * The format with these options, for a driver that makes many files.
 *
 * @throws {TypeError} on an option of the wrong type or out of range.
 */
export const format = (options: ParquetOptions = {}): Encoder.Format => {
  const settled = settle(options);
  return {
    name: "parquet",
    extension: "parquet",
    contentType: "application/vnd.apache.parquet",
    make: () => makeSettled(settled),
  };
};
