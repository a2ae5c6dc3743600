/**
 * Rows told apart and checked from a page's bytes in one go, by a scanner derived from their schema: of rows that are written
 * as nearly all are no value is made, and whoever wants a field takes it from the bytes.
 *
 * @module
 */
import type * as Schema from "effect/Schema";
import * as Fields from "./Fields.ts";
import {
  BEGIN,
  CLOSE,
  COLON,
  COMMA,
  CR,
  END,
  LF,
  number,
  OPEN,
  QUOTE,
  SPACE,
  string,
  TAB,
  word,
  ZERO,
} from "./JsonBytes.ts";
import * as JsonRows from "./JsonRows.ts";
import * as ScanShape from "./ScanShape.ts";

const N = 0x6e;

/** No digit is lost of whole numbers of so many. */
const DIGITS = 15;

/** Whether the bytes from `at` on are these, which are four or more. */
const begins = (words: DataView, at: number, { length, words: its }: ScanShape.Name): boolean => {
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

class Scanner {
  bytes: Uint8Array = nothing;
  words: DataView = nothingInWords;
  row = 0;
  /** Where the page's own begin in what it shares with earlier ones. */
  textsAt = 0;
  numbersAt = 0;
  texts = new Int32Array(0);
  numbers = new Float64Array(0);
  areLines = true;
  /** Whether what was passed over is ASCII without escapes. */
  isPlain = true;
  /** Of the row: {@link Fields.Fields.others}. */
  others: Array<number> | undefined;

  readonly shape: ScanShape.Shape;
  readonly counts: ScanShape.Counts;

  constructor(shape: ScanShape.Shape, counts: ScanShape.Counts) {
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
      case BEGIN:
        return depth < DEEPEST ? this.passAll(from, END, depth) : -1;
      case OPEN:
        return depth < DEEPEST ? this.passAll(from, CLOSE, depth) : -1;
      default: {
        const end = number(bytes, from);
        return end === -1 ? word(bytes, from) : end;
      }
    }
  }

  /** The same of an object or a list, which ends with `close`. */
  passAll(from: number, close: typeof END | typeof CLOSE, depth: number): number {
    const { bytes } = this;
    let at = this.space(from + 1);
    if (bytes[at] === close) return at + 1;
    for (;;) {
      if (close === END) {
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
  other({ names, slot }: ScanShape.Shape, at: number): number {
    const { bytes } = this;
    const end = string(bytes, this.words, at);
    // What a name with an escape is, and whether it is there twice, others have to say.
    if (end < 0) return -1;
    const name = Fields.text(bytes, at, end);
    if (names.has(name)) return -1;
    const others = (this.others ??= []);
    if (others.length === MOST_OTHERS * Fields.OTHER) return -1;
    for (let i = 0; i < others.length; i += Fields.OTHER) {
      if (others[i] === slot && Fields.text(bytes, others[i + 1]!, others[i + 2]!) === name) return -1;
    }
    const colon = this.space(end + 1);
    if (bytes[colon] !== COLON) return -1;
    const from = this.space(colon + 1);
    this.isPlain = true;
    const to = this.pass(from, 0);
    if (to !== -1) others.push(slot, at, end, from, this.isPlain ? to : ~to);
    return to;
  }

  text(field: ScanShape.Field, at: number): number {
    const end = string(this.bytes, this.words, at + 1);
    if (end === -1) return -1;
    const slot = this.textsAt + 2 * (this.row * this.counts.texts + field.slot);
    this.texts[slot] = at + 1;
    this.texts[slot + 1] = end;
    const last = end < 0 ? ~end : end;
    return last > at + 1 || field.mayBeEmpty ? last + 1 : -1;
  }

  number(field: ScanShape.Field, from: number): number {
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
      after !== COMMA && after !== END && after !== SPACE && after !== LF && after !== CR && after !== TAB
    ) {
      return -1;
    }
    if (field.accepts !== undefined && !field.accepts(value)) return -1;
    this.numbers[this.numbersAt + this.row * this.counts.numbers + field.slot] = value;
    return at;
  }

  list(field: ScanShape.Field, from: number): number {
    const { bytes } = this;
    let at = this.space(from + 1);
    let isPlain = true;
    if (bytes[at] === CLOSE) at++;
    else {
      for (;;) {
        if (bytes[at] !== QUOTE) return -1;
        const end = string(bytes, this.words, at + 1);
        if (end === -1) return -1;
        if (end < 0) isPlain = false;
        at = this.space((end < 0 ? ~end : end) + 1);
        const after = bytes[at++];
        if (after === CLOSE) break;
        if (after !== COMMA) return -1;
        at = this.space(at);
      }
    }
    const slot = this.textsAt + 2 * (this.row * this.counts.texts + field.slot);
    this.texts[slot] = from;
    this.texts[slot + 1] = isPlain ? at : ~at;
    return at;
  }

  value(field: ScanShape.Field, at: number): number {
    const byte = this.bytes[at];
    if (byte === N) return field.nullable ? word(this.bytes, at) : -1;
    switch (field.kind) {
      case ScanShape.TEXT:
        return byte === QUOTE ? this.text(field, at) : -1;
      case ScanShape.NUMBER:
        return this.number(field, at);
      case ScanShape.TEXTS:
        return byte === OPEN ? this.list(field, at) : -1;
      case ScanShape.OBJECT:
        return byte === BEGIN ? this.object(field.inside!, at) : -1;
    }
  }

  object(shape: ScanShape.Shape, from: number): number {
    const { bytes, words } = this;
    const { fields, required, next } = shape;
    let seen = 0;
    let last = 0;
    let at = this.space(from + 1);
    if (bytes[at] === END) return required === 0 ? at + 1 : -1;
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
      if (after === END) return (seen & required) === required ? at : -1;
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

  scan(bytes: Uint8Array, most: number): Scanned | "more" | undefined {
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

  rows(most: number): Scanned | "more" | undefined {
    const { bytes } = this;
    const from: Array<number> = [];
    const to: Array<number> = [];
    const odd: Array<number> = [];
    const others: Array<ReadonlyArray<number> | undefined> = [];
    let areLines = true;
    let at = this.space(0);
    if (bytes[at] !== OPEN) return undefined;
    at = this.space(at + 1);
    if (bytes[at] === CLOSE) at++;
    else {
      for (;;) {
        if (this.row === most) return "more";
        this.grow();
        this.areLines = areLines;
        from.push(at);
        let end = bytes[at] === BEGIN ? this.object(this.shape, at) : -1;
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
        if (after === CLOSE) break;
        if (after !== COMMA) return undefined;
        at = this.space(at);
      }
    }
    if (this.space(at) < bytes.length) return undefined;
    const { texts, numbers } = this.counts;
    const { textsAt, numbersAt } = this;
    this.textsAt += 2 * texts * this.row;
    this.numbersAt += numbers * this.row;
    const fields: Fields.Fields = {
      texts: this.texts.subarray(textsAt, this.textsAt),
      textCount: texts,
      numbers: this.numbers.subarray(numbersAt, this.numbersAt),
      numberCount: numbers,
      others,
      rescued: new Map(),
    };
    return { rows: JsonRows.make({ bytes, from, to, areLines, fields }), odd };
  }
}

/** What a scan has found. */
export interface Scanned {
  /** The rows, with their fields but for those that are odd. */
  readonly rows: JsonRows.JsonRows;
  /**
   * The rows that are no values of the schema, or not written as most are: with fractions, with a field twice. `JSON.parse`
   * and the schema have to say what they are.
   */
  readonly odd: ReadonlyArray<number>;
}

/** A scanner of pages, and the places of fields in what it finds. */
export interface Scan {
  /** The rows of a page. Undefined where it is no list in JSON, or may be none; `"more"` if there are more than that. */
  readonly scan: {
    (bytes: Uint8Array): Scanned | undefined;
    (bytes: Uint8Array, most: number): Scanned | "more" | undefined;
  };
  /**
   * The place of a field among those of its kind in a row, by the names that lead to it: `last_metadata.country`. Throws a
   * TypeError if there is no such field.
   */
  readonly place: (kind: "texts" | "numbers" | "objects", path: string) => number;
}

/**
 * The scanner of rows of that schema: a struct of texts, numbers, lists of texts and such structs, any of which may be absent
 * or null. Numbers may be refined, and texts to such as are not empty. Throws a TypeError for any other.
 *
 * It accepts no bytes but such as are UTF-8 and JSON, and finds fields in values of the schema alone. Members that the schema
 * does not know it passes over, and says where they are; a row with one of the names that are `reserved` is odd.
 */
export const of = (schema: Schema.Schema.AnyNoContext, reserved: ReadonlyArray<string> = []): Scan => {
  const counts: ScanShape.Counts = { texts: 0, numbers: 0, objects: 0 };
  const shape = ScanShape.of(schema.ast, counts, reserved);
  const scanner = new Scanner(shape, counts);
  return {
    scan: ((bytes: Uint8Array, most: number = Infinity) => scanner.scan(bytes, most)) as Scan["scan"],
    place: (kind, path) => {
      let [fields, field] = [shape.fields, undefined as ScanShape.Field | undefined];
      for (const name of path.split(".")) {
        field = fields.find((field) => field.name.text === name);
        fields = field?.inside?.fields ?? [];
      }
      const isNumber = field?.kind === ScanShape.NUMBER;
      const slot = kind === "objects"
        ? field?.inside?.slot
        : isNumber === (kind === "numbers")
        ? field?.slot
        : -1;
      if (slot === undefined || slot < 0) throw new TypeError(`No field ${path} has a place among ${kind}`);
      return slot;
    },
  };
};
