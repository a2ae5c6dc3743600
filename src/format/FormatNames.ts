/**
 * The names of the formats that are built in, without what encodes them: help and entries without Effect use them.
 * `Formats.ts` does not compile with one missing.
 */

const names = ["ndjson", "csv", "parquet"] as const;

/** The name of a format that is built in. */
export type BuiltIn = typeof names[number];

/** The names of the formats that are built in, in the order to list them in. */
export const builtInNames: ReadonlyArray<BuiltIn> = names;

/** A format, and `.gz` where the whole is compressed. Parquet is compressed inside. */
export type FormatChoice = Exclude<BuiltIn | `${BuiltIn}.gz`, "parquet.gz">;

/** All choices of the formats that are built in. */
export const builtInChoices: ReadonlyArray<FormatChoice> = builtInNames.flatMap((name): Array<FormatChoice> =>
  name === "parquet" ? [name] : [name, `${name}.gz`]
);
