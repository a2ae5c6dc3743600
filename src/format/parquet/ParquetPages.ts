/**
 * Looks a Parquet file over before its reader believes it: that one asks for as much memory as a file says it needs, and
 * goes on for as long as it says. Only what this program writes passes: pages of both versions, in the encodings that it uses.
 */
import { type FileMetaData, snappyUncompress } from "hyparquet";
import type { Column } from "../../session/Columns.ts";
import { MOST_ROWS } from "./schema.ts";
import * as Thrift from "./Thrift.ts";

const { lie, numberIn, structIn } = Thrift;

const VALUES = 1 << 22;
/** Bytes of a row group, as they lie, and unpacked as well. */
const BYTES = 2 ** 29;

const [DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2] = [0, 2, 3];
const [PLAIN, PLAIN_DICTIONARY, DELTA_BINARY_PACKED, DELTA_LENGTH_BYTE_ARRAY, RLE_DICTIONARY] = [
  0,
  2,
  5,
  6,
  8,
];

/** Refuses a footer that can't be held as it says, before it is read. */
export const checkFooter = (bytes: Uint8Array): void => void Thrift.struct({ bytes, at: 0 });

/**
 * Refuses runs and packed groups of values that are not so many, of so many bits each. Gives how many of them are `sought`, if
 * they have at most 8 bits.
 */
const checkRuns = (bytes: Uint8Array, width: number, count: number, sought = -1): number => {
  const cursor = { bytes, at: 0 };
  let found = 0;
  if (width > 32) throw lie(`a value has ${width} bits`);
  for (let seen = 0; seen < count;) {
    const header = Thrift.varint(cursor);
    const length = header >>> 1;
    const isPacked = (header & 1) === 1;
    // The last group may be filled up.
    const values = isPacked ? 8 * length : length;
    if (length === 0 || values - (count - seen) >= (isPacked ? 8 : 1)) {
      throw lie(`there are more than ${count} values`);
    }
    const run = Thrift.take(cursor, isPacked ? length * width : (width + 7) >> 3);
    if (!isPacked) found += run[0] === sought ? values : 0;
    else if (sought >= 0) found += countPacked(run, width, Math.min(values, count - seen), sought);
    seen += values;
  }
  return found;
};

/** Count the values that are `sought` among packed ones of 8 bits at most. */
const countPacked = (bytes: Uint8Array, width: number, count: number, sought: number): number => {
  let found = 0;
  for (let i = 0; i < count; i++) {
    const [at, shift] = [(i * width) >> 3, (i * width) & 7];
    if (((bytes[at]! | (bytes[at + 1] ?? 0) << 8) >> shift & ((1 << width) - 1)) === sought) found++;
  }
  return found;
};

/** Refuses deltas in other blocks than those of 128 in 4 parts, which their reader may not get to the end of. */
const checkDeltas = (bytes: Uint8Array, count: number): void => {
  const cursor = { bytes, at: 0 };
  const header = [Thrift.varint(cursor), Thrift.varint(cursor), Thrift.varint(cursor)];
  if (header.join() !== [128, 4, count].join()) throw lie(`deltas come in blocks of ${header.join()}`);
};

const checkValues = (bytes: Uint8Array, encoding: number, count: number): void => {
  switch (encoding) {
    case PLAIN:
      if (count > bytes.length) throw lie(`${count} values take ${bytes.length} bytes`);
      return;
    case PLAIN_DICTIONARY:
    case RLE_DICTIONARY:
      if (bytes.length === 0) throw lie("a page has no values");
      return void checkRuns(bytes.subarray(1), bytes[0]!, count);
    case DELTA_BINARY_PACKED:
    case DELTA_LENGTH_BYTE_ARRAY:
      return checkDeltas(bytes, count);
    default:
      throw lie(`its values are encoded by method ${encoding}`);
  }
};

interface Budget {
  bytes: number;
  values: number;
}

const unpack = (bytes: Uint8Array, codec: string, length: number, budget: Budget): Uint8Array => {
  budget.bytes -= length;
  if (budget.bytes < 0) throw lie("a row group unpacks to too much");
  if (codec === "UNCOMPRESSED") return bytes;
  if (codec !== "SNAPPY") throw lie(`it is packed by ${codec}`);
  const unpacked = new Uint8Array(length);
  snappyUncompress(bytes, unpacked);
  return unpacked;
};

/** A column as its pages have it. */
interface Chunk {
  readonly codec: string;
  readonly isList: boolean;
  /** The level of what is defined: null, and a list without texts, has less. */
  readonly defined: number;
  readonly budget: Budget;
}

interface Page {
  readonly header: Thrift.Struct;
  readonly bytes: Uint8Array;
  /** Its length before compression. */
  readonly size: number;
}

const checkCount = ({ isList, budget }: Chunk, values: number, nulls: number): void => {
  budget.values -= isList ? values : 0;
  if (values > (isList ? VALUES : MOST_ROWS) || budget.values < 0 || nulls > values) {
    throw lie(`a page has ${values} values, of which ${nulls} are null`);
  }
};

