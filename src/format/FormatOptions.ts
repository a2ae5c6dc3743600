/** Options of the formats that are built in, as types that name no library. */

/** Options of CSV. */
export interface CsvOptions {
  /**
   * True to put a `'` before text that a spreadsheet may run as a formula: text that begins with `=`, `+`, `-`, `@`
   * (full-width too), `|` or `%`, also behind white space, and text that begins with tab, CR or LF. A user agent is
   * whatever the client sent, so leave this on for files that people open. Numbers stay as they are, and so do ids of
   * letters, digits, `_` and `-` alone: they call nothing, and others join on them. Turn it off for a file that only
   * programs read: then every text comes back exactly.
   *
   * @default {true}
   */
  readonly escapeFormulas?: boolean;
}

/** Options of Parquet. */
export interface ParquetOptions {
  /**
   * Rows in a row group: the unit that readers skip or read side by side, and what the encoder holds. From 10,000 to 100,000
   * rows a file shrinks by 3 % at most (measured), while memory and the one call that encodes a group grow with the rows:
   * 10,000 cost up to 65 MB and a twentieth of a second.
   *
   * @default {10_000}
   */
  readonly rowGroupRows?: number;
  /** Compression of pages, but for those of times and of session ids and keys: these are packed as they are. @default {"snappy"} */
  readonly codec?: "snappy" | "uncompressed";
}

/** Options of each format. */
export interface FormatOptions {
  readonly csv?: CsvOptions | undefined;
  readonly parquet?: ParquetOptions | undefined;
}
