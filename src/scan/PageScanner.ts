/**
 * FOR SPEED ALONE: rows told apart and checked from a page's bytes in one go, by a scanner derived from their schema. No
 * value is made of a row that is written as nearly all are; whoever wants a field takes it from the bytes. An export takes a
 * third of the time that it takes with `JSON.parse`. `reference.ts` says the same plainly.
 */
import type * as Schema from "effect/Schema";
import * as FieldOffsets from "./FieldOffsets.ts";
import {
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COLON,
  COMMA,
  CR,
  LF,
  number,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
  SPACE,
  string,
  TAB,
  word,
  ZERO,
} from "./JsonTokens.ts";
import * as reference from "./reference.ts";
import type { Accepts, Scanned } from "./reference.ts";

import type * as RowSlices from "./RowSlices.ts";
import * as ScanPlan from "./ScanPlan.ts";

const N = 0x6e;

/** No digit is lost of whole numbers of so many. */
const DIGITS = 15;

/** Tells whether the bytes from `at` on are these, which are four or more. */
const begins = (words: DataView, at: number, { length, words: its }: ScanPlan.Name): boolean => {
  const last = at + length - 4;
  if (last + 4 > words.byteLength) return false;
  for (let i = 0, from = at; from < last; i++, from += 4) {
    if (words.getInt32(from, true) !== its[i]) return false;
  }
  return words.getInt32(last, true) === its[its.length - 1];
};

/** Values within values, at most so many deep, are passed over: of more the stack might not hold. */
const DEEPEST = 64;

/** A row with more members that are not known is odd: each is compared with those before it. */
const MOST_OTHERS = 32;

/** Rows that there is room for at least where a stretch is begun: small pages share one. */
const LEAST_ROWS = 1024;

const nothing = new Uint8Array(0);
const nothingInWords = new DataView(nothing.buffer);

interface Found {
  readonly rows: RowSlices.RowSlices & { readonly fields: FieldOffsets.Writable };
  /** Rows that are not of the schema, or not written as most are: with fractions, with a field twice. */
  readonly odd: ReadonlyArray<number>;
}

const none: ReadonlySet<number> = new Set();

class Scanner {
  bytes: Uint8Array = nothing;
  words: DataView = nothingInWords;
  row = 0;
  /** The beginning of the page's own in what it shares with earlier ones. */
  textsAt = 0;
  numbersAt = 0;
  texts = new Int32Array(0);
  numbers = new Float64Array(0);
  areLines = true;
  /** True if what was passed over is ASCII without escapes. */
  isPlain = true;
  /** Others of the row: {@link FieldOffsets.FieldOffsets.others}. */
  others: Array<number> | undefined;

  readonly shape: ScanPlan.Shape;
  readonly counts: FieldOffsets.Counts;

  constructor(shape: ScanPlan.Shape, counts: FieldOffsets.Counts) {
    this.shape = shape;
    this.counts = counts;
  }

  /** Past white space, which it takes note of where it breaks a line. */
  space(from: number): number {
    let at = from;
    for (let byte = this.bytes[at];; byte = this.bytes[++at]) {
      if (byte === LF || byte === CR) this.areLines = false;
      else if (byte !== SPACE && byte !== TAB) return at;
    }
  }

  /** Past whatever value begins at `from`; -1 if it is none. */
  pass(from: number, depth: number): number {
    const { bytes } = this;
    switch (bytes[from]) {
      case QUOTE: {
        const end = string(bytes, this.words, from + 1);
        if (end === -1) return -1;
        if (end >= 0) return end + 1;
        this.isPlain = false;
        return ~end + 1;
      }
      case OPEN_BRACE:
        return depth < DEEPEST ? this.passAll(from, CLOSE_BRACE, depth) : -1;
      case OPEN_BRACKET:
        return depth < DEEPEST ? this.passAll(from, CLOSE_BRACKET, depth) : -1;
      default: {
        const end = number(bytes, from);
        return end === -1 ? word(bytes, from) : end;
      }
    }
  }

  /** Pass over an object or a list, which ends with `close`. */
  passAll(from: number, close: typeof CLOSE_BRACE | typeof CLOSE_BRACKET, depth: number): number {
    const { bytes } = this;
    let at = this.space(from + 1);
    if (bytes[at] === close) return at + 1;
    for (;;) {
      if (close === CLOSE_BRACE) {
        if (bytes[at] !== QUOTE) return -1;
        at = this.pass(at, depth);
        if (at === -1) return -1;
        at = this.space(at);
        if (bytes[at++] !== COLON) return -1;
        at = this.space(at);
      }
      at = this.pass(at, depth + 1);
      if (at === -1) return -1;
      at = this.space(at);
      const after = bytes[at++];
      if (after === close) return at;
      if (after !== COMMA) return -1;
      at = this.space(at);
    }
  }

