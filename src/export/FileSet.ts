/** Files that are written together. */
import * as Effect from "effect/Effect";
import * as Scope from "effect/Scope";
import * as Batch from "../session/Batch.ts";
import type { Format } from "../format/Format.ts";
import type { Choice } from "../format/Formats.ts";
import * as GzipSink from "../sink/GzipSink.ts";
import { commitAll, type OpenSink, type Sink, type SinkError } from "../sink/Sink.ts";
import type { ExportedFile } from "../plain/Report.ts";
import { version } from "../version.ts";
import { type ExportError, invalidRow } from "./ExportError.ts";

/** A format and where it goes. */
export interface Target {
  readonly format: Format;
  readonly output: Sink;
}

/** Give the target of a format: compressed on the way where that is chosen. */
export const targetOf = ({ format, gzip }: Choice, output: Sink): Target => ({
  format,
  output: gzip ? GzipSink.make(output) : output,
});

/** Options of files. */
export interface FilesOptions {
  /** All are written from the same batches; the slowest sets the pace. */
  readonly targets: ReadonlyArray<Target>;
  /**
   * The action for a row that fails the schema: quarantine it, whole, into `quarantine`, or fail.
   *
   * @default {"quarantine"}
   */
  readonly onInvalid?: "quarantine" | "fail" | undefined;
  /** Sink of quarantined rows, as NDJSON; opened when the first one comes. Left out, they are only counted. */
  readonly quarantine?: Sink | undefined;
}

export type { ExportedFile } from "../plain/Report.ts";

const utf8 = new TextEncoder();

const quarantinedLines = (rows: ReadonlyArray<Batch.QuarantinedRow>): Uint8Array<ArrayBuffer> =>
  utf8.encode(
    rows.map(({ userId, source, ...where }) =>
      `${JSON.stringify({ user_id: userId, ...where, version, row: source })}\n`
    ).join(""),
  );

/** Files that are written together from the same batches: the same rows in every format. */
export type Files = Effect.Effect.Success<ReturnType<typeof openFiles>>;

const write = (sink: OpenSink, bytes: Uint8Array<ArrayBuffer>) =>
  bytes.length === 0 ? Effect.void : sink.write(bytes);

/** Opens files to write together. They are undone when the scope closes before they are committed. */
export const openFiles = (
  { targets, quarantine, onInvalid = "quarantine" }: FilesOptions,
) =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope;
    const writers = yield* Effect.forEach(
      targets,
      (target) =>
        Effect.map(
          target.output.open,
          (sink) => ({
            target,
            encoder: target.format.make(),
            sink,
            allocate: sink.allocate?.bind(sink),
            bytes: 0,
          }),
        ),
    );
    let quarantineSink: OpenSink | undefined;
    let [rows, quarantined] = [0, 0];
    let [min, max] = [Infinity, -Infinity];

    const quarantineRows = (batch: Batch.Batch) =>
      Effect.gen(function* () {
        if (onInvalid === "fail") return yield* Effect.fail(invalidRow(batch.quarantined[0]!));
        quarantined += batch.quarantined.length;
        if (quarantine === undefined) return;
        quarantineSink ??= yield* Scope.extend(quarantine.open, scope);
        yield* quarantineSink.write(quarantinedLines(batch.quarantined));
      });

    const encode = (given: Batch.Batch): Effect.Effect<number, SinkError> => {
      const size = Batch.size(given);
      if (size === 0) return Effect.succeed(0);
      // Once, however many encoders there are.
      const batch = Batch.toBytes(given);
      let encoded = 0;
      let written: Effect.Effect<void, SinkError> = Effect.void;
      for (const writer of writers) {
        const bytes = writer.encoder.encode(batch, writer.allocate);
        writer.bytes += bytes.length;
        encoded += bytes.length;
        if (bytes.length === 0) continue;
        const one = writer.sink.write(bytes);
        written = written === Effect.void ? one : Effect.zipRight(written, one);
      }
      rows += size;
      const initiated = Batch.initiated(batch);
      [min, max] = [Math.min(min, initiated.min), Math.max(max, initiated.max)];
      return Effect.as(written, encoded);
    };

    return {
      /** Encodes a batch once for each format; gives the bytes encoded. Writes nothing of it where a row fails the export. */
      write: (batch: Batch.Batch): Effect.Effect<number, SinkError | ExportError> =>
        Effect.suspend(() =>
          batch.quarantined.length > 0 ? Effect.zipRight(quarantineRows(batch), encode(batch)) : encode(batch)
        ),
      /** Counts rows and bytes written so far; bytes of the largest file, before any compression on the way. */
      size: () => ({ rows, quarantined, bytes: Math.max(0, ...writers.map(({ bytes }) => bytes)) }),
      /** Completes the files together, and hands them on before anybody can interrupt. */
      commit: <A, E, R>(
        andThen: (files: ReadonlyArray<ExportedFile>) => Effect.Effect<A, E, R>,
      ): Effect.Effect<A, E | SinkError, R> =>
        Effect.gen(function* () {
          for (const { encoder, sink } of writers) yield* write(sink, encoder.finish());
          const sinks = writers.map(({ sink }) => sink);
          return yield* commitAll(
            quarantineSink === undefined ? sinks : [quarantineSink, ...sinks],
            (receipts) => {
              const initiatedAt = rows === 0 ? {} : { initiatedAt: { min, max } };
              const files: Array<ExportedFile> = writers.map(({ target: { format, output }, sink }) => ({
                name: output.name,
                format: format.name,
                rows,
                ...receipts.get(sink)!,
                ...initiatedAt,
              }));
              if (quarantine !== undefined && quarantineSink !== undefined) {
                const receipt = receipts.get(quarantineSink)!;
                files.unshift({ name: quarantine.name, format: "quarantine", rows: quarantined, ...receipt });
              }
              return andThen(files);
            },
          );
        }),
    };
  });
