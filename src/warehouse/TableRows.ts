/**
 * Sessions as rows of a table. No database holds every text that JSON can write: NUL and lone surrogates become U+FFFD, or
 * their rows are quarantined.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import * as DecodedRow from "../format/DecodedRow.ts";
import * as RowSlices from "../scan/RowSlices.ts";
import * as Batch from "../session/Batch.ts";
import * as Columns from "../session/Columns.ts";

/** What becomes of a text that a target can't hold. */
export type BadText = "replace" | "quarantine";

export interface QuarantineLine {
  readonly userId: string;
  readonly message: string;
  readonly paths: ReadonlyArray<string>;
  readonly row: string;
}

/** A session as a row: a value for each of {@link Columns.columns}, with room for one more behind them. */
export type Session = Array<Columns.Value>;

export interface Taken {
  readonly sessions: ReadonlyArray<Session>;
  readonly quarantined: ReadonlyArray<QuarantineLine>;
  /** Texts of which something was replaced. */
  readonly replaced: number;
}

export interface TakeOptions {
  readonly badText: BadText;
  /** The most bytes that the key may have. */
  readonly keyBytes: number;
}

const REPLACEMENT = "\ufffd";

/** Tell whether a table can hold a text. */
export const isGood = (text: string): boolean => text.isWellFormed() && !text.includes("\0");

/** Replace what no database holds by U+FFFD. */
export const cleanText = (text: string): string =>
  isGood(text) ? text : text.toWellFormed().replaceAll("\0", REPLACEMENT);

const high = (code: number): boolean => code >= 0xd800 && code < 0xdc00;
const low = (code: number): boolean => code >= 0xdc00 && code < 0xe000;

/** Replace likewise what the escapes in a JSON text stand for. The rest of it stays as it is written. */
export const cleanJson = (json: string): string => {
  const text = cleanText(json);
  if (!text.includes("\\u")) return text;
  return text.replace(
    /\\u([0-9a-f]{4})(?:\\u([0-9a-f]{4}))?|\\./gi,
    (escape, first: string | undefined, second: string | undefined) => {
      if (first === undefined) return escape;
      const [one, other] = [parseInt(first, 16), parseInt(second ?? "0", 16)];
      if (second !== undefined && high(one) && low(other)) return escape;
      const fixed = (code: number, its: string) =>
        code === 0 || high(code) || low(code) ? "\\ufffd" : `\\u${its}`;
      return fixed(one, first) + (second === undefined ? "" : cleanJson(`\\u${second}`));
    },
  );
};

const clean = (value: Columns.Value, kind: Columns.Kind): Columns.Value => {
  if (typeof value === "string") return kind === "json" ? cleanJson(value) : cleanText(value);
  if (typeof value !== "object" || value === null) return value;
  return value.every(isGood) ? value : value.map(cleanText);
};

const { columns } = Columns;
const keyNames = ["user_id", "session_id"];
const [userColumn, sessionColumn] = keyNames.map((name) =>
  columns.findIndex((column) => column.name === name)
) as [
  number,
  number,
];

/** The places of the key in a row. */
export { sessionColumn as idColumn, userColumn };

const utf8 = new TextEncoder();

/** The part of a text that UTF-8 surely writes in so many bytes needs no counting. */
const byteLength = (text: string): number => utf8.encode(text).length;

/** Say what keeps a key from being one, if anything does: two keys must not become one. */
const flawOfKey = (key: ReadonlyArray<string>, { keyBytes }: TakeOptions): string | undefined => {
  if (!key.every(isGood)) {
    return "its key has a NUL or half a surrogate pair, which no table holds";
  }
  const chars = key.reduce((sum, text) => sum + text.length, 0);
  if (3 * chars <= keyBytes) return undefined;
  const bytes = key.reduce((sum, text) => sum + byteLength(text), 0);
  return bytes <= keyBytes
    ? undefined
    : `its key has ${bytes} bytes, and the table's index takes ${keyBytes} at most`;
};

/** Make rows of values: one at a time is given by `at`, and its JSON by `textOf` where it is quarantined. */
const take = (
  count: number,
  at: (row: number, column: number) => Columns.Value,
  textOf: (row: number) => string,
  options: TakeOptions,
): Taken => {
  const sessions: Array<Session> = [];
  const quarantined: Array<QuarantineLine> = [];
  let replaced = 0;
  for (let row = 0; row < count; row++) {
    const values: Session = new Array(columns.length + 1);
    const bad: Array<string> = [];
    for (let index = 0; index < columns.length; index++) {
      const { kind, name } = columns[index]!;
      const value = at(row, index);
      const cleaned = typeof value === "number" || value === null ? value : clean(value, kind);
      if (cleaned !== value) bad.push(name);
      values[index] = cleaned;
    }
    const flaw = flawOfKey([at(row, userColumn) as string, at(row, sessionColumn) as string], options);
    const message = flaw ??
      (bad.length > 0 && options.badText === "quarantine"
        ? `${bad.join(", ")}: a NUL or half a surrogate pair, which no table holds`
        : undefined);
    if (message === undefined) {
      replaced += bad.length;
      sessions.push(values);
    } else {
      quarantined.push({
        userId: cleanText(values[userColumn] as string),
        message,
        paths: flaw === undefined ? bad : keyNames,
        row: textOf(row),
      });
    }
  }
  return { sessions, quarantined, replaced };
};

/** Make rows of a batch, and lines of what it has that is no session. */
export const ofBatch = (batch: Batch.Batch, options: TakeOptions): Taken => {
  const { userId, rows: { slices } } = Batch.toBytes(batch);
  const { sessions, quarantined, replaced } = take(
    slices.from.length,
    (row, column) => Columns.valueAt(columns[column]!, userId, slices, row),
    (row) => RowSlices.text(slices, row),
    options,
  );
  return {
    sessions,
    replaced,
    quarantined: [
      ...batch.quarantined.map(({ message, paths, source }) => ({ userId, message, paths, row: source })),
      ...quarantined,
    ],
  };
};

/** Make rows of those that were read back from a file. */
export const ofRows = (rows: ReadonlyArray<DecodedRow.Row>, options: TakeOptions): Taken => {
  const at = (row: number, column: number) => DecodedRow.tableValue(rows[row]!, column);
  return take(
    rows.length,
    at,
    (row) => JSON.stringify(Object.fromEntries(columns.map(({ name }, column) => [name, at(row, column)]))),
    options,
  );
};

/** Digest a quarantined row, so that it is kept once. */
export const digestOf = ({ userId, row }: QuarantineLine): string =>
  bytesToHex(sha256(utf8ToBytes(`${userId}\n${row.toWellFormed()}`)));
