/**
 * A folder that holds an export: one folder for each format, and a manifest that is written last, so that its presence
 * means the export is complete.
 *
 * ```
 * out/
 *   manifest.json
 *   ndjson/part-00000.ndjson
 *   csv/part-00000.csv
 *   parquet/part-00000.parquet
 *   rejected/part-00000.ndjson   if there are any
 * ```
 *
 * @module
 */
import { mkdir, readdir } from "node:fs/promises";
import { join, relative, sep } from "node:path";
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import { columns, sqlTypes } from "../Columns.ts";
import type { Report, Target } from "../Export.ts";
import type { Choice } from "../format/Formats.ts";
import * as File from "../output/File.ts";
import * as Gzip from "../output/Gzip.ts";
import { type Output, OutputError } from "../output/Output.ts";
import { version } from "../version.ts";

/** The folder can't be exported into. */
export class DirectoryError extends Data.TaggedError("DirectoryError")<{
  readonly reason: "Occupied";
  readonly path: string;
  readonly message: string;
}> {}

/** A folder that is ready to be exported into. */
export interface Directory {
  readonly targets: ReadonlyArray<Target>;
  readonly rejects: Output;
  /** Completes the folder: writes the manifest, with these facts about the run besides the report. */
  readonly complete: (
    report: Report,
    facts: Readonly<Record<string, unknown>>,
  ) => Effect.Effect<void, OutputError>;
}

/** The shape of `manifest.json`; it changes with the meaning of what is there, not with additions. */
export const manifestVersion = 1;

const partFolders = ["ndjson", "csv", "parquet", "rejected"];

const makeFolder = (path: string) =>
  Effect.tryPromise({
    try: () => mkdir(path, { recursive: true }),
    catch: (cause) => new OutputError({ reason: "Open", path, cause }),
  });

const namesIn = (path: string) =>
  Effect.tryPromise({
    try: (): Promise<Array<string>> =>
      readdir(path).catch((error) => error.code === "ENOENT" ? [] : Promise.reject(error)),
    catch: (cause) => new OutputError({ reason: "Open", path, cause }),
  });

const part = (root: string, folder: string, extension: string): Output => {
  const file = File.make(join(root, folder, `part-00000.${extension}`));
  return { name: file.name, open: Effect.zipRight(makeFolder(join(root, folder)), file.open) };
};

const refuseOccupied = (root: string) =>
  Effect.gen(function* () {
    const isFinished = (yield* namesIn(root)).includes("manifest.json");
    const parts = yield* Effect.forEach(partFolders, (folder) => namesIn(join(root, folder)));
    const isBegun = parts.flat().some((name) => !name.endsWith(".partial"));
    if (!isFinished && !isBegun) return;
    const holds = isFinished ? "a finished export" : "parts of an export that did not finish";
    return yield* Effect.fail(
      new DirectoryError({
        reason: "Occupied",
        path: root,
        message:
          `Cannot export into ${root}: it holds ${holds}. Choose another folder, or remove this one first`,
      }),
    );
  });

/** Makes a folder ready: creates it if need be, and refuses one that holds an export already. */
export const open = (
  root: string,
  parts: ReadonlyArray<Choice>,
): Effect.Effect<Directory, DirectoryError | OutputError> =>
  Effect.gen(function* () {
    yield* refuseOccupied(root);
    yield* makeFolder(root);
    return {
      targets: parts.map(({ format, gzip }): Target => {
        const output = part(root, format.name, gzip ? `${format.extension}.gz` : format.extension);
        return { format, output: gzip ? Gzip.make(output) : output };
      }),
      rejects: part(root, "rejected", "ndjson"),
      complete: (report, facts) => {
        const manifest = {
          manifest_version: manifestVersion,
          created_by: `monocloud-sessions ${version}`,
          ...facts,
          columns: columns.map(({ name, kind, nullable }) => ({ name, type: sqlTypes[kind], nullable })),
          ...report,
          files: report.files.map(({ name, ...file }) => ({
            path: relative(root, name).split(sep).join("/"),
            ...file,
          })),
        };
        return Effect.scoped(Effect.gen(function* () {
          const sink = yield* File.make(join(root, "manifest.json")).open;
          yield* sink.write(new TextEncoder().encode(`${JSON.stringify(manifest, null, 2)}\n`));
          yield* sink.commit;
        }));
      },
    };
  });
