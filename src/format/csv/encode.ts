/** CSV by RFC 4180: a header row, then the columns of `Columns.ts`, a session a row, rows ended by CRLF. */
// The package's own bundle for all runtimes: `csv-stringify/sync` does not load without a global `Buffer`.
import { type Options as StringifyOptions, stringify } from "csv-stringify/browser/esm/sync";
import { columns } from "../../session/Columns.ts";
import { concat } from "../../scan/RowSlices.ts";
import * as MemoTable from "../../scan/MemoTable.ts";
import * as Options from "../../options/Options.ts";
import { own } from "../../sink/Allocate.ts";
import { plain } from "../DecodedRow.ts";
import type { CsvOptions } from "../FormatOptions.ts";
import { columnsNamed, type Encoder, encoder, type Format } from "../Format.ts";
import * as CellWriters from "./CellWriters.ts";
import * as Formula from "./Formula.ts";

export const optionNames: Options.Names<CsvOptions> = { escapeFormulas: Options.boolean };

const DAY = 86_400;
/** `2021-12-31`, for a day since the epoch. */
const date = (day: number) => new Date(day * DAY * 1000).toISOString().slice(0, 10);
/**
 * A JSON array. `JSON.stringify` escapes a lone surrogate, and some readers (DuckDB's, for one) refuse that
 * escape, so it becomes U+FFFD here as it does in every other column.
 */
const jsonList = (texts: ReadonlyArray<string>): string => {
  const json = JSON.stringify(texts);
  return json.includes("\\ud") ? JSON.stringify(texts.map((text) => text.toWellFormed())) : json;
};

const stringifyOptions: StringifyOptions = {
  record_delimiter: "\r\n",
  quote_record_delimiter: true, // a lone CR or LF too, which CRLF as delimiter would otherwise leave bare
  quoted_empty: true, // or it would read the same as null, which csv-stringify is not asked about
  eof: false,
};

const utf8 = new TextEncoder();

/**
 * An encoder to CSV. Between batches it holds nothing but how a few thousand short texts are written.
 *
 * The header row is there in an empty export too. Times are ISO 8601 in UTC with whole seconds, `client_ids`
 * is a JSON array, null is an empty field and the empty text is `""`. A lone surrogate, which UTF-8 can't
 * write, becomes U+FFFD.
 *
 * @example
 * ```ts
 * import { Batch, Formats } from "monocloud-sessions";
 *
 * const csv = Formats.make("csv", { csv: { escapeFormulas: false } }).make();
 * const times = { initiated_at: 1640975400, expires_at: 1640983490, last_updated: 1640975400 };
 * const batch = Batch.make("alice", [{ session_id: "S1", client_ids: [], ...times }]);
 * const text = new TextDecoder().decode(csv.encode(batch));
 * console.assert(text.split("\r\n")[1]?.startsWith("alice,S1,,[],2021-12-31T18:30:00Z,"));
 * ```
 */
export const make = ({ escapeFormulas = true }: CsvOptions = {}, chosen = columns): Encoder => {
  const header = utf8.encode(`${chosen.map(({ name }) => name).join(",")}\r\n`);
  // It writes a cell alone as it does within a row: once for each text, as long as that is remembered.
  const quote = MemoTable.of(
    1024,
    (text: string) =>
      stringify(
        [[escapeFormulas && Formula.isFormula(text) ? Formula.inert(text) : text]],
        stringifyOptions,
      ),
  );
  const write = CellWriters.make({
    quote,
    key: (text) => Formula.isPlainId(text) ? text : quote(text),
    list: (texts) => quote(jsonList(texts)),
    date,
  }, chosen);
  let isBegun = false;
  return encoder("csv", {
    encode: ({ userId, rows }, allocate) => {
      if (isBegun) return write(userId, rows.slices, allocate);
      isBegun = true;
      return concat([header, write(userId, rows.slices, own)]);
    },
    finish: () => isBegun ? new Uint8Array(0) : header,
  });
};

/** The format with these options, for a driver that makes many files. */
export const format = (options: CsvOptions = {}, chosen = columns): Format => ({
  name: "csv",
  extension: "csv",
  contentType: "text/csv; charset=utf-8; header=present",
  gzip: true,
  columns: chosen.map(({ name }) => name),
  make: () => make(options, chosen),
  select: (names) => format(options, columnsNamed(names)),
  decode: async function* (file, written) {
    yield* (await import("./decode.ts")).decode(file, written);
  },
  scan: async function* (file, written) {
    yield* (await import("./scan.ts")).scan(file, written);
  },
  textOf: ({ keepFormulas }) => {
    if (keepFormulas === undefined) return Formula.eitherText;
    return keepFormulas ? plain : Formula.escapedText;
  },
});
