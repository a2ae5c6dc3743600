/**
 * The rows of a page as they lie in its bytes: where each begins and ends, and where its fields are. So a row can be passed
 * on byte for byte, and a value is made only of what somebody asks for.
 */
import * as FieldOffsets from "./FieldOffsets.ts";
import { onOneLine } from "./JsonMembers.ts";
import {
  BACKSLASH,
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COMMA,
  CR,
  LF,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  SPACE,
} from "./JsonTokens.ts";

/** Parts of some bytes, each the UTF-8 text of a JSON value without the white space around it. */
export interface Slices {
  readonly bytes: Uint8Array;
  /** The place where each begins, and the one where it has ended. */
  readonly from: ReadonlyArray<number>;
  readonly to: ReadonlyArray<number>;
  /** True if none of them holds a line break. */
  readonly areLines: boolean;
}

export interface RowSlices extends Slices {
  /** The places of the fields of each row, in the same bytes; of a row that is not of the schema, there are none. */
  readonly fields: FieldOffsets.FieldOffsets;
  /** The rows that have a member of a reserved name. */
  readonly reserved: ReadonlySet<number>;
}

/** Lays bytes end to end. */
export const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
};

/**
 * Cuts a JSON array into its elements. The bytes must be what `JSON.parse` has accepted as one: of others it makes parts
 * that mean nothing, or throws a `SyntaxError`.
 */
export const cut = (bytes: Uint8Array): Slices => {
  const from: Array<number> = [];
  const to: Array<number> = [];
  let areLines = true;
  let depth = 0;
  let at = bytes.indexOf(OPEN_BRACKET) + 1;
  let start = at;
  const take = (end: number) => {
    while (start < end && bytes[start]! <= SPACE) start++;
    while (end > start && bytes[end - 1]! <= SPACE) end--;
    if (start === end) return;
    from.push(start);
    to.push(end);
  };
  for (; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      for (at++; at < bytes.length && bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
      if (depth === 0) break;
      depth--;
    } else if (byte === COMMA) {
      if (depth > 0) continue;
      take(at);
      start = at + 1;
    } else if ((byte === LF || byte === CR) && depth > 0) areLines = false;
  }
  if (at >= bytes.length) throw new SyntaxError("JSON text ends before its array does");
  take(at);
  return { bytes, from, to, areLines };
};

/** Limit of the values in a body: a fixed number, and one more for every 16 bytes. Honest rows have names and words in them. */
const [MOST_VALUES, VALUES_A_BYTE] = [1_000_000, 1 / 16];

/**
 * Tells whether bytes that may be a JSON array have more elements than that, or would take far more memory as values than
 * they do as bytes. A pass over them that makes nothing.
 */
export const hasMore = (bytes: Uint8Array, most: number): boolean => {
  // An element takes two bytes at the least, and a value in it no less.
  const mostValues = MOST_VALUES + bytes.length * VALUES_A_BYTE;
  if (bytes.length < 2 * Math.min(most, mostValues)) return false;
  let depth = 0;
  let [elements, values] = [1, 0];
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      for (at++; at < bytes.length && bytes[at] !== QUOTE; at++) if (bytes[at] === BACKSLASH) at++;
    } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth++;
      if (++values > mostValues) return true;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--;
    else if (byte === COMMA && (++values > mostValues || (depth === 1 && ++elements > most))) return true;
  }
  return false;
};

/** The bytes of a row from which on it is looked over before it is parsed: as values it may take far more memory. */
const LARGE_ROW = 1 << 20;

/** Tells whether a row holds more values than may be parsed. */
export const isHuge = ({ bytes, from, to }: Slices, index: number): boolean =>
  to[index]! - from[index]! > LARGE_ROW && hasMore(bytes.subarray(from[index], to[index]), Infinity);

const utf8 = new TextDecoder();

export const text = ({ bytes, from, to }: Slices, index: number): string =>
  utf8.decode(bytes.subarray(from[index], to[index]));

/** Gives the text of a row on one line: outside strings a line break is only white space, inside them JSON has none. */
export const line = (rows: Slices, index: number): string =>
  rows.areLines ? text(rows, index) : onOneLine(text(rows, index));

const isStretch = (indices: ReadonlyArray<number>): boolean => {
  for (let i = 1; i < indices.length; i++) if (indices[i] !== indices[0]! + i) return false;
  return true;
};

const none: ReadonlySet<number> = new Set();

export const pick = (rows: RowSlices, indices: ReadonlyArray<number>): RowSlices => {
  const { bytes, from, to, areLines, fields } = rows;
  const reserved = rows.reserved.size === 0
    ? none
    : new Set(indices.flatMap((index, row) => rows.reserved.has(index) ? [row] : []));
  if (isStretch(indices)) {
    const [first = 0] = indices;
    const end = first + indices.length;
    if (indices.length === from.length) return rows;
    return {
      bytes,
      from: from.slice(first, end),
      to: to.slice(first, end),
      areLines,
      fields: FieldOffsets.slice(fields, first, end),
      reserved,
    };
  }
  return {
    bytes,
    from: indices.map((index) => from[index]!),
    to: indices.map((index) => to[index]!),
    areLines,
    fields: FieldOffsets.pick(fields, indices),
    reserved,
  };
};
