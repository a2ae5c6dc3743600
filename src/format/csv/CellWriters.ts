/**
 * FOR SPEED ALONE: CSV rows from the bytes of a page, where what is plain is copied, and looked at while it is. `csv-stringify`
 * writes every cell that needs quoting.
 */
import { type Column, columns as allColumns, rescued } from "../../session/Columns.ts";
import * as RescuedData from "../../session/RescuedData.ts";
import * as FieldOffsets from "../../scan/FieldOffsets.ts";
import { COLON, COMMA, CR, LF, MINUS, NINE, POINT, ZERO } from "../../scan/JsonTokens.ts";
import * as MemoTable from "../../scan/MemoTable.ts";
import type { RowSlices } from "../../scan/RowSlices.ts";
import type { Allocate } from "../../sink/Allocate.ts";

export interface CellWriters {
  readonly quote: (text: string) => string;
  /** An id. */
  readonly key: (text: string) => string;
  readonly list: (texts: ReadonlyArray<string>) => string;
  /** The date of a day since the epoch. */
  readonly date: (day: number) => string;
}

const T = 0x54, Z = 0x5a;
const DAY = 86_400;
/** `2021-12-31T18:30:00Z` */
const TIME = 20;

const utf8 = new TextEncoder();

/** The bytes a plain text may begin with: letters, digits and `_`. */
const isWord = Uint8Array.from(
  { length: 256 },
  (_, byte) => +/\w/.test(String.fromCharCode(byte % 128)) & +(byte < 128),
);
/** Characters that it may go on with: not quotes, commas and line breaks, nor what begins an escape. */
const isPlain = Uint8Array.from({ length: 256 }, (_, byte) => +!/[",\r\n\\]/.test(String.fromCharCode(byte)));
const isPlainId = Uint8Array.from({ length: 256 }, (_, byte) => isWord[byte]! | +(byte === 0x2d));

class Bytes {
  all = new Uint8Array(1 << 10);
  at = 0;
  /** Count the characters that there is room for, whatever is put in between. */
  reserve = 0;

  private ensureCapacity(length: number): void {
    if (this.at + length <= this.all.length) return;
    const larger = new Uint8Array(Math.max(2 * this.all.length, this.at + length));
    larger.set(this.all);
    this.all = larger;
  }

  begin(reserve: number): void {
    this.reserve = reserve;
    this.ensureCapacity(reserve);
  }

  put(bytes: Uint8Array): void {
    this.ensureCapacity(bytes.length + this.reserve);
    const { all, at } = this;
    for (let i = 0; i < bytes.length; i++) all[at + i] = bytes[i]!;
    this.at += bytes.length;
  }

  one(byte: number): void {
    this.all[this.at++] = byte;
  }

  two(number: number): void {
    this.all[this.at++] = ZERO + (number / 10 | 0);
    this.all[this.at++] = ZERO + number % 10;
  }

  /** Copies what is plain by these tables; false, and nothing is copied, if not all of it is. Takes of what is reserved. */
  copy(bytes: Uint8Array, from: number, to: number, first: Uint8Array, others: Uint8Array): boolean {
    const { all, at } = this;
    if (from === to || first[bytes[from]!] === 0) return false;
    for (let i = from; i < to; i++) {
      const byte = bytes[i]!;
      if (others[byte] === 0) return false;
      all[at + i - from] = byte;
    }
    this.at = at + to - from;
    return true;
  }

  /** Copies a decimal number the way `String` writes it; false, and nothing is copied, if that may be another one. */
  decimal(bytes: Uint8Array, from: number, to: number): boolean {
    const { all, at } = this;
    const first = bytes[from] === MINUS ? from + 1 : from;
    if (first > from) all[at] = MINUS;
    let point = -1;
    let isZero = true;
    for (let i = first; i < to; i++) {
      const byte = bytes[i]!;
      if (byte === POINT && point < 0) point = i;
      else if (byte < ZERO || byte > NINE) return false;
      else if (byte !== ZERO) isZero = false;
      all[at + i - from] = byte;
    }
    const before = (point < 0 ? to : point) - first;
    const behind = point < 0 ? 0 : to - point - 1;
    if (before < 1 || before > 9 || behind > 6 || point === to - 1) return false;
    if ((before > 1 && bytes[first] === ZERO) || (isZero && first > from)) return false;
    let end = to;
    if (point >= 0) {
      while (bytes[end - 1] === ZERO) end--;
      if (end - 1 === point) end--;
    }
    this.at = at + end - from;
    return true;
  }

  take(allocate: Allocate): Uint8Array<ArrayBuffer> {
    const bytes = allocate(this.at);
    bytes.set(this.all.subarray(0, this.at));
    this.at = 0;
    return bytes;
  }
}

export type WriteRows = (
  userId: string,
  rows: RowSlices,
  allocate: Allocate,
) => Uint8Array<ArrayBuffer>;

/** Remembers how a few thousand short texts are written. */
export const make = (
  { quote, key, list, date }: CellWriters,
  columns: ReadonlyArray<Column> = allColumns,
): WriteRows => {
  // Of chosen columns a number that is none may come later, or not at all.
  const hasNumbers = columns === allColumns &&
    columns.slice(columns.indexOf(rescued)).every(({ kind }) => kind !== "number");
  const out = new Bytes();
  const quoted = FieldOffsets.memo(10, (text) => utf8.encode(quote(text)));
  const quotedKey = FieldOffsets.memo(4, (text) => utf8.encode(key(text)));
  const listed = FieldOffsets.memo(10, (json) => utf8.encode(list(JSON.parse(json))), FieldOffsets.json);
  const dateOf = MemoTable.of(4096, (day: number) => utf8.encode(date(day)));
  const time = (seconds: number): void => {
    const day = Math.floor(seconds / DAY);
    out.put(dateOf(day));
    const second = seconds - day * DAY;
    const hours = second / 3600 | 0;
    const minutes = second / 60 | 0;
    out.one(T);
    out.two(hours);
    out.one(COLON);
    out.two(minutes - hours * 60);
    out.one(COLON);
    out.two(second - minutes * 60);
    out.one(Z);
  };

  return (userId, rows, allocate) => {
    const { bytes, from, to, fields } = rows;
    const { texts, textCount, numbers, numberCount, others } = fields;
    const user = utf8.encode(key(userId));
    for (let row = 0; row < from.length; row++) {
      // Nothing is longer as it is copied, and what is not copied makes room for itself.
      out.begin(to[row]! - from[row]! + columns.length * (TIME + 1));
      let isWhole = true;
      for (let i = 0; i < columns.length; i++) {
        const column = columns[i]!;
        if (i > 0) out.one(COMMA);
        if (column.kind === "timestamp") {
          time(numbers[row * numberCount + column.place!]!);
          continue;
        }
        if (column.place === undefined) {
          if (column.name === "user_id") out.put(user);
          else if (!hasNumbers || !isWhole || others[row] !== undefined) {
            const text = RescuedData.at(rows, row);
            // A JSON object has quotes, and is no formula.
            if (text !== null) out.put(utf8.encode(`"${text.replaceAll('"', '""')}"`));
          }
          continue;
        }
        const at = 2 * (row * textCount + column.place);
        const begin = texts[at]!;
        const end = texts[at + 1]!;
        if (begin < 0) continue;
        if (column.kind === "number") {
          if (!out.decimal(bytes, begin, end)) {
            const number = RescuedData.decimalAt(bytes, begin, end);
            if (number === null) isWhole = false;
            else out.put(utf8.encode(String(number)));
          }
        } else if (column.kind === "text_list") out.put(listed(bytes, begin, end));
        else {
          const isKey = column.key;
          const last = end < 0 ? ~end : end;
          if (!out.copy(bytes, begin, last, isKey ? isPlainId : isWord, isKey ? isPlainId : isPlain)) {
            out.put(isKey ? quotedKey(bytes, begin, end) : quoted(bytes, begin, end));
          }
        }
      }
      out.one(CR);
      out.one(LF);
    }
    return out.take(allocate);
  };
};
