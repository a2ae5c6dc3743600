/**
 * Rows told apart and checked from a page's bytes in one go, by a scanner derived from their schema: where every row is
 * written as nearly all are, no value is made of any, and whoever wants a field takes it from the bytes.
 *
 * @module
 */
import type * as Schema from "effect/Schema";
import type * as AST from "effect/SchemaAST";
import * as Guard from "./Guard.ts";
import * as Fields from "./Fields.ts";
import type { JsonRows } from "./JsonRows.ts";

/** A field's name with its last quote and the colon after it, also four bytes at a time, the last four at the end. */
interface Name {
  readonly text: string;
  readonly length: number;
  readonly words: Int32Array;
}

/** What is written for a field. */
const TEXT = 0, NUMBER = 1, TEXTS = 2, OBJECT = 3;

interface Field {
  readonly name: Name;
  readonly kind: typeof TEXT | typeof NUMBER | typeof TEXTS | typeof OBJECT;
  readonly nullable: boolean;
  /** The place of its value among those of its kind in a row. */
  readonly slot: number;
  /** What the schema asks beyond the kind; the place of such a text among its like. */
  readonly accepts: ((value: unknown) => boolean) | undefined;
  readonly checkedSlot: number;
  readonly inside: Shape | undefined;
}

interface Shape {
  readonly fields: ReadonlyArray<Field>;
  /** A bit for each field that must be there. */
  readonly required: number;
  /** The field that came after each one the last time, and in place 0 the first: rows are written alike. */
  readonly next: Uint8Array;
}

interface Counts {
  texts: number;
  numbers: number;
  checked: number;
}

const QUOTE = 0x22, COMMA = 0x2c, OPEN = 0x5b, BACKSLASH = 0x5c, CLOSE = 0x5d, BEGIN = 0x7b, END = 0x7d;
const TAB = 0x09, LF = 0x0a, CR = 0x0d, SPACE = 0x20, ZERO = 0x30, NINE = 0x39;
/** `ull`, after the n. */
const ULL = [0x75, 0x6c, 0x6c] as const;

/** No digit is lost of whole numbers of so many. */
const DIGITS = 15;

/** What a byte means within a string: 0 nothing, 1 its end, 2 an escape, 3 an error, 4 the beginning of several. */
const inString = Uint8Array.from(
  { length: 256 },
  (_, byte) => byte === QUOTE ? 1 : byte === BACKSLASH ? 2 : byte < 0x20 ? 3 : byte < 0x80 ? 0 : 4,
);

const isHex = (byte: number | undefined): boolean =>
  byte !== undefined && (byte >= ZERO && byte <= NINE || (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66);

/** Past the escape whose backslash is at `at`; -1 if it is none. */
const escape = (bytes: Uint8Array, at: number): number => {
  switch (bytes[at + 1]) {
    case QUOTE:
    case BACKSLASH:
    case 0x2f:
    case 0x62:
    case 0x66:
    case 0x6e:
    case 0x72:
    case 0x74:
      return at + 2;
    case 0x75:
      for (let i = at + 2; i < at + 6; i++) if (!isHex(bytes[i])) return -1;
      return at + 6;
    default:
      return -1;
  }
};

/** Past the character of several bytes at `at`; -1 if it is none by UTF-8. */
const character = (bytes: Uint8Array, at: number): number => {
  const [lead = 0, second = 0] = [bytes[at], bytes[at + 1]];
  const length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length === 0) return -1;
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < least || second > most) return -1;
  for (let i = at + 2; i < at + length; i++) if (((bytes[i] ?? 0) & 0xc0) !== 0x80) return -1;
  return at + length;
};

/**
 * The end of the string that begins at `at`, past its first quote: where its last quote is, or the complement of that if
 * its text is not simply its bytes, each a character. -1 if it is no string.
 */
const string = (bytes: Uint8Array, words: DataView, from: number): number => {
  let isPlain = true;
  const last = bytes.length - 4;
  for (let at = from; at < bytes.length;) {
    // Four bytes at once, as long as none of them means anything.
    for (; at <= last; at += 4) {
      const four = words.getInt32(at, true);
      const quote = four ^ 0x22222222;
      const backslash = four ^ 0x5c5c5c5c;
      const found = (four - 0x20202020 | quote - 0x01010101 | backslash - 0x01010101 | four) & 0x80808080;
      if (found === 0) continue;
      at += 31 - Math.clz32(found & -found) >> 3;
      break;
    }
    const means = inString[bytes[at]!];
    if (means === 0) at++;
    else if (means === 1) return isPlain ? at : ~at;
    else {
      isPlain = false;
      at = means === 2 ? escape(bytes, at) : means === 4 ? character(bytes, at) : -1;
      if (at === -1) return -1;
    }
  }
  return -1;
};