  /** Past a member of another name than is known, whose first quote is before `at`. Takes note of it. */
  other({ names, slot }: ScanPlan.Shape, at: number): number {
    const { bytes } = this;
    const end = string(bytes, this.words, at);
    // What a name with an escape is, and whether it is there twice, others have to say.
    if (end < 0) return -1;
    const name = FieldOffsets.text(bytes, at, end);
    if (names.has(name)) return -1;
    const others = (this.others ??= []);
    if (others.length === MOST_OTHERS * FieldOffsets.OTHER) return -1;
    for (let i = 0; i < others.length; i += FieldOffsets.OTHER) {
      if (others[i] === slot && FieldOffsets.text(bytes, others[i + 1]!, others[i + 2]!) === name) return -1;
    }
    const colon = this.space(end + 1);
    if (bytes[colon] !== COLON) return -1;
    const from = this.space(colon + 1);
    this.isPlain = true;
    const to = this.pass(from, 0);
    if (to !== -1) others.push(slot, at, end, from, this.isPlain ? to : ~to);
    return to;
  }

  text(field: ScanPlan.Field, at: number): number {
    const end = string(this.bytes, this.words, at + 1);
    if (end === -1) return -1;
    const slot = this.textsAt + 2 * (this.row * this.counts.texts + field.slot);
    this.texts[slot] = at + 1;
    this.texts[slot + 1] = end;
    const last = end < 0 ? ~end : end;
    return last > at + 1 || field.mayBeEmpty ? last + 1 : -1;
  }

  number(field: ScanPlan.Field, from: number): number {
    const { bytes } = this;
    let value = 0;
    let at = from;
    for (; at < from + DIGITS; at++) {
      const digit = bytes[at]! - ZERO;
      if (!(digit >= 0 && digit <= 9)) break;
      value = value * 10 + digit;
    }
    if (at === from || (bytes[from] === ZERO && at > from + 1)) return -1;
    // A fraction or an exponent, or more digits, are not looked into.
    const after = bytes[at]!;
    if (
      after !== COMMA && after !== CLOSE_BRACE && after !== SPACE && after !== LF && after !== CR &&
      after !== TAB
    ) {
      return -1;
    }
    if (field.accepts !== undefined && !field.accepts(value)) return -1;
    this.numbers[this.numbersAt + this.row * this.counts.numbers + field.slot] = value;
    return at;
  }

  list(field: ScanPlan.Field, from: number): number {
    const { bytes } = this;
    let at = this.space(from + 1);
    let isPlain = true;
    if (bytes[at] === CLOSE_BRACKET) at++;
    else {
      for (;;) {
        if (bytes[at] !== QUOTE) return -1;
        const end = string(bytes, this.words, at + 1);
        if (end === -1) return -1;
        if (end < 0) isPlain = false;
        at = this.space((end < 0 ? ~end : end) + 1);
        const after = bytes[at++];
        if (after === CLOSE_BRACKET) break;
        if (after !== COMMA) return -1;
        at = this.space(at);
      }
    }
    const slot = this.textsAt + 2 * (this.row * this.counts.texts + field.slot);
    this.texts[slot] = from;
    this.texts[slot + 1] = isPlain ? at : ~at;
    return at;
  }

  value(field: ScanPlan.Field, at: number): number {
    const byte = this.bytes[at];
    if (byte === N) return field.nullable ? word(this.bytes, at) : -1;
    switch (field.kind) {
      case ScanPlan.TEXT:
        return byte === QUOTE ? this.text(field, at) : -1;
      case ScanPlan.NUMBER:
        return this.number(field, at);
      case ScanPlan.TEXTS:
        return byte === OPEN_BRACKET ? this.list(field, at) : -1;
      case ScanPlan.OBJECT:
        return byte === OPEN_BRACE ? this.object(field.inside!, at) : -1;
    }
  }

  object(shape: ScanPlan.Shape, from: number): number {
    const { bytes, words } = this;
    const { fields, required, next } = shape;
    let seen = 0;
    let last = 0;
    let at = this.space(from + 1);
    if (bytes[at] === CLOSE_BRACE) return required === 0 ? at + 1 : -1;
    for (;;) {
      if (bytes[at++] !== QUOTE) return -1;
      let index = next[last]!;
      if (!begins(words, at, fields[index]!.name)) {
        index = fields.findIndex(({ name }) => begins(words, at, name));
        if (index !== -1) next[last] = index;
      }
      if (index === -1) at = this.other(shape, at);
      else {
        const field = fields[index]!;
        if ((seen & (1 << index)) !== 0) return -1;
        seen |= 1 << index;
        last = index + 1;
        at = this.value(field, this.space(at + field.name.length));
      }
      if (at === -1) return -1;
      at = this.space(at);
      const after = bytes[at++];
      if (after === CLOSE_BRACE) return (seen & required) === required ? at : -1;
      if (after !== COMMA) return -1;
      at = this.space(at);
    }
  }

