/** The fields of rows as they lie in a page's bytes, and how to read one without making anything of the others. */

import { MINUS, POINT, ZERO } from "./JsonTokens.ts";

/**
 * The places of the fields of some rows. Each kind has so many places a row, in the order of the schema, those of objects
 * within it included.
 */
export interface FieldOffsets {
  /**
   * For each text, and each list of texts, where it begins in the bytes and where it ends, without quotes but with brackets.
   * The end is complemented (`~end`) where the text is not simply those bytes, each a character: where it has escapes or
   * more than ASCII. It begins at -1 where the text is null or absent.
   */
  readonly texts: Int32Array;
  readonly textCount: number;
  /** NaN where a number is null or absent. */
  readonly numbers: Float64Array;
  readonly numberCount: number;
  /**
   * For each row that has any, the members that the schema does not know, in order, in {@link OTHER} numbers each: the place
   * of the object that it is in, where its name begins and ends without quotes, and where its value does, with the ends
   * complemented likewise.
   */
  readonly others: ReadonlyArray<ReadonlyArray<number> | undefined>;
  /** The part of a row that no column can hold, once a format has asked for it: the next one asks as well. */
  readonly rescued: Map<number, string>;
}

/** The number of places that a row has of each kind. */
export interface Counts {
  texts: number;
  numbers: number;
  objects: number;
}

export interface Writable extends FieldOffsets {
  readonly others: Array<Array<number> | undefined>;
}

export const empty = ({ texts, numbers }: Counts, rows: number): Writable => ({
  texts: new Int32Array(2 * texts * rows).fill(-1),
  textCount: texts,
  numbers: new Float64Array(numbers * rows).fill(NaN),
  numberCount: numbers,
  others: [],
  rescued: new Map(),
});

/** Gives the index in {@link FieldOffsets.texts} of where a text of a row begins; the next is where it ends. */
export const placeOf = ({ textCount }: FieldOffsets, row: number, slot: number): number =>
  2 * (row * textCount + slot);

/** So many numbers tell where a member is. */
export const OTHER = 5;

const utf8 = new TextDecoder();

interface Latin1 {
  readonly latin1Slice: (this: Uint8Array, from: number, to: number) => string;
}

/** Node's and Deno's own way, many times as fast as a decoder. */
const latin1 = (globalThis as { readonly Buffer?: { readonly prototype: Latin1 } }).Buffer?.prototype
  .latin1Slice;

const plain: (bytes: Uint8Array, from: number, to: number) => string = latin1 === undefined
  ? (bytes, from, to) => utf8.decode(bytes.subarray(from, to))
  : (bytes, from, to) => latin1.call(bytes, from, to);

/** Gives the text from `from` to `end`, which is as {@link FieldOffsets.texts} has it. */
export const text = (bytes: Uint8Array, from: number, end: number): string =>
  end >= 0 ? plain(bytes, from, end) : JSON.parse(utf8.decode(bytes.subarray(from - 1, ~end + 1)));

/** Gives the fields of the rows from `from` up to `to`. */
export const slice = (fields: FieldOffsets, from: number, to: number): FieldOffsets => {
  const { texts, textCount, numbers, numberCount, others } = fields;
  return {
    ...fields,
    texts: texts.subarray(2 * textCount * from, 2 * textCount * to),
    numbers: numbers.subarray(numberCount * from, numberCount * to),
    others: others.slice(from, to),
    rescued: new Map(),
  };
};

/** Gives the fields of the rows at these indices, in their order. */
export const pick = (fields: FieldOffsets, indices: ReadonlyArray<number>): FieldOffsets => {
  const { textCount, numberCount } = fields;
  const texts = new Int32Array(2 * textCount * indices.length);
  const numbers = new Float64Array(numberCount * indices.length);
  const others = fields.others.length === 0 ? [] : indices.map((index) => fields.others[index]);
  indices.forEach((index, row) => {
    for (let i = 0; i < 2 * textCount; i++) {
      texts[2 * textCount * row + i] = fields.texts[2 * textCount * index + i]!;
    }
    for (let i = 0; i < numberCount; i++) {
      numbers[numberCount * row + i] = fields.numbers[numberCount * index + i]!;
    }
  });
  return { ...fields, texts, numbers, others, rescued: new Map() };
};

