/**
 * The parts of one number, in the making: the same rows in every format, the rows put aside, and the marks for the next run.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Scope from "effect/Scope";
import type { Batch } from "../Batch.ts";
import * as Export from "../Export.ts";
import type { Choice } from "../format/Formats.ts";
import * as Gzip from "../output/Gzip.ts";
import type { OutputError, Sink } from "../output/Output.ts";
import * as Folder from "./Folder.ts";
import type { Part } from "./Manifest.ts";
import * as Marks from "./Marks.ts";

/** Which parts to make, and where. */
export interface PartsOptions {
  readonly root: string;
  readonly formats: ReadonlyArray<Choice>;
  readonly onInvalid: "quarantine" | "fail" | undefined;
  readonly run: number;
}

/** Parts in the making. Each file is opened when the first row for it comes. */
export interface Parts {
  /** Gives the bytes encoded. */
  readonly write: (batch: Batch) => Effect.Effect<number, OutputError | Export.ExportError>;
  readonly keepMark: (userId: string, mark: string) => Effect.Effect<void, OutputError>;
  /** Makes sure that there is a file of each format, if only with its columns. */
  readonly openFiles: Effect.Effect<unknown, OutputError>;
  /** Rows of any kind, and the bytes of the largest file before compression. */
  readonly size: () => { readonly rows: number; readonly bytes: number };
  /** Completes the files that were opened. */
  readonly commit: Effect.Effect<ReadonlyArray<Part>, OutputError>;
  /** Removes the files that were not completed. */
  readonly discard: Effect.Effect<void>;
}

const utf8 = new TextEncoder();

/** Parts of this number. */
export const make = (
  { root, formats, onInvalid, run }: PartsOptions,
  number: number,
): Effect.Effect<Parts> =>
  Effect.map(Scope.make(), (scope) => {
    let files: Export.Files | undefined;
    let marks: Sink | undefined;
    let markRows = 0;
    const marksPath = Folder.partPath("state", number, "ndjson");

    const openFiles = Effect.gen(function* () {
      const targets = formats.map(({ format, gzip }): Export.Target => {
        const extension = gzip ? `${format.extension}.gz` : format.extension;
        const output = Folder.part(root, Folder.partPath(format.name, number, extension));
        return { format, output: gzip ? Gzip.make(output) : output };
      });
      const rejects = Folder.part(root, Folder.partPath("rejected", number, "ndjson"));
      return files ??= yield* Scope.extend(Export.openFiles({ targets, rejects, onInvalid }), scope);
    });

    const partOf = (
      file: Omit<Export.ExportedFile, "format"> & { readonly format: Part["format"] },
    ): Part => ({
      path: file.name,
      format: file.format,
      part: number,
      run,
      rows: file.rows,
      bytes: file.bytes,
      sha256: file.sha256 ?? "",
      ...(file.initiatedAt && { initiated_at: file.initiatedAt }),
    });

    return {
      write: (batch) => Effect.flatMap(openFiles, (files) => files.write(batch)),
      keepMark: (userId, mark) =>
        Effect.gen(function* () {
          marks ??= yield* Scope.extend(Folder.part(root, marksPath).open, scope);
          markRows++;
          yield* marks.write(utf8.encode(Marks.lineOf(userId, mark)));
        }),
      openFiles,
      size: () => {
        const { rows = 0, rejected = 0, bytes = 0 } = files?.size() ?? {};
        return { rows: rows + rejected + markRows, bytes };
      },
      commit: Effect.gen(function* () {
        const complete = files === undefined ? [] : yield* files.commit;
        const parts = complete.map(partOf);
        if (marks !== undefined) {
          parts.push(partOf({ name: marksPath, format: "state", rows: markRows, ...yield* marks.commit }));
        }
        return parts;
      }),
      discard: Scope.close(scope, Exit.void),
    };
  });
