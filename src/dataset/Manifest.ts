/**
 * Contents of `manifest.json` and `journal.ndjson`, read and written. In memory a dataset of version 1 has the names of
 * version 2; on the disk it keeps its own.
 */
import * as Either from "effect/Either";
import * as Schema from "effect/Schema";
import { noProgress as emptyProgress } from "../export/Export.ts";
import * as Formats from "../format/Formats.ts";
import * as Json from "../format/Json.ts";
import { columns, first, sqlTypes } from "../session/Columns.ts";
import { version } from "../version.ts";
import { damaged, DatasetError } from "./DatasetError.ts";
import { type Shape, type ShapeName, shapes, type Version } from "./Shapes.ts";

export { folderOf, type LineKind, MOST, type Version } from "./Shapes.ts";

/** The version of new datasets. */
export const manifestVersion = 2;

/** The shapes that are told of a dataset, whatever its version. */
export const { Part, Run } = shapes[manifestVersion];

export type Part = Shape<"Part">;

export type Run = Shape<"Run">;

export type Manifest = Shape<"Manifest">;

export type RunProgress = Shape<"RunProgress">;

export type Header = Shape<"Header">;

/** Every further line of a journal. */
export type Checkpoint = Shape<"Checkpoint">;

/** Tell whether a part was written to be read by others, and not for the next run. */
export const isResult = ({ format }: Part): boolean => format !== "cursors" && format !== "observed";

/** Give the names of the columns that this version writes; none for parts that hold no sessions. */
export const columnsOf = (format: string): Pick<Part, "columns"> => {
  const found = Formats.find(format);
  return found === undefined ? {} : { columns: found.columns };
};

/** Give the columns of a part. Version 0.1 did not record them. */
export const columnsIn = ({ columns = first }: Part): ReadonlyArray<string> => columns;

/** The columns that this version writes, with their SQL types. */
export const ownColumns: Manifest["columns"] = columns.map(({ name, kind, nullable }) => ({
  name,
  type: sqlTypes[kind],
  nullable,
}));

export const empty = (tenant: string, its: Version = manifestVersion): Manifest => ({
  manifest_version: its,
  created_by: `monocloud-sessions ${version}`,
  dataset_id: crypto.randomUUID(),
  tenant,
  columns: ownColumns,
  runs: [],
  parts: [],
  failed: [],
});

export const noProgress = (): RunProgress => ({
  position: 0,
  open: [],
  failed: [],
  progress: emptyProgress(),
  missing: [],
  unverified: [],
  seconds: 0,
  requests: 0,
  retries: 0,
});

const write = <Name extends ShapeName>(name: Name, value: Shape<Name>, its: Version): unknown =>
  Schema.encodeSync(shapes[its][name] as unknown as Schema.Schema<Shape<Name>, unknown>)(value);

/** Give the manifest as its file has it: on several lines, but for lists of names. */
export const textOf = (manifest: Manifest): string =>
  `${
    JSON.stringify(write("Manifest", manifest, manifest.manifest_version), null, 2).replace(
      // Lists of more would take more stack than there is.
      /\[\n\s+("[^\n]*"(?:,\n\s+"[^\n]*"){0,9999})\n\s+\]/g,
      (_, names: string) => `[${names.replace(/,\n\s+/g, ", ")}]`,
    )
  }\n`;

/** Give a line of a journal of that version. */
export const lineOf = <Name extends "Header" | "Checkpoint">(
  name: Name,
  value: Shape<Name>,
  its: Version,
): string => `${JSON.stringify(write(name, value, its))}\n`;

const versionOf = (value: unknown): unknown => {
  const { manifest_version, journal_version } = (value ?? {}) as Readonly<Record<string, unknown>>;
  return manifest_version ?? journal_version;
};

/**
 * Read JSON of one of these shapes. A line of a journal is of the version that its header has.
 *
 * @throws {DatasetError} that says what is wrong with it, and what to do.
 */
export const decode = <Name extends ShapeName>(
  name: Name,
  path: string,
  text: string,
  its?: Version,
): Shape<Name> => {
  let value: unknown;
  try {
    value = Json.parse(text);
  } catch (error) {
    throw damaged(path, (error as Error).message);
  }
  const found = its ?? versionOf(value);
  if (typeof found === "number" && found > manifestVersion) {
    throw new DatasetError({
      reason: "Version",
      path,
      message:
        `${path} has version ${found} and this program knows ${manifestVersion}: use the newer monocloud-sessions that wrote it`,
    });
  }
  const schema = shapes[found === 1 ? 1 : manifestVersion][name];
  return Either.getOrThrowWith(
    Schema.decodeUnknownEither(schema as unknown as Schema.Schema<Shape<Name>, unknown>)(value),
    (error) => damaged(path, Json.flawOf(error)),
  );
};
