/**
 * The parts of one number, in the making: the same rows in every format, the rows quarantined, and what else is kept line by line.
 */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Scope from "effect/Scope";
import type { Batch } from "../session/Batch.ts";
import * as Export from "../export/Export.ts";
import * as Formats from "../format/Formats.ts";
import type { OpenSink } from "../sink/Sink.ts";
import * as Layout from "./Layout.ts";
import { columnsOf, folderOf, type LineKind, type Part, type Version } from "./Manifest.ts";

export interface PartsOptions {
  readonly root: string;
  readonly formats: ReadonlyArray<Formats.Choice>;
  readonly onInvalid: "quarantine" | "fail" | undefined;
  readonly run: number;
  /** Version of the dataset, which names the folders of parts that hold no sessions. */
  readonly version: Version;
  /** Awaited before a part gets its name. */
  readonly prove: Layout.Proof;
}

/** Parts in the making. Each file is opened when the first row for it comes. */
export type Parts = Effect.Effect.Success<ReturnType<typeof make>>;

const utf8 = new TextEncoder();

export const make = (
  { root, formats, onInvalid, run, version, prove }: PartsOptions,
  number: number,
) =>
  Effect.map(Scope.make(), (scope) => {
    let files: Export.Files | undefined;
    const kept = new Map<LineKind, { readonly name: string; readonly sink: OpenSink; rows: number }>();

    const lines = (kind: LineKind) =>
      Layout.part(root, Layout.partPath(folderOf(kind, version), number, "ndjson"), prove);

    const openFiles = Effect.gen(function* () {
      const targets = formats.map((choice) => {
        const path = Layout.partPath(choice.format.name, number, Formats.extensionOf(choice));
        return Export.targetOf(choice, Layout.part(root, path, prove));
      });
      const quarantine = lines("quarantine");
      return files ??= yield* Scope.extend(Export.openFiles({ targets, quarantine, onInvalid }), scope);
    });

    const partOf = (
      file: Export.ExportedFile,
    ): Part => ({
      path: file.name,
      format: file.format,
      part: number,
      run,
      rows: file.rows,
      bytes: file.bytes,
      sha256: file.sha256 ?? "",
      ...(file.initiatedAt && { initiated_at: file.initiatedAt }),
      ...columnsOf(file.format),
    });

    return {
      /** Gives the bytes encoded. */
      write: (batch: Batch) => Effect.flatMap(openFiles, (files) => files.write(batch)),
      /** Adds lines, each with its line break, or makes sure that there is such a file. */
      keep: (kind: LineKind, texts: ReadonlyArray<string>) =>
        Effect.gen(function* () {
          let file = kept.get(kind);
          if (file === undefined) {
            const output = lines(kind);
            file = { name: output.name, sink: yield* Scope.extend(output.open, scope), rows: 0 };
            kept.set(kind, file);
          }
          file.rows += texts.length;
          yield* file.sink.write(utf8.encode(texts.join("")));
        }),
      /** Makes sure that there is a file of each format, if only with its columns. */
      openFiles,
      /** Counts rows of any kind, and the bytes of the largest file before compression. */
      size: () => {
        const { rows = 0, quarantined = 0, bytes = 0 } = files?.size() ?? {};
        const others = [...kept.values()].reduce((sum, file) => sum + file.rows, 0);
        return { rows: rows + quarantined + others, bytes };
      },
      commit: Effect.gen(function* () {
        const complete = files === undefined ? [] : yield* files.commit(Effect.succeed);
        const parts = complete.map(partOf);
        for (const [format, { name, sink, rows }] of kept) {
          parts.push(partOf({ name, format, rows, ...yield* sink.commit }));
        }
        return parts;
      }),
      /** Removes the files that were not completed. */
      discard: Scope.close(scope, Exit.void),
    };
  });
