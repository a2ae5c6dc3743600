/**
 * The names of the formats that are built in, as types that name no library: entries without Effect use them. `Formats.ts` does
 * not compile with one missing.
 */

/** The name of a format that is built in. */
export type BuiltIn = "ndjson" | "csv" | "parquet";

/** A format, and `.gz` where the whole is compressed. Parquet is compressed inside. */
export type FormatChoice = Exclude<BuiltIn | `${BuiltIn}.gz`, "parquet.gz">;
