/**
 * CSV by RFC 4180: a header row, then the columns of `Columns.ts`, a session a row, rows ended by CRLF.
 *
 * @module
 */
// The package's own bundle for all runtimes: `csv-stringify/sync` does not load without a global `Buffer`.
import { type Options, stringify } from "csv-stringify/browser/esm/sync";
import { type Column, columns } from "../Columns.ts";
import type { Session } from "../Session.ts";
import * as Encoder from "./Encoder.ts";

/** How CSV is written. */
export interface CsvOptions {
  /**
   * Whether text that a spreadsheet would run as a formula gets a `'` in front: text that begins with `=`,
   * `+`, `-`, `@` (full-width too), tab or CR. A user agent is whatever the client sent, so leave this on for
   * files that people open. Numbers stay as they are, and so do ids of letters, digits, `_` and `-` alone:
   * they call nothing, and others join on them. Turn it off for a file that only programs read: then every
   * text comes back exactly.
   *
   * @default {true}
   */
  readonly escapeFormulas?: boolean;
}

const DAY = 86_400;
const twoDigits = Array.from({ length: 60 }, (_, number) => String(number).padStart(2, "0"));
const dates = new Map<number, string>();

/** `2021-12-31`, for a day since the epoch. Days recur, so about eleven years of them are kept. */
const date = (day: number): string => {
  let text = dates.get(day);
  if (text === undefined) {
    if (dates.size === 4096) dates.clear();
    text = new Date(day * DAY * 1000).toISOString().slice(0, 10);
    dates.set(day, text);
  }
  return text;
};

/** `2021-12-31T18:30:00Z`. Four times as fast as `Date` on its own, which is asked for three times a row. */
const isoTime = (seconds: number): string => {
  const day = Math.floor(seconds / DAY);
  const second = seconds - day * DAY;
  const hour = Math.floor(second / 3600);
  const minute = Math.floor(second / 60) % 60;
  return `${date(day)}T${twoDigits[hour]}:${twoDigits[minute]}:${twoDigits[second % 60]}Z`;
};

/**
 * A JSON array. `JSON.stringify` escapes a lone surrogate, and some readers (DuckDB's, for one) refuse that
 * escape, so it becomes U+FFFD here as it does in every other column.
 */
const jsonList = (texts: ReadonlyArray<string>): string => {
  const json = JSON.stringify(texts);
  return json.includes("\\ud") ? JSON.stringify(texts.map((text) => text.toWellFormed())) : json;
};

type Cell = (
  session: Session,
  userId: string,
  source: Encoder.Encodable["source"],
  index: number,
) => string | number | null;

const cell = (column: Column): Cell => {
  switch (column.kind) {
    case "timestamp":
      return (session, userId, source, index) => isoTime(column.get(session, userId, source, index));
    case "text_list":
      return (session, userId, source, index) => jsonList(column.get(session, userId, source, index));
    default:
      return column.get;
  }
};

const cells = columns.map(cell);
const names = columns.map(({ name }) => name);

const row = (
  { sessions, userId, source }: Encoder.Encodable,
  index: number,
): Array<string | number | null> => {
  const values = new Array<string | number | null>(cells.length);
  for (let i = 0; i < cells.length; i++) values[i] = cells[i]!(sessions[index]!, userId, source, index);
  return values;
};

const isKey = columns.map(({ key }) => key);
const inert = /^[A-Za-z0-9_-]+$/;

/** Options given for one value make csv-stringify settle all of them again, so they are given to few. */
const castText = (escapeFormulas: boolean) => (text: string, { index }: { readonly index: number }) => {
  // "" is quoted and null is not, or they would read the same. `quoted_empty` for all would quote null too.
  if (text === "") return { value: text, quoted_empty: true };
  return escapeFormulas && isKey[index] && text.startsWith("-") && inert.test(text)
    ? { value: text, escape_formulas: false }
    : text;
};

const settle = ({ escapeFormulas = true }: CsvOptions): Options => {
  if (typeof escapeFormulas !== "boolean") {
    throw new TypeError(
      `Cannot write CSV as 'escapeFormulas' must be a boolean: current value is ${escapeFormulas}`,
    );
  }
  return {
    record_delimiter: "\r\n",
    quote_record_delimiter: true, // a lone CR or LF too, which CRLF as delimiter would otherwise leave bare
    escape_formulas: escapeFormulas,
    columns: names,
    cast: { string: castText(escapeFormulas) },
  };
};

const utf8 = new TextEncoder();

const makeSettled = (options: Options): Encoder.Encoder => {
  let header = true;
  const write = (rows: Array<Array<string | number | null>>) => {
    const text = stringify(rows, { ...options, header });
    header = false;
    return utf8.encode(text);
  };
  return Encoder.make("csv", {
    encode: (batch) => write(batch.sessions.map((_, index) => row(batch, index))),
    finish: () => write([]),
  });
};

/**
 * An encoder to CSV. Holds nothing between batches.
 *
 * The header row is there in an empty export too. Times are ISO 8601 in UTC with whole seconds, `client_ids`
 * is a JSON array, null is an empty field and the empty text is `""`. A lone surrogate, which UTF-8 can't
 * write, becomes U+FFFD.
 *
 * @throws {TypeError} on an option of the wrong type.
 *
 * @example
 * ```ts
 * import { Batch, Csv } from "monocloud-sessions";
 *
 * const csv = Csv.make({ escapeFormulas: false });
 * const times = { initiated_at: 1640975400, expires_at: 1640983490, last_updated: 1640975400 };
 * const batch = Batch.make("alice", [{ session_id: "S1", client_ids: [], ...times }]);
 * const text = new TextDecoder().decode(csv.encode(batch));
 * console.assert(text.split("\r\n")[1]?.startsWith("alice,S1,,[],2021-12-31T18:30:00Z,"));
 * ```
 */
export const make = (options: CsvOptions = {}): Encoder.Encoder => makeSettled(settle(options));

/**
 * The format with these options, for a driver that makes many files.
 *
 * @throws {TypeError} on an option of the wrong type.
 */
export const format = (options: CsvOptions = {}): Encoder.Format => {
  const settled = settle(options);
  return {
    name: "csv",
    extension: "csv",
    contentType: "text/csv; charset=utf-8; header=present",
    make: () => makeSettled(settled),
  };
};
