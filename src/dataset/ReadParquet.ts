/**
 * Reads sessions off the rows of a Parquet part.
 *
 * @module
 */
import type { FileHandle } from "node:fs/promises";
import { type AsyncBuffer, type FileMetaData, parquetMetadataAsync, parquetRead } from "hyparquet";
import { columns } from "../Columns.ts";
import { schema } from "../format/Parquet.ts";
import { compared, type Flaw, type Row, type Value } from "./Row.ts";

const bufferOf = (handle: FileHandle, byteLength: number): AsyncBuffer => ({
  byteLength,
  slice: async (start, end = byteLength) => {
    const bytes = new Uint8Array(end - start);
    let filled = 0;
    while (filled < bytes.length) {
      const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
      if (bytesRead === 0) throw new Error("it ends before its last row");
      filled += bytesRead;
    }
    return bytes.buffer;
  },
});

type Element = (typeof schema)[number];

/** What an element of a schema says, by which two can be compared. */
const wordsOf = (element: Element): string => {
  const { name, type, repetition_type, num_children, converted_type, logical_type } = element;
  return JSON.stringify({
    name,
    type,
    repetition_type,
    num_children,
    converted_type,
    logical_type: logical_type && Object.fromEntries(Object.entries(logical_type).sort()),
  });
};

const checkSchema = (found: FileMetaData["schema"]): void => {
  for (let i = 0; i < Math.max(found.length, schema.length); i++) {
    const [element, wanted] = [found[i], schema[i]];
    // The first names the whole; whether it says it is required is up to the writer.
    if (element && wanted && i === 0 && element.num_children === wanted.num_children) continue;
    if (element && wanted && wordsOf(element as Element) === wordsOf(wanted)) continue;
    throw new Error(
      `its schema is not that of a session: ${element ? wordsOf(element as Element) : "nothing"} is where ` +
        `${wanted ? wordsOf(wanted) : "nothing"} should be`,
    );
  }
};

// A BOM is text like any other.
const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

const parsers = {
  /** In seconds since the epoch, as the other formats have them. */
  timestampFromMilliseconds: (time: bigint): number => Number(time) / 1000,
  stringFromBytes: (bytes: Uint8Array | undefined): string | undefined => bytes && utf8.decode(bytes),
};

const rowOf = (cells: ReadonlyArray<unknown>): Row | Flaw => {
  const values = cells.slice(0, compared.length).map((value) => value ?? null) as Array<Value>;
  const missing = compared.find(({ nullable }, i) => !nullable && values[i] === null);
  if (missing !== undefined) return { flaw: `has no ${missing.name}` };
  return { values, rescued: (cells[compared.length] ?? null) as string | null, text: "plain" };
};

/** The rows of a Parquet part. Throws if its schema is not that of sessions. Memory: a row group. */
export async function* rows(
  handle: FileHandle,
  bytes: number,
): AsyncGenerator<ReadonlyArray<Row | Flaw>> {
  const file = bufferOf(handle, bytes);
  const metadata = await parquetMetadataAsync(file, { geoparquet: false, parsers });
  checkSchema(metadata.schema);
  let rowStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const rowEnd = rowStart + Number(num_rows);
    let group: ReadonlyArray<ReadonlyArray<unknown>> = [];
    await parquetRead({
      file,
      metadata,
      rowStart,
      rowEnd,
      parsers,
      geoparquet: false,
      columns: columns.map(({ name }) => name),
      onComplete: (rows) => group = rows,
    });
    yield group.map(rowOf);
    rowStart = rowEnd;
  }
  if (rowStart !== Number(metadata.num_rows)) {
    throw new Error(`it says it has ${metadata.num_rows} rows, and its groups hold ${rowStart}`);
  }
}