  /** Room for one more row, none of whose fields is there yet. */
  grow(): void {
    const texts = 2 * this.counts.texts;
    const { numbers } = this.counts;
    const textsEnd = this.textsAt + this.row * texts;
    const numbersEnd = this.numbersAt + this.row * numbers;
    this.others = undefined;
    if (textsEnd + texts <= this.texts.length && numbersEnd + numbers <= this.numbers.length) return;
    // What is begun goes on in a new stretch; what lies before it belongs to earlier pages.
    const rows = Math.max(LEAST_ROWS, 2 * this.row);
    const [oldTexts, oldNumbers] = [this.texts, this.numbers];
    this.texts = new Int32Array(rows * texts).fill(-1);
    this.texts.set(oldTexts.subarray(this.textsAt, textsEnd));
    this.numbers = new Float64Array(rows * numbers).fill(NaN);
    this.numbers.set(oldNumbers.subarray(this.numbersAt, numbersEnd));
    [this.textsAt, this.numbersAt] = [0, 0];
  }

  /** Makes the rows from `from` up to the one under way such of which no field is there. */
  clear(from: number): void {
    const [texts, numbers] = [2 * this.counts.texts, this.counts.numbers];
    const end = this.row + 1;
    this.texts.fill(-1, this.textsAt + from * texts, this.textsAt + end * texts);
    this.numbers.fill(NaN, this.numbersAt + from * numbers, this.numbersAt + end * numbers);
    this.others = undefined;
  }

  scan(bytes: Uint8Array, most: number): Found | "more" | undefined {
    this.bytes = bytes;
    this.words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.row = 0;
    const rows = this.rows(most);
    // The room is the next page's.
    if (rows === undefined || rows === "more") this.clear(0);
    this.bytes = nothing;
    this.words = nothingInWords;
    return rows;
  }

  rows(most: number): Found | "more" | undefined {
    const { bytes } = this;
    const from: Array<number> = [];
    const to: Array<number> = [];
    const odd: Array<number> = [];
    const others: Array<Array<number> | undefined> = [];
    let areLines = true;
    let at = this.space(0);
    if (bytes[at] !== OPEN_BRACKET) return undefined;
    at = this.space(at + 1);
    if (bytes[at] === CLOSE_BRACKET) at++;
    else {
      for (;;) {
        if (this.row === most) return "more";
        this.grow();
        this.areLines = areLines;
        from.push(at);
        let end = bytes[at] === OPEN_BRACE ? this.object(this.shape, at) : -1;
        if (end === -1) {
          this.clear(this.row);
          end = this.pass(at, 0);
          if (end === -1) return undefined;
          odd.push(this.row);
        }
        if (this.others !== undefined) others[this.row] = this.others;
        areLines = this.areLines;
        to.push(at = end);
        this.row++;
        at = this.space(at);
        const after = bytes[at++];
        if (after === CLOSE_BRACKET) break;
        if (after !== COMMA) return undefined;
        at = this.space(at);
      }
    }
    if (this.space(at) < bytes.length) return undefined;
    const { texts, numbers } = this.counts;
    const { textsAt, numbersAt } = this;
    this.textsAt += 2 * texts * this.row;
    this.numbersAt += numbers * this.row;
    const fields: FieldOffsets.Writable = {
      texts: this.texts.subarray(textsAt, this.textsAt),
      textCount: texts,
      numbers: this.numbers.subarray(numbersAt, this.numbersAt),
      numberCount: numbers,
      others,
      rescued: new Map(),
    };
    return { rows: { bytes, from, to, areLines, fields, reserved: none }, odd };
  }
}

export type { Accepts, Scanned } from "./reference.ts";

export interface ScanOptions {
  /** Names that are no field's, and that somebody has to look at: rows that have one are told. @default {[]} */
  readonly reserved?: ReadonlyArray<string> | undefined;
  /** Tells whether a row is of the schema. */
  readonly accepts: Accepts;
}

/**
 * Makes the scanner of rows of that schema: a struct of texts, numbers, lists of texts and such structs, any of which may be
 * absent or null. Numbers may be refined, and texts to such as are not empty. Throws a TypeError for any other.
 */
export const make = (
  schema: Schema.Schema.AnyNoContext,
  { reserved = [], accepts }: ScanOptions,
) => {
  const plan = ScanPlan.of(schema, reserved);
  const scanner = new Scanner(plan.shape, plan.counts);
  /**
   * Gives the rows of a page. Undefined where it is JSON but no array; `"more"` if there are more rows than that, or far more
   * values than such rows have.
   *
   * @throws {SyntaxError} where it is not JSON, and a `TypeError` where it is not UTF-8.
   */
  const scan = (bytes: Uint8Array, most = Infinity): Scanned | "more" | undefined => {
    const found = scanner.scan(bytes, most);
    if (found === undefined) return reference.scan(plan, accepts, bytes, most);
    if (found === "more") return found;
    const { rows, odd } = found;
    return odd.length === 0
      ? { slices: rows, invalid: odd }
      : reference.readRows(plan, accepts, rows, rows.fields, odd);
  };
  /** As {@link ScanPlan.placeOf}. */
  const place = (kind: "texts" | "numbers" | "objects", path: string): number =>
    ScanPlan.placeOf(plan, kind, path);
  return { scan, place };
};
