/**
 * CSV by RFC 4180: a header row, then the columns of `Columns.ts`, a session a row, rows ended by CRLF.
 *
 * @module
 */
// The package's own bundle for all runtimes: `csv-stringify/sync` does not load without a global `Buffer`.
import { type Options as StringifyOptions, stringify } from "csv-stringify/browser/esm/sync";
import { columns } from "../../session/Columns.ts";
import * as Memo from "../../scan/Memo.ts";
import * as Options from "../../options/Options.ts";
import * as Room from "../../sink/Room.ts";
import type { Session } from "../../session/Session.ts";
import * as CsvBytes from "./CsvBytes.ts";
import * as Encoder from "../Encoder.ts";
import * as Formula from "./Formula.ts";

/** How CSV is written. */
export interface CsvOptions {
  /**
   * Whether text that a spreadsheet may run as a formula gets a `'` in front: text that begins with `=`, `+`, `-`, `@`
   * (full-width too), `|` or `%`, also behind white space, and text that begins with tab, CR or LF. A user agent is
   * whatever the client sent, so leave this on for files that people open. Numbers stay as they are, and so do ids of
   * letters, digits, `_` and `-` alone: they call nothing, and others join on them. Turn it off for a file that only
   * programs read: then every text comes back exactly.
   *
   * @default {true}
   */
  readonly escapeFormulas?: boolean;
}

/** See {@link CsvOptions}. */
export const optionNames: Options.Names<CsvOptions> = { escapeFormulas: Options.boolean };

const DAY = 86_400;
const sixty = Array.from({ length: 60 }, (_, number) => String(number).padStart(2, "0"));
const hours = Array.from({ length: 24 }, (_, hour) => sixty.map((minute) => `T${sixty[hour]}:${minute}:`));
const minutes = hours.flat();
const seconds = sixty.map((second) => `${second}Z`);

/** `2021-12-31`, for a day since the epoch. */
const date = (day: number) => new Date(day * DAY * 1000).toISOString().slice(0, 10);
/** Days recur: about eleven years of them are remembered. */
const knownDate = Memo.of(4096, date);

/** `2021-12-31T18:30:00Z`. Many times as fast as `Date` on its own, which is asked for three times a row. */
const isoTime = (time: number): string => {
  const day = Math.floor(time / DAY);
  const second = time - day * DAY;
  const minute = Math.floor(second / 60);
  return knownDate(day) + minutes[minute]! + seconds[second - minute * 60]!;
};

/**
 * A JSON array. `JSON.stringify` escapes a lone surrogate, and some readers (DuckDB's, for one) refuse that
 * escape, so it becomes U+FFFD here as it does in every other column.
 */
const jsonList = (texts: ReadonlyArray<string>): string => {
  const json = JSON.stringify(texts);
  return json.includes("\\ud") ? JSON.stringify(texts.map((text) => text.toWellFormed())) : json;
};

/** Options, checked: what csv-stringify takes, and what is ours. */
interface Settled {
  readonly options: StringifyOptions;
  readonly escapeFormulas: boolean;
}

const settle = ({ escapeFormulas = true }: CsvOptions): Settled => {
  if (typeof escapeFormulas !== "boolean") {
    throw new TypeError(
      `Cannot write CSV as 'escapeFormulas' must be a boolean: current value is ${escapeFormulas}`,
    );
  }
  const options: StringifyOptions = {
    record_delimiter: "\r\n",
    quote_record_delimiter: true, // a lone CR or LF too, which CRLF as delimiter would otherwise leave bare
    quoted_empty: true, // or it would read the same as null, which csv-stringify is not asked about
    eof: false,
  };
  return { options, escapeFormulas };
};

/** Texts that csv-stringify leaves as they are, whatever its options: nearly all there are. */
const isPlain = (text: string) => /^\w[^",\r\n]*$/.test(text);

type Cell = (session: Session, userId: string, source: Encoder.Encodable["source"], index: number) => string;

/**
 * How each column is written. What is not plain is written by csv-stringify, which writes a cell alone as it does
 * within a row: once for each text, as long as that is remembered.
 */
const cells = (quote: (text: string) => string): ReadonlyArray<Cell> => {
  const oneId = Memo.of(1024, (id: string) => quote(jsonList([id])));
  return columns.map((column): Cell => {
    switch (column.kind) {
      case "timestamp":
        return (session, userId, source, index) => isoTime(column.get(session, userId, source, index));
      case "text_list":
        return (session, userId, source, index) => {
          const texts = column.get(session, userId, source, index);
          return texts.length === 1 ? oneId(texts[0]!) : quote(jsonList(texts));
        };
      case "number":
        return (session, userId, source, index) => {
          const number = column.get(session, userId, source, index);
          return number === null ? "" : String(number);
        };
      default: {
        const isAsItIs = column.key ? Formula.isPlainId : isPlain;
        return (session, userId, source, index) => {
          const text = column.get(session, userId, source, index);
          return text === null ? "" : isAsItIs(text) ? text : quote(text);
        };
      }
    }
  });
};

const utf8 = new TextEncoder();
const header = `${columns.map(({ name }) => name).join(",")}\r\n`;

const joined = (first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> => {
  const both = new Uint8Array(first.length + second.length);
  both.set(first);
  both.set(second, first.length);
  return both;
};

const makeSettled = ({ options, escapeFormulas }: Settled): Encoder.Encoder => {
  const quote = Memo.of(
    1024,
    (text: string) =>
      stringify([[escapeFormulas && Formula.isFormula(text) ? Formula.inert(text) : text]], options),
  );
  const write = cells(quote);
  const list = (texts: ReadonlyArray<string>) => quote(jsonList(texts));
  const key = (text: string) => Formula.isPlainId(text) ? text : quote(text);
  const fromBytes = CsvBytes.make({ quote, key, list, date });
  const row = write.map(() => "");
  let text = header;
  const take = () => {
    const bytes = utf8.encode(text);
    text = "";
    return bytes;
  };
  return Encoder.make("csv", {
    encode: (batch, room) => {
      const { userId, source } = batch;
      if (source?.fields !== undefined) {
        return text === ""
          ? fromBytes(userId, source, source.fields, room)
          : joined(take(), fromBytes(userId, source, source.fields, Room.own));
      }
      const { sessions } = batch;
      for (let i = 0; i < sessions.length; i++) {
        const session = sessions[i]!;
        for (let j = 0; j < write.length; j++) row[j] = write[j]!(session, userId, source, i);
        text += `${row.join(",")}\r\n`;
      }
      return take();
    },
    finish: take,
  });
};

/**
 * An encoder to CSV. Between batches it holds nothing but how a few thousand short texts are written.
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
