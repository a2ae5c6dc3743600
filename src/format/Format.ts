/**
 * The contract of a file format: an encoder of batches, and a decoder that reads its files back. Neither does I/O, so a format
 * runs in a thread or a browser as it does on a server.
 *
 * A format of your own is one value of {@link Format}. `Formats.register` makes it known to datasets.
 *
 * @module
 */
import * as Batch from "../session/Batch.ts";
import { type Column, columns } from "../session/Columns.ts";
import * as Options from "../options/Options.ts";
import { type Allocate, own } from "../sink/Allocate.ts";
import type { Flaw, Row, Text, Written } from "./DecodedRow.ts";

export {
  type Flaw,
  of as decodedRow,
  plain as plainText,
  type Row,
  type Text,
  type Written,
} from "./DecodedRow.ts";
export { of as lines } from "./Lines.ts";

/** The part of a batch that an encoder needs. */
export type Encodable = Pick<Batch.Batch, "userId" | "rows">;

/**
 * One file in the making. Made for one file, fed batches in any number and of any size, finished once. The
 * bytes of all calls, in order, are the file.
 *
 * Both functions throw an `Error` once the encoder is finished, or after one of them has thrown.
 */
export interface Encoder {
  /**
   * The bytes ready after this batch; maybe none. If memory was asked for them, once a call at most, they lie there. If
   * `allocate` is left out the caller may keep them: no later call changes them.
   *
   * @throws {TypeError} on a value made by hand that is no session.
   */
  readonly encode: (batch: Encodable, allocate?: Allocate) => Uint8Array<ArrayBuffer>;
  /** The rest of the file. Called also when there was no batch: an empty export is a valid file. */
  readonly finish: () => Uint8Array<ArrayBuffer>;
}

/** A file to decode. */
export interface EncodedFile {
  /** The bytes it has. */
  readonly byteLength: number;
  /** Read it from its first byte to its last, some bytes at a time; unpacked, if it was compressed on its way. */
  readonly chunks: () => AsyncIterable<Uint8Array>;
  /** Read the bytes from `start` up to `end`, as they lie. Throws where there are not so many. */
  readonly read: (start: number, end: number) => Promise<Uint8Array<ArrayBuffer>>;
}

/** A file format, with its options settled. */
export interface Format {
  /** In lower case: datasets name a folder by it. */
  readonly name: string;
  /** Extension of a file name, without the dot. */
  readonly extension: string;
  /** The media type, for an HTTP response. */
  readonly contentType: string;
  /** True if files may be compressed on their way; false where they are inside. */
  readonly gzip: boolean;
  /** The names of the columns that its files have. */
  readonly columns: ReadonlyArray<string>;
  /** Make the encoder of one file. */
  readonly make: () => Encoder;
  /** Give the same format with these of its columns alone, in that order. Left out where sessions are written whole. */
  readonly select?: ((columns: ReadonlyArray<string>) => Format) | undefined;
  /**
   * Read the sessions of a file back, some at a time, in their order. A row that is none of the format is given as a flaw;
   * throws where it can't read on. An older version may have written the file, with fewer columns.
   */
  readonly decode: (file: EncodedFile, written: Written) => AsyncIterable<ReadonlyArray<Row | Flaw>>;
  /**
   * Read the same rows faster, of a file that is known to be as this program wrote it: by its sum. Left out where
   * {@link decode} is as fast.
   */
  readonly scan?: Format["decode"] | undefined;
  /** Tell how the files of a run write text, by the options the run was given. Left out: as it is. */
  readonly textOf?: ((options: Readonly<Record<string, unknown>>) => Text) | undefined;
}

/** The names of all columns. */
export const allColumns: ReadonlyArray<string> = columns.map(({ name }) => name);

/**
 * Give the columns of these names, in their order.
 *
 * @throws {TypeError} on a name that no column has.
 */
export const columnsNamed = (names: ReadonlyArray<string>): ReadonlyArray<Column> =>
  names.map((name) => {
    const column = columns.find((column) => column.name === name);
    if (column === undefined) throw new TypeError(Options.unknown("column", name, allColumns));
    return column;
  });

/** The work of an encoder, without its rules. */
export interface Work {
  /** Is given sessions as bytes, whatever they were; `Batch.sessions` gives them as values. */
  readonly encode: (
    batch: Encodable & { readonly rows: Batch.Bytes },
    allocate: Allocate,
  ) => Uint8Array<ArrayBuffer>;
  readonly finish: () => Uint8Array<ArrayBuffer>;
}

/**
 * Make an encoder that keeps the rules of {@link Encoder} about what may be called when, over functions that needn't.
 *
 * @example
 * ```ts
 * import { Batch, Format } from "monocloud-sessions";
 *
 * const utf8 = new TextEncoder();
 * const ids = Format.encoder("session_id list", {
 *   encode: (batch) => utf8.encode(Batch.sessions(batch).map((session) => `${session.session_id}\n`).join("")),
 *   finish: () => new Uint8Array(0),
 * });
 * console.assert(ids.encode(Batch.make("alice", [])).length === 0);
 * ```
 */
export const encoder = (name: string, { encode, finish }: Work): Encoder => {
  let state: "open" | "finished" | "broken" = "open";
  const run = <A>(action: "encode" | "finish", work: () => A): A => {
    if (state === "finished") {
      throw new Error(`Cannot ${action} as the ${name} encoder is finished: make one for each file`);
    }
    if (state === "broken") {
      throw new Error(`Cannot ${action} as the ${name} encoder has thrown: its file is incomplete`);
    }
    state = "broken"; // unless the work returns
    const result = work();
    state = action === "finish" ? "finished" : "open";
    return result;
  };
  return {
    encode: (batch, allocate = own) => run("encode", () => encode(Batch.toBytes(batch), allocate)),
    finish: () => run("finish", finish),
  };
};
