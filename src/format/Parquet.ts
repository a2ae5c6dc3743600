/**
 * Parquet: the columns of `Columns.ts` with their types, compressed, readable by DuckDB, Spark, pandas and
 * the rest.
 *
 * @module
 */
import { ByteWriter, type ColumnSource, ParquetWriter, type SchemaElement } from "hyparquet-writer";
import { snappyCompressor } from "hysnappy";
import * as Batch from "../Batch.ts";
import * as Columns from "../Columns.ts";
import * as Fields from "../Fields.ts";
import type { JsonRows } from "../JsonRows.ts";
import * as Room from "../Room.ts";
import * as ColumnValues from "./ColumnValues.ts";
import * as Encoder from "./Encoder.ts";

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

const valuesOf = (column: Columns.Column): ColumnValues.Values =>
  isId(column)
    ? ColumnValues.bytes()
    : column.kind === "number"
    ? ColumnValues.numbers()
    : ColumnValues.any();

/** Reads the values of a column, and remembers those that come again. */
type Fill = (values: ColumnValues.Values, batch: Encoder.Encodable, from: number, to: number) => void;

/** Ids are handed to the writer in UTF-8, as they come. */
const isId = ({ name }: Columns.Column) => name === "session_id" || name === "session_key";

/** Appends the values of one column for the sessions from `from` up to `to`. */
const fillOf = (column: Columns.Column): Fill => {
  const { kind, name, place } = column;
  const text = Fields.memo(10, (text) => text);
  const list = Fields.memo(10, (json): ReadonlyArray<string> => JSON.parse(json), Fields.json);
  const read = isId(column)
    ? (bytes: Uint8Array, from: number, end: number) =>
      end < 0 ? utf8.encode(Fields.text(bytes, from, end)) : bytes.subarray(from, end)
    : kind === "number"
    ? Columns.decimalAt
    : kind === "text_list"
    ? list
    : name === "ip_address"
    ? Fields.text
    : text;

  const fromFields = (
    values: ColumnValues.Values,
    { bytes }: JsonRows,
    { numbers, numberCount, texts, textCount }: Fields.Fields,
    place: number,
    from: number,
    to: number,
  ) => {
    if (kind === "timestamp") {
      for (let row = from; row < to; row++) values.push(numbers[row * numberCount + place]! * 1000);
      return;
    }
    for (let row = from; row < to; row++) {
      const at = 2 * (row * textCount + place);
      const [begin, end] = [texts[at]!, texts[at + 1]!];
      values.push(begin < 0 ? null : read(bytes, begin, end));
    }
  };

  return (values, batch, from, to) => {
    const { userId, source } = batch;
    const { fields } = source ?? {};
    if (fields !== undefined && place !== undefined) {
      return fromFields(values, source!, fields, place, from, to);
    }
    for (let row = from; row < to; row++) {
      if (name === "user_id") values.push(userId);
      else if (fields !== undefined) {
        values.push(Columns.rescueAt(source!, fields, row));
      } else {
        const value = column.get(batch.sessions[row]!, userId, source, row);
        values.push(
          kind === "timestamp"
            ? value as number * 1000
            : isId(column) && value !== null
            ? utf8.encode(value as string)
            : value,
        );
      }
    }
  };
};

/** The writer's bytes so far, copied out as its buffer is used again. Its `offset` counts the whole file. */
const drain = (writer: ByteWriter, room: Room.Room): Uint8Array<ArrayBuffer> => {
  const bytes = room(writer.index);
  bytes.set(writer.getBytes());
  writer.index = 0;
  return bytes;
};

let compress: ReturnType<typeof snappyCompressor> | undefined;
/** One for all encoders: it is synchronous, and owns WebAssembly memory. */
const snappy = () => (compress ??= snappyCompressor());

/**
 * A column as the writer takes it. Left to itself it tries a dictionary, which pays where values come again: in
 * times and in the ids of sessions they don't. Times lie close together: against plain values deltas take 6 % off
 * the file. Ids are random, so their bytes stand end to end behind their lengths. Compression would take as long
 * again as all else for ids and find 5 % in them, and nothing in deltas.
 */
const written = (column: Columns.Column, values: Array<unknown>): ColumnSource => {
  const { name, kind } = column;
  if (kind === "timestamp") {
    return { name, data: values, encoding: "DELTA_BINARY_PACKED", codec: "UNCOMPRESSED" };
  }
  if (isId(column)) {
    return {
      name,
      data: values,
      encoding: "DELTA_LENGTH_BYTE_ARRAY",
      codec: "UNCOMPRESSED",
      // The least and the most of random ids tell nothing, and would lie in bytes that the next group overwrites.
      statistics: false,
    };
  }
  return { name, data: values };
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
    ...(codec === "snappy"
      ? { codec: "SNAPPY", compressors: { SNAPPY: snappy() } }
      : { codec: "UNCOMPRESSED" }),
  });
  const fills = Columns.columns.map(fillOf);
  const group = Columns.columns.map(valuesOf);
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
        fills.forEach((fill, i) => fill(group[i]!, batch, from, to));
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
