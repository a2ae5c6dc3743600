/**
 * The rows of a page as they were served: where in its bytes each begins and ends. So a row can be passed on byte for byte,
 * and is made a text only where one is needed.
 *
 * @module
 */
import * as Fields from "./Fields.ts";
import { BACKSLASH, BEGIN, CLOSE, COMMA, CR, END, LF, OPEN, QUOTE, SPACE } from "./JsonBytes.ts";
import { onOneLine } from "./JsonText.ts";

/** Some rows, each the UTF-8 text of a JSON value without the white space around it. */
export interface JsonRows {
  readonly bytes: Uint8Array;
  /** Where each row begins, and where it has ended. */
  readonly from: ReadonlyArray<number>;
  readonly to: ReadonlyArray<number>;
  /** Whether no row holds a line break. */
  readonly areLines: boolean;
  /** Where the fields of each row lie, if they were looked for. */
  readonly fields?: Fields.Fields | undefined;
}

/** All that are made here, and no copy of one: {@link isMade}. */
class Rows implements JsonRows {
  readonly bytes: Uint8Array;
  readonly from: ReadonlyArray<number>;
  readonly to: ReadonlyArray<number>;
  readonly areLines: boolean;
  readonly fields: Fields.Fields | undefined;
  constructor({ bytes, from, to, areLines, fields }: JsonRows) {
    this.bytes = bytes;
    this.from = from;
    this.to = to;
    this.areLines = areLines;
    this.fields = fields;
  }
}

/** These rows. */
export const make = (rows: JsonRows): JsonRows => new Rows(rows);

/** Whether rows were made here: what has been cloned or written by hand may go with other values by now. */
export const isMade = (rows: JsonRows): boolean => rows instanceof Rows || rows instanceof Later;

/**
 * The elements of a JSON array. The bytes must be what `JSON.parse` has accepted as one: of others it makes parts that mean
 * nothing, or throws a `SyntaxError`.
 */
export const cut = (bytes: Uint8Array): JsonRows => {
  const from: Array<number> = [];
  const to: Array<number> = [];
  let areLines = true;
  let depth = 0;
  let at = bytes.indexOf(OPEN) + 1;
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
    } else if (byte === BEGIN || byte === OPEN) depth++;
    else if (byte === END || byte === CLOSE) {
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
  return new Rows({ bytes, from, to, areLines });
};

/** Limit of the values in a body: a fixed number, and one more for every 16 bytes. Honest rows have names and words in them. */
const [MOST_VALUES, VALUES_A_BYTE] = [1_000_000, 1 / 16];

/**
 * Tells whether bytes that may be a JSON array have more elements than that, or would take far more memory as values than they
 * do as bytes. A pass over them that makes nothing.
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
    } else if (byte === BEGIN || byte === OPEN) {
      depth++;
      if (++values > mostValues) return true;
    } else if (byte === END || byte === CLOSE) depth--;
    else if (byte === COMMA && (++values > mostValues || (depth === 1 && ++elements > most))) return true;
  }
  return false;
};

const utf8 = { encoder: new TextEncoder(), decoder: new TextDecoder() };

/** Rows from texts, each a JSON value. */
export const of = (texts: ReadonlyArray<string>): JsonRows => {
  const to: Array<number> = [];
  let length = 0;
  const rows = texts.map((text) => utf8.encoder.encode(text));
  for (const row of rows) to.push(length += row.length);
  const bytes = new Uint8Array(length);
  const from = to.map((end, index) => end - rows[index]!.length);
  rows.forEach((row, index) => bytes.set(row, from[index]));
  return new Rows({ bytes, from, to, areLines: !texts.some((text) => /[\r\n]/.test(text)) });
};

/**
 * The text of a row.
 *
 * @example
 * ```ts
 * import { JsonRows } from "monocloud-sessions";
 *
 * const rows = JsonRows.cut(new TextEncoder().encode('[{"id": 12345678901234567890}, {"id": 2}]'));
 * console.assert(JsonRows.text(rows, 0) === '{"id": 12345678901234567890}');
 * console.assert(JsonRows.pick(rows, [1]).from.length === 1);
 * ```
 */
export const text = ({ bytes, from, to }: JsonRows, index: number): string =>
  utf8.decoder.decode(bytes.subarray(from[index], to[index]));

/** The text of a row on one line: outside strings a line break is only white space, inside them JSON has none. */
export const line = (rows: JsonRows, index: number): string =>
  rows.areLines ? text(rows, index) : onOneLine(text(rows, index));

const isStretch = (indices: ReadonlyArray<number>): boolean => {
  for (let i = 1; i < indices.length; i++) if (indices[i] !== indices[0]! + i) return false;
  return true;
};

/** The rows at these indices, in their order. */
export const pick = (rows: JsonRows, indices: ReadonlyArray<number>): JsonRows => {
  const { bytes, from, to, areLines, fields } = rows;
  if (isStretch(indices)) {
    const [first = 0] = indices;
    const end = first + indices.length;
    if (indices.length === from.length) return rows;
    return new Rows({
      bytes,
      from: from.slice(first, end),
      to: to.slice(first, end),
      areLines,
      fields: fields && Fields.slice(fields, first, end),
    });
  }
  return new Rows({
    bytes,
    from: indices.map((index) => from[index]!),
    to: indices.map((index) => to[index]!),
    areLines,
    fields: fields && Fields.pick(fields, indices),
  });
};

class Later implements JsonRows {
  readonly #make: () => JsonRows;
  #made: JsonRows | undefined;
  constructor(make: () => JsonRows) {
    this.#make = make;
  }
  get #rows(): JsonRows {
    return (this.#made ??= this.#make());
  }
  get bytes(): Uint8Array {
    return this.#rows.bytes;
  }
  get from(): ReadonlyArray<number> {
    return this.#rows.from;
  }
  get to(): ReadonlyArray<number> {
    return this.#rows.to;
  }
  get areLines(): boolean {
    return this.#rows.areLines;
  }
}

/** Rows that are looked for only once somebody wants to know: few formats do. Their fields are not. */
export const later = (make: () => JsonRows): JsonRows => new Later(make);
