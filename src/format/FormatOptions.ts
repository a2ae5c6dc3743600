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
   * 10,000 cost up to 65 MB and a twentieth of a second. The most are 1,048,576.
   *
   * @default {10_000}
   */
  readonly rowGroupRows?: number;
  /** Compression of pages. In files of version 2 those of times and of session ids and keys are packed as they are. @default {"snappy"} */
  readonly codec?: "snappy" | "uncompressed";
  /**
   * The version of Parquet whose pages and encodings are used. 1 is what every reader knows: data pages of version 1, values
   * plain or in a dictionary. 2 has data pages of version 2, deltas of times and of the lengths of ids. Such a file is 5 %
   * smaller, and refused by Snowflake, by Spark before 3.4, and by others that `docs/formats.md` lists.
   *
   * @default {1}
   */
  readonly version?: 1 | 2;
}

/** Options of each format. */
export interface FormatOptions {
  readonly csv?: CsvOptions | undefined;
  readonly parquet?: ParquetOptions | undefined;
}
