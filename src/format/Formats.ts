/**
 * The formats by name, for a driver that gets names from a command line or a file.
 *
 * @module
 */
import * as Options from "../options/Options.ts";
import * as Csv from "./csv/Csv.ts";
import type { Format } from "./Encoder.ts";
import * as Ndjson from "./ndjson/Ndjson.ts";
import * as Parquet from "./parquet/Parquet.ts";

/** The name of a format. */
export type FormatName = Format["name"];

/** What each format can be told. */
export interface FormatOptions {
  readonly csv?: Csv.CsvOptions | undefined;
  readonly parquet?: Parquet.ParquetOptions | undefined;
}

/** See {@link FormatOptions}. */
export const optionNames: Options.Names<FormatOptions> = {
  csv: Options.object(Csv.optionNames),
  parquet: Options.object(Parquet.optionNames),
};

const formats: Readonly<Record<FormatName, (options: FormatOptions) => Format>> = {
  ndjson: () => Ndjson.format(),
  csv: ({ csv }) => Csv.format(csv),
  parquet: ({ parquet }) => Parquet.format(parquet),
};

/** Every format, in the order to list them in. */
export const names: ReadonlyArray<FormatName> = ["ndjson", "csv", "parquet"];

/**
 * The format of that name.
 *
 * @throws {TypeError} on an option of the wrong type or out of range.
 *
 * @example
 * ```ts
 * import { Formats } from "monocloud-sessions";
 *
 * const files = Formats.names.map((name) => `part-00000.${Formats.make(name).extension}`);
 * console.assert(files.join() === "part-00000.ndjson,part-00000.csv,part-00000.parquet");
 * ```
 */
export const make = (name: FormatName, options: FormatOptions = {}): Format => formats[name](options);

/** A format, and whether its file is compressed as well. Parquet is compressed inside. */
export interface Choice {
  readonly format: Format;
  readonly gzip: boolean;
}

/** What {@link choose} understands: `ndjson`, `ndjson.gz`, `csv`, `csv.gz`, `parquet`. */
export const choices: ReadonlyArray<string> = names.flatMap((name) =>
  name === "parquet" ? [name] : [name, `${name}.gz`]
);

/** The format that a choice such as `csv.gz` names; undefined if there is none. */
export const choose = (choice: string, options: FormatOptions = {}): Choice | undefined => {
  if (!choices.includes(choice)) return undefined;
  const gzip = choice.endsWith(".gz");
  return { format: make((gzip ? choice.slice(0, -3) : choice) as FormatName, options), gzip };
};

/** The format that a file's name ends with; undefined if it ends with none. */
export const ofPath = (path: string, options: FormatOptions = {}): Choice | undefined => {
  const choice = choices.find((choice) => path.endsWith(`.${choice}`));
  return choice === undefined ? undefined : choose(choice, options);
};
