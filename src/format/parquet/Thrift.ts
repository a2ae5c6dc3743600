/**
 * Reads Thrift's compact protocol, in which Parquet tells what it holds, from bytes that anyone may have written: no count is
 * believed that the bytes left could not bear out.
 */

/** A value: a struct by the numbers of its fields, a list, bytes, or what else there is. */
export type Value = number | boolean | Uint8Array | ReadonlyArray<Value> | Struct;

export type Struct = ReadonlyMap<number, Value>;

/** Nothing in a Parquet file is nested half as deep. */
const DEEPEST = 16;

/** A number of 64 bits takes no more bytes. */
const LONGEST = 10;

/** Make the error for bytes that are not so, in words that go on from `can't be read:`. */
export const lie = (what: string): RangeError => new RangeError(`it is no Parquet of this program: ${what}`);

export interface Cursor {
  readonly bytes: Uint8Array;
  at: number;
}

const byteAt = (cursor: Cursor): number => {
  if (cursor.at >= cursor.bytes.length) throw lie("it ends in the midst of a value");
  return cursor.bytes[cursor.at++]!;
};

/** Reads a number of up to 32 bits; of a longer one, the lowest of them. */
export const varint = (cursor: Cursor): number => {
  let result = 0;
  for (let count = 0; count < LONGEST; count++) {
    const byte = byteAt(cursor);
    result |= (byte & 0x7f) << (7 * count);
    if (byte < 0x80) return result;
  }
  throw lie("a number has no end");
};

const zigzag = (cursor: Cursor): number => {
  const value = varint(cursor);
  return value >>> 1 ^ -(value & 1);
};

/** Takes so many bytes, if there are as many. */
export const take = (cursor: Cursor, length: number): Uint8Array => {
  const { bytes, at } = cursor;
  if (!(length >= 0 && length <= bytes.length - at)) throw lie(`${length} bytes are not there`);
  cursor.at += length;
  return bytes.subarray(at, cursor.at);
};

const list = (cursor: Cursor, depth: number): ReadonlyArray<Value> => {
  const header = byteAt(cursor);
  const [type, short] = [header & 0x0f, header >> 4];
  const length = short === 15 ? varint(cursor) : short;
  // Each item takes a byte at the least.
  if (!(length >= 0 && length <= cursor.bytes.length - cursor.at)) throw lie(`a list has ${length} items`);
  const items: Array<Value> = [];
  for (let i = 0; i < length; i++) {
    items.push(type === 1 || type === 2 ? byteAt(cursor) === 1 : valueOf(cursor, type, depth));
  }
  return items;
};

const valueOf = (cursor: Cursor, type: number, depth: number): Value => {
  switch (type) {
    case 1:
    case 2:
      return type === 1;
    case 3:
      return byteAt(cursor);
    case 4:
    case 5:
      return zigzag(cursor);
    case 6:
      varint(cursor);
      return false;
    case 7:
      return take(cursor, 8);
    case 8:
      return take(cursor, varint(cursor));
    case 9:
      return list(cursor, depth + 1);
    case 12:
      return struct(cursor, depth + 1);
    default:
      throw lie(`a value is of type ${type}`);
  }
};

/** Reads a struct. What a number of 64 bits says is passed over. */
export const struct = (cursor: Cursor, depth = 0): Struct => {
  if (depth > DEEPEST) throw lie("it is nested too deep");
  const fields = new Map<number, Value>();
  let id = 0;
  while (true) {
    const header = byteAt(cursor);
    const type = header & 0x0f;
    if (type === 0) return fields;
    id = header >> 4 === 0 ? zigzag(cursor) : id + (header >> 4);
    fields.set(id, valueOf(cursor, type, depth));
  }
};

/** Gives a number of a page's header that is there, and is not negative. */
export const numberIn = (fields: Struct, id: number): number => {
  const value = fields.get(id);
  if (typeof value !== "number" || value < 0) throw lie(`a page has ${value} for field ${id}`);
  return value;
};

/** Gives a struct of a page's header that is there. */
export const structIn = (fields: Struct, id: number): Struct => {
  const value = fields.get(id);
  if (!(value instanceof Map)) throw lie(`a page has no field ${id}`);
  return value;
};