/** Whether the bytes from `at` on are these, which are four or more. */
const begins = (words: DataView, at: number, { length, words: its }: Name): boolean => {
  const last = at + length - 4;
  if (last + 4 > words.byteLength) return false;
  for (let i = 0, from = at; from < last; i++, from += 4) {
    if (words.getInt32(from, true) !== its[i]) return false;
  }
  return words.getInt32(last, true) === its[its.length - 1];
};

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
  checked: Array<string> = [];

  readonly shape: Shape;
  readonly counts: Counts;

  constructor(shape: Shape, counts: Counts) {
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

  null(at: number): number {
    const { bytes } = this;
    return bytes[at + 1] === ULL[0] && bytes[at + 2] === ULL[1] && bytes[at + 3] === ULL[2] ? at + 4 : -1;
  }

  text(field: Field, at: number): number {
    const end = string(this.bytes, this.words, at + 1);
    if (end === -1) return -1;
    const slot = this.textsAt + 2 * (this.row * this.counts.texts + field.slot);
    this.texts[slot] = at + 1;
    this.texts[slot + 1] = end;
    if (field.accepts !== undefined) {
      const text = Fields.text(this.bytes, at + 1, end);
      if (!field.accepts(text)) return -1;
      this.checked[this.row * this.counts.checked + field.checkedSlot] = text;
    }
    return (end < 0 ? ~end : end) + 1;
  }

  number(field: Field, from: number): number {
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

  list(field: Field, from: number): number {
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

  value(field: Field, at: number): number {
    const byte = this.bytes[at];
    if (byte === 0x6e) return field.nullable ? this.null(at) : -1;
    switch (field.kind) {
      case TEXT:
        return byte === QUOTE ? this.text(field, at) : -1;
      case NUMBER:
        return this.number(field, at);
      case TEXTS:
        return byte === OPEN ? this.list(field, at) : -1;
      case OBJECT:
        return byte === BEGIN ? this.object(field.inside!, at) : -1;
    }
  }

  object({ fields, required, next }: Shape, from: number): number {
    const { bytes, words } = this;
    let seen = 0;
    let last = 0;
    let at = this.space(from + 1);
    if (bytes[at] === END) return required === 0 ? at + 1 : -1;
    for (;;) {
      if (bytes[at++] !== QUOTE) return -1;
      let index = next[last]!;
      if (!begins(words, at, fields[index]!.name)) {
        index = fields.findIndex(({ name }) => begins(words, at, name));
        if (index === -1) return -1;
        next[last] = index;
      }
      const field = fields[index]!;
      if ((seen & (1 << index)) !== 0) return -1;
      seen |= 1 << index;
      last = index + 1;
      at = this.value(field, this.space(at + field.name.length));
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
    const [texts, numbers] = [2 * this.counts.texts, this.counts.numbers];
    const used = [this.textsAt + this.row * texts, this.numbersAt + this.row * numbers] as const;
    if (used[0] + texts > this.texts.length || used[1] + numbers > this.numbers.length) {
      // What is begun goes on in a new stretch; what lies before it belongs to earlier pages.
      const rows = Math.max(LEAST_ROWS, 2 * this.row);
      const [oldTexts, oldNumbers] = [this.texts, this.numbers];
      this.texts = new Int32Array(rows * texts);
      this.texts.set(oldTexts.subarray(this.textsAt, used[0]));
      this.numbers = new Float64Array(rows * numbers);
      this.numbers.set(oldNumbers.subarray(this.numbersAt, used[1]));
      [this.textsAt, this.numbersAt] = [0, 0];
    }
    const [at, numbersAt] = [this.textsAt + this.row * texts, this.numbersAt + this.row * numbers];
    for (let i = at; i < at + texts; i++) this.texts[i] = -1;
    for (let i = numbersAt; i < numbersAt + numbers; i++) this.numbers[i] = NaN;
  }

  scan(bytes: Uint8Array): JsonRows | undefined {
    this.bytes = bytes;
    this.words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.row = 0;
    this.checked = [];
    const rows = this.rows();
    this.bytes = nothing;
    this.words = nothingInWords;
    return rows;
  }

  rows(): JsonRows | undefined {
    const { bytes } = this;
    const from: Array<number> = [];
    const to: Array<number> = [];
    let areLines = true;
    let at = this.space(0);
    if (bytes[at] !== OPEN) return undefined;
    at = this.space(at + 1);
    if (bytes[at] === CLOSE) at++;
    else {
      for (;;) {
        if (bytes[at] !== BEGIN) return undefined;
        this.grow();
        this.areLines = areLines;
        from.push(at);
        at = this.object(this.shape, at);
        if (at === -1) return undefined;
        areLines = this.areLines;
        to.push(at);
        this.row++;
        at = this.space(at);
        const after = bytes[at++];
        if (after === CLOSE) break;
        if (after !== COMMA) return undefined;
        at = this.space(at);
      }
    }
    if (this.space(at) < bytes.length) return undefined;
    const { texts, numbers, checked } = this.counts;
    const { textsAt, numbersAt } = this;
    this.textsAt += 2 * texts * this.row;
    this.numbersAt += numbers * this.row;
    const fields: Fields.Fields = {
      texts: this.texts.subarray(textsAt, this.textsAt),
      textCount: texts,
      numbers: this.numbers.subarray(numbersAt, this.numbersAt),
      numberCount: numbers,
      checked: this.checked,
      checkedCount: checked,
    };
    this.checked = [];
    return { bytes, from, to, areLines, fields };
  }
}

const nameOf = (name: string): Name => {
  const bytes = new TextEncoder().encode(`${name}":`);
  const words = new Int32Array(Math.ceil(bytes.length / 4));
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < words.length; i++) words[i] = view.getInt32(Math.min(4 * i, bytes.length - 4), true);
  return { text: name, length: bytes.length, words };
};

const unsupported = (ast: AST.AST): never => {
  throw new TypeError(
    `Cannot derive a scanner as the schema must be made of structs, texts, numbers and lists of texts: it holds a ${ast._tag}`,
  );
};

/** What a field may be: of a union all it is of. */
const members = (ast: AST.AST): ReadonlyArray<AST.AST> =>
  ast._tag === "Union" ? ast.types.flatMap(members) : [ast];

/** What a field may be besides absent and null. */
const base = (ast: AST.AST): { readonly its: AST.AST; readonly nullable: boolean } => {
  const isNull = (ast: AST.AST) => ast._tag === "Literal" && ast.literal === null;
  const all = members(ast);
  const [its, ...more] = all.filter((type) => type._tag !== "UndefinedKeyword" && !isNull(type));
  return its === undefined || more.length > 0 ? unsupported(ast) : { its, nullable: all.some(isNull) };
};

const shapeOf = (ast: AST.AST, counts: Counts): Shape => {
  if (ast._tag !== "TypeLiteral" || ast.indexSignatures.length > 0 || ast.propertySignatures.length > 31) {
    return unsupported(ast);
  }
  const fields = ast.propertySignatures.map(({ name, type }): Field => {
    if (typeof name !== "string" || !/^\w{2,}$/.test(name)) return unsupported(ast);
    const { its, nullable } = base(type);
    let inner = its;
    while (inner._tag === "Refinement") inner = inner.from;
    const isRefined = inner !== its;
    const field = {
      name: nameOf(name),
      nullable,
      accepts: isRefined ? Guard.ofAst(its) : undefined,
      checkedSlot: -1,
      inside: undefined,
    };
    if (inner._tag === "StringKeyword") {
      return { ...field, kind: TEXT, slot: counts.texts++, checkedSlot: isRefined ? counts.checked++ : -1 };
    }
    if (inner._tag === "NumberKeyword") return { ...field, kind: NUMBER, slot: counts.numbers++ };
    if (isRefined) return unsupported(its);
    if (inner._tag === "TypeLiteral") {
      return { ...field, kind: OBJECT, slot: -1, inside: shapeOf(inner, counts) };
    }
    const isList = inner._tag === "TupleType" && inner.elements.length === 0 && inner.rest.length === 1 &&
      inner.rest[0]!.type._tag === "StringKeyword";
    return isList ? { ...field, kind: TEXTS, slot: counts.texts++ } : unsupported(its);
  });
  let required = 0;
  ast.propertySignatures.forEach(({ isOptional }, index) => isOptional || (required |= 1 << index));
  return { fields, required, next: new Uint8Array(fields.length + 1) };
};

/** A scanner of pages, and the places of fields in what it finds. */
export interface Scan {
  /**
   * The rows of a page, with their fields. Undefined where one of them is no value of the schema, or is not written as most
   * are: with fields that the schema does not know, with fractions, with a field twice. `JSON.parse` and the schema then have
   * to say what it is.
   */
  readonly scan: (bytes: Uint8Array) => JsonRows | undefined;
  /**
   * The place of a field among those of its kind in a row, by the names that lead to it: `last_metadata.country`. Throws a
   * TypeError if there is no such field.
   */
  readonly place: (kind: "texts" | "numbers" | "checked", path: string) => number;
}

/**
 * The scanner of rows of that schema: a struct of texts, numbers, lists of texts and such structs, any of which may be absent
 * or null. Throws a TypeError for any other.
 *
 * It accepts no bytes but such as are UTF-8 and JSON, whose rows are all values of the schema.
 */
export const of = (schema: Schema.Schema.AnyNoContext): Scan => {
  const counts: Counts = { texts: 0, numbers: 0, checked: 0 };
  const shape = shapeOf(schema.ast, counts);
  const scanner = new Scanner(shape, counts);
  return {
    scan: (bytes) => scanner.scan(bytes),
    place: (kind, path) => {
      let [fields, field] = [shape.fields, undefined as Field | undefined];
      for (const name of path.split(".")) {
        field = fields.find((field) => field.name.text === name);
        fields = field?.inside?.fields ?? [];
      }
      const isNumber = field?.kind === NUMBER;
      const slot = kind === "checked"
        ? field?.checkedSlot
        : isNumber === (kind === "numbers")
        ? field?.slot
        : -1;
      if (slot === undefined || slot < 0) throw new TypeError(`No field ${path} has a place among ${kind}`);
      return slot;
    },
  };
};