/** Refuses levels that are not those of so many values. Gives how many of the values are not null. */
const checkLevels = (
  { isList, defined }: Chunk,
  ofRepetitions: Uint8Array,
  ofDefinitions: Uint8Array,
  values: number,
) => {
  if (isList) checkRuns(ofRepetitions, 1, values);
  else if (ofRepetitions.length > 0) throw lie("a column that holds no lists has levels of lists");
  return defined > 0 ? checkRuns(ofDefinitions, defined === 2 ? 2 : 1, values, defined) : values;
};

/** Refuses a data page of version 1, where levels are compressed with the values, each with its length before it. */
const checkDataPageV1 = (chunk: Chunk, { header, bytes, size }: Page): void => {
  const data = structIn(header, 5);
  const [values, encoding] = [numberIn(data, 1), numberIn(data, 2)];
  checkCount(chunk, values, 0);
  const unpacked = unpack(bytes, chunk.codec, size, chunk.budget);
  const cursor = { bytes: unpacked, at: 0 };
  const levels = (isThere: boolean): Uint8Array => {
    if (!isThere) return unpacked.subarray(0, 0);
    const length = Thrift.take(cursor, 4);
    return Thrift.take(cursor, new DataView(length.buffer, length.byteOffset).getUint32(0, true));
  };
  const [ofRepetitions, ofDefinitions] = [levels(chunk.isList), levels(chunk.defined > 0)];
  const count = checkLevels(chunk, ofRepetitions, ofDefinitions, values);
  checkValues(unpacked.subarray(cursor.at), encoding, count);
};

/** Refuses a data page of version 2, where levels lie before what is compressed. */
const checkDataPageV2 = (chunk: Chunk, { header, bytes, size }: Page): void => {
  const data = structIn(header, 8);
  const [values, nulls, encoding, ofDefinitions, ofRepetitions] = [1, 2, 4, 5, 6].map((id) =>
    numberIn(data, id)
  ) as [number, number, number, number, number];
  checkCount(chunk, values, nulls);
  const cursor = { bytes, at: 0 };
  const repetitions = Thrift.take(cursor, ofRepetitions);
  checkLevels(chunk, repetitions, Thrift.take(cursor, ofDefinitions), values);
  const codec = data.get(7) !== false ? chunk.codec : "UNCOMPRESSED";
  const length = size - cursor.at;
  if (length < 0) throw lie("a page is shorter than its levels");
  checkValues(unpack(bytes.subarray(cursor.at), codec, length, chunk.budget), encoding, values - nulls);
};

/** Refuses a column of a row group unless all its pages are what they say. */
const checkChunk = (bytes: Uint8Array, column: Column, codec: string, budget: Budget): void => {
  const isList = column.kind === "text_list";
  const chunk = { codec, isList, defined: Number(column.nullable) + Number(isList), budget };
  const cursor = { bytes, at: 0 };
  while (cursor.at < bytes.length) {
    const header = Thrift.struct(cursor);
    const page = { header, bytes: Thrift.take(cursor, numberIn(header, 3)), size: numberIn(header, 2) };
    const type = header.get(1);
    if (type === DICTIONARY_PAGE) {
      checkValues(unpack(page.bytes, codec, page.size, budget), PLAIN, numberIn(structIn(header, 7), 1));
    } else if (type === DATA_PAGE) checkDataPageV1(chunk, page);
    else if (type === DATA_PAGE_V2) checkDataPageV2(chunk, page);
    else throw lie(`a page is of type ${type}`);
  }
};

type RowGroup = FileMetaData["row_groups"][number];

/** Give the place of a row group. Refuses one that has no rows or too many, and one that does not lie in the file. */
export const placeOf = (
  { columns: chunks, num_rows }: RowGroup,
  byteLength: number,
  columns: ReadonlyArray<Column>,
) => {
  if (num_rows < 1n || num_rows > BigInt(MOST_ROWS) || num_rows > BigInt(byteLength)) {
    throw lie(`a row group has ${num_rows} rows`);
  }
  if (chunks.length !== columns.length) throw lie(`a row group has ${chunks.length} columns`);
  const places = chunks.map(({ meta_data: its }, i) => {
    const [start, length] = [
      Number(its?.dictionary_page_offset || its?.data_page_offset || -1),
      Number(its?.total_compressed_size ?? -1),
    ];
    const isOwn = its?.path_in_schema[0] === columns[i]!.name;
    if (its === undefined || !isOwn || start < 0 || length < 0 || start + length > byteLength) {
      throw lie(`column ${i + 1} of a row group is not in the file`);
    }
    return { start, end: start + length, codec: its.codec };
  });
  const [start, end] = [
    Math.min(...places.map(({ start }) => start)),
    Math.max(...places.map(({ end }) => end)),
  ];
  const total = places.reduce((sum, place) => sum + place.end - place.start, 0);
  if (end - start > BYTES || total > end - start) {
    throw lie(`a row group has ${total} bytes in ${end - start}`);
  }
  return { start, end, places };
};

/** Refuses a row group unless all its pages are what they say. Its bytes are those from `start` on. */
export const checkGroup = (
  bytes: Uint8Array,
  { start, places }: ReturnType<typeof placeOf>,
  columns: ReadonlyArray<Column>,
): void => {
  const budget = { bytes: BYTES, values: VALUES };
  for (const [i, place] of places.entries()) {
    checkChunk(bytes.subarray(place.start - start, place.end - start), columns[i]!, place.codec, budget);
  }
};