/** Gives the JSON text from `from` to `end`, likewise: that of a list, or of any value. */
export const json = (bytes: Uint8Array, from: number, end: number): string =>
  end >= 0 ? plain(bytes, from, end) : utf8.decode(bytes.subarray(from, ~end));

let viewed: Uint8Array = new Uint8Array(0);
let view = new DataView(viewed.buffer);
/** Views the same bytes, to be read four at a time. Those of a page are asked for many times in a row. */
const viewOf = (bytes: Uint8Array): DataView => {
  if (bytes !== viewed) {
    viewed = bytes;
    view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  return view;
};

/** Hashes by FNV-1a, of four bytes at a time as long as there are; of long texts, of some of them. */
const hash = (bytes: DataView, from: number, to: number): number => {
  let hash = 0x811c9dc5 ^ to - from;
  let at = from;
  const step = Math.max(1, to - from >> 5) * 4;
  for (; at <= to - 4; at += step) hash = Math.imul(hash ^ bytes.getInt32(at), 0x01000193) ^ hash >>> 15;
  for (; at < to; at++) hash = Math.imul(hash ^ bytes.getUint8(at), 0x01000193);
  return hash ^ hash >>> 15;
};

const isSame = (bytes: DataView, from: number, key: DataView): boolean => {
  let i = 0;
  for (; i <= key.byteLength - 4; i += 4) if (bytes.getInt32(from + i) !== key.getInt32(i)) return false;
  for (; i < key.byteLength; i++) if (bytes.getUint8(from + i) !== key.getUint8(i)) return false;
  return true;
};

/** Texts of more bytes than this are not remembered, so that what is held stays small. */
const LONGEST = 256;
/** The number of texts that it takes to see whether it pays to remember them. */
const TRIAL = 1024;

/**
 * Makes a function of a text in a page's bytes, as {@link text} reads it or {@link json}, which remembers: where the text
 * was met before, not even a string is made of it. Holds up to `2 ** bits` results, each in a place that its text decides
 * and another may take. Where most texts are new it stops for a while.
 */
export const memo = <A>(
  bits: number,
  work: (text: string) => A,
  read: typeof text = text,
): (bytes: Uint8Array, from: number, end: number) => A => {
  const mask = (1 << bits) - 1;
  const keys: Array<DataView | undefined> = Array.from({ length: mask + 1 });
  const results: Array<A | undefined> = Array.from({ length: mask + 1 });
  let [asked, met, pause] = [0, 0, 0];
  return (bytes, from, end) => {
    const to = end < 0 ? ~end : end;
    if (pause > 0 || to - from > LONGEST) {
      if (pause > 0) pause--;
      return work(read(bytes, from, end));
    }
    if (++asked === TRIAL) {
      if (2 * met < TRIAL) pause = 16 * TRIAL;
      [asked, met] = [0, 0];
    }
    const words = viewOf(bytes);
    const place = hash(words, from, to) & mask;
    const key = keys[place];
    if (key !== undefined && key.byteLength === to - from && isSame(words, from, key)) {
      met++;
      return results[place] as A;
    }
    const result = work(read(bytes, from, end));
    keys[place] = new DataView(new Uint8Array(bytes.subarray(from, to)).buffer);
    results[place] = result;
    return result;
  };
};

const powers = [1, 10, 100, 1e3, 1e4, 1e5, 1e6];

/**
 * Reads the number that a decimal number stands for, of up to nine digits and six behind the point; NaN where the text is
 * not written so. Both parts of the division are exact, so it is the number that `Number` makes of the text.
 */
export const decimal = (bytes: Uint8Array, from: number, end: number): number => {
  let at = from;
  const isNegative = bytes[at] === MINUS;
  if (isNegative) at++;
  const first = at;
  let digits = 0;
  let point = -1;
  for (; at < end; at++) {
    const digit = bytes[at]! - ZERO;
    if (digit >= 0 && digit <= 9) digits = digits * 10 + digit;
    else if (bytes[at] === POINT && point < 0) point = at;
    else return NaN;
  }
  const behind = point < 0 ? 0 : end - point - 1;
  const before = (point < 0 ? end : point) - first;
  if (before < 1 || before > 9 || behind > 6 || (point >= 0 && behind === 0)) return NaN;
  const number = digits / powers[behind]!;
  return isNegative && number !== 0 ? -number : number;
};
