/**
 * The registry of formats: every list of names, endings and media types derives from it.
 *
 * @module
 */
import * as Options from "../options/Options.ts";
import * as Csv from "./csv/encode.ts";
import { type BuiltIn, builtInNames } from "./FormatNames.ts";
import type { FormatOptions } from "./FormatOptions.ts";
import type { Format } from "./Format.ts";
import * as Ndjson from "./ndjson/encode.ts";
import * as Parquet from "./parquet/encode.ts";

export { type BuiltIn, builtInChoices, builtInNames, type FormatChoice } from "./FormatNames.ts";
export type { FormatOptions } from "./FormatOptions.ts";

export const optionNames: Options.Names<FormatOptions> = {
  csv: Options.object(Csv.optionNames),
  parquet: Options.object(Parquet.optionNames),
};

/** The formats that are built in. Of the formats of a part, the one of lowest rank is read back. */
const builtIn: Readonly<
  Record<BuiltIn, { readonly rank: number; readonly make: (options: FormatOptions) => Format }>
> = {
  ndjson: { rank: 0, make: () => Ndjson.format() },
  csv: { rank: 2, make: ({ csv }) => Csv.format(csv) },
  parquet: { rank: 1, make: ({ parquet }) => Parquet.format(parquet) },
};

/** The name of a format: one of those that are built in, or one that was registered. */
// deno-lint-ignore ban-types
export type FormatName = BuiltIn | (string & {});

/** The formats, the one that alters rows least first. */
const registry = new Map<string, (options: FormatOptions) => Format>(
  Object.entries(builtIn).sort(([, one], [, other]) => one.rank - other.rank)
    .map(([name, { make }]) => [name, make]),
);

/** Names that datasets give to folders of something else. */
const reserved: ReadonlySet<string> = new Set(
  ["quarantine", "tombstones", "cursors", "observed", "rejected", "removed", "state", "seen"],
);

/**
 * Make a format of your own known by its name: to datasets, which read it back, and wherever a format is named. Do so when the
 * program begins, before a dataset that has it is opened.
 *
 * @throws {TypeError} on a name or an ending that is taken, or that no folder or file should have.
 *
 * @example
 * ```ts
 * import { type Format, Formats } from "monocloud-sessions";
 *
 * // The lines of NDJSON, in a file of another ending.
 * const lines: Format.Format = { ...Formats.make("ndjson"), name: "lines", extension: "jsonl" };
 * Formats.register(lines);
 * console.assert(Formats.ofPath("sessions.jsonl.gz")?.format.name === "lines");
 * ```
 */
export const register = (format: Format): void => {
  const { name, extension } = format;
  const refuse = (why: string) => new TypeError(`Cannot register the format ${JSON.stringify(name)}: ${why}`);
  if (!/^[a-z][a-z0-9_]{0,31}$/.test(name)) {
    throw refuse("a name is letters a to z, digits and _, at most 32");
  }
  if (!/^[a-z0-9]{1,16}$/.test(extension) || extension === "gz") throw refuse("its extension is none");
  if (reserved.has(name)) throw refuse("datasets have a folder of that name");
  if (registry.has(name)) throw refuse("there is one of that name");
  if (all().some((other) => other.extension === extension)) throw refuse(`.${extension} is another format's`);
  registry.set(name, () => format);
};

/** Give every format, with its options left at their defaults. */
export const all = (): ReadonlyArray<Format> => names().map((name) => make(name));

/** Give the names of all formats, in the order to list them in. */
export const names = (): ReadonlyArray<FormatName> => [
  ...builtInNames,
  ...[...registry.keys()].filter((name) => !Object.hasOwn(builtIn, name)),
];

/** Give the names of all formats, the one that alters rows least first. */
export const byFidelity = (): ReadonlyArray<FormatName> => [...registry.keys()];

/** Give the format of that name; undefined if there is none. */
export const find = (name: string, options: FormatOptions = {}): Format | undefined =>
  registry.get(name)?.(options);

/**
 * Give the format of that name.
 *
 * @throws {TypeError} on a name that there is not, and on an option of the wrong type or out of range.
 *
 * @example
 * ```ts
 * import { Formats } from "monocloud-sessions";
 *
 * const files = ["ndjson", "csv", "parquet"].map((name) => `part-00000.${Formats.make(name).extension}`);
 * console.assert(files.join() === "part-00000.ndjson,part-00000.csv,part-00000.parquet");
 * ```
 */
export const make = (name: FormatName, options: FormatOptions = {}): Format => {
  const format = find(name, options);
  if (format !== undefined) return format;
  throw new TypeError(Options.unknown("format", name, names()));
};

/** A format, and whether its file is compressed as well. */
export interface Choice {
  readonly format: Format;
  readonly gzip: boolean;
}

/** Give what {@link choose} understands: `ndjson`, `ndjson.gz`, `csv`, `csv.gz`, `parquet`. */
export const choices = (): ReadonlyArray<string> =>
  all().flatMap(({ name, gzip }) => gzip ? [name, `${name}.gz`] : [name]);

/** Give the format that a choice such as `csv.gz` names; undefined if there is none. */
export const choose = (choice: string, options: FormatOptions = {}): Choice | undefined => {
  const gzip = choice.endsWith(".gz");
  const format = find(gzip ? choice.slice(0, -3) : choice, options);
  return format === undefined || (gzip && !format.gzip) ? undefined : { format, gzip };
};

/** Give what a choice is named: `csv.gz`. */
export const nameOf = ({ format, gzip }: Choice): string => gzip ? `${format.name}.gz` : format.name;

/** Give the ending of a choice's files, without the dot: `csv.gz`. */
export const extensionOf = ({ format, gzip }: Choice): string =>
  gzip ? `${format.extension}.gz` : format.extension;

/** Tell whether a format's files have this extension. */
export const isExtension = (extension: string): boolean =>
  all().some((format) => format.extension === extension);

/** Give the endings of all choices, with their dots, for messages. */
export const endings = (): string => choices().map((name) => `.${extensionOf(choose(name)!)}`).join(" ");

/** Give the format that a file's name ends with; undefined if it ends with none. */
export const ofPath = (path: string, options: FormatOptions = {}): Choice | undefined => {
  const name = choices().find((name) => path.endsWith(`.${extensionOf(choose(name)!)}`));
  return name === undefined ? undefined : choose(name, options);
};
