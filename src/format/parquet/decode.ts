/** Reads sessions off the rows of a Parquet file. */
import { type AsyncBuffer, type FileMetaData, parquetMetadata, parquetRead } from "hyparquet";
import { columns } from "../../session/Columns.ts";
import { schemaOf } from "./schema.ts";
import * as Json from "../Json.ts";
import * as ParquetPages from "./ParquetPages.ts";
import { compared, type Flaw, placesIn, plain, type Row, type Value } from "../DecodedRow.ts";
import type { EncodedFile } from "../Format.ts";
import * as Thrift from "./Thrift.ts";

/** A footer has a hundred bytes for each column of 10,000 rows. */
const FOOTER = 2 ** 26;

/** A file of which no more is read than these bytes, which lie there. */
const bufferOf = (byteLength: number, from: number, bytes: Uint8Array<ArrayBuffer>): AsyncBuffer => ({
  byteLength,
  slice: (start, end = byteLength) => {
    if (start < from || end < start || end > from + bytes.length) throw Thrift.lie("it leads elsewhere");
    return bytes.slice(start - from, end - from).buffer;
  },
});

/** Read the file's footer, once it can be believed. */
const metadataOf = async ({ byteLength, read }: EncodedFile): Promise<FileMetaData> => {
  if (byteLength < 12) throw Thrift.lie("it is too short");
  const end = await read(byteLength - 8, byteLength);
  const length = new DataView(end.buffer).getUint32(0, true);
  if (length > Math.min(FOOTER, byteLength - 12)) throw Thrift.lie(`its footer has ${length} bytes`);
  const footer = await read(byteLength - 8 - length, byteLength);
  ParquetPages.checkFooter(footer.subarray(0, length));
  return parquetMetadata(footer, { geoparquet: false, parsers });
};

type Schema = ReturnType<typeof schemaOf>;
type Element = Schema[number];

/** Give an element of a schema as text, by which two can be compared. */
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

const checkSchema = (found: FileMetaData["schema"], schema: Schema): void => {
  for (let i = 0; i < Math.max(found.length, schema.length); i++) {
    const [element, wanted] = [found[i], schema[i]];
    // The first names the whole; whether it says it is required is up to the writer.
    if (element && wanted && i === 0 && element.num_children === wanted.num_children) continue;
    if (element && wanted && wordsOf(element as Element) === wordsOf(wanted)) continue;
    throw new Error(
      `its schema is not that of a session: ${
        element ? Json.brief(wordsOf(element as Element)) : "nothing"
      } is ` +
        `where ${wanted ? wordsOf(wanted) : "nothing"} should be`,
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

const rowOf = (cells: ReadonlyArray<unknown>, places: ReadonlyArray<number>): Row | Flaw => {
  const values = compared.map((_, i) => places[i] === -1 ? undefined : (cells[places[i]!] ?? null) as Value);
  const missing = compared.find(({ nullable }, i) => !nullable && values[i] === null);
  if (missing !== undefined) return { flaw: `has no ${missing.name}` };
  return { values, rescued: (cells[places[compared.length]!] ?? null) as string | null, text: plain };
};

/** Read the rows of a Parquet file. Throws if its schema is not that of its columns. Memory: a row group. */
export async function* decode(
  file: EncodedFile,
  names: ReadonlyArray<string>,
): AsyncGenerator<ReadonlyArray<Row | Flaw>> {
  const { byteLength, read } = file;
  const places = placesIn(names);
  const its = names.map((name) => columns.find((column) => column.name === name)!);
  const metadata = await metadataOf(file);
  checkSchema(metadata.schema, schemaOf(its));
  let count = 0;
  for (const group of metadata.row_groups) {
    const place = ParquetPages.placeOf(group, byteLength, its);
    const bytes = await read(place.start, place.end);
    ParquetPages.checkGroup(bytes, place, its);
    let found: ReadonlyArray<ReadonlyArray<unknown>> = [];
    await parquetRead({
      file: bufferOf(byteLength, place.start, bytes),
      metadata: { ...metadata, row_groups: [group], num_rows: group.num_rows },
      parsers,
      geoparquet: false,
      columns: [...names],
      onComplete: (rows) => found = rows,
    });
    yield found.map((cells) => rowOf(cells, places));
    count += Number(group.num_rows);
  }
  if (count !== Number(metadata.num_rows)) {
    throw new Error(`it says it has ${metadata.num_rows} rows, and its groups hold ${count}`);
  }
}
