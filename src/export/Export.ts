/**
 * The driver: batches from a source, through every encoder, to every output.
 *
 * @module
 */
import * as Cause from "effect/Cause";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Option from "effect/Option";
import type * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import type * as Batch from "../session/Batch.ts";
import * as Options from "../options/Options.ts";
import type { SinkError } from "../sink/Sink.ts";
import type { ExportError } from "./ExportError.ts";
import { type FilesOptions, openFiles } from "./FileSet.ts";
import {
  checkQuarantined,
  checkUsers,
  count,
  type MaxQuarantined,
  noTally,
  type Progress,
  type Report,
  reportOf,
  type Tally,
} from "./RunStats.ts";

export { ExportError, invalidRow, noSuchUsers } from "./ExportError.ts";
export * from "./FileSet.ts";
export * from "./RunStats.ts";
export type { Unverified, UnverifiedOptions } from "./Verdict.ts";

/** Options of an export. */
export interface ExportOptions<E, R> extends FilesOptions {
  readonly source: Stream.Stream<Batch.Batch, E, R>;
  /** Limit of quarantined rows: beyond it the run fails, as one that is plainly wrong. @default {any number} */
  readonly maxQuarantined?: MaxQuarantined | undefined;
  /** Kept up to date as the export goes on. */
  readonly progress?: Progress | undefined;
  /** Runs once every output is complete. Whoever interrupts comes too late then, and this runs to its end. */
  readonly onComplete?: ((report: Report) => Effect.Effect<void, SinkError>) | undefined;
}

/** Options for rows that are no sessions. */
export type QuarantineOptions = Pick<ExportOptions<never, never>, "onInvalid" | "maxQuarantined">;

/** See {@link QuarantineOptions}. */
export const quarantineNames: Options.Names<QuarantineOptions> = {
  onInvalid: Options.oneOf(["quarantine", "fail"]),
  maxQuarantined: Options.exactlyOne<MaxQuarantined>({ count: Options.number, percent: Options.number }),
};

/** Options of {@link drain}. */
export interface DrainOptions<E, R, E2, R2> extends Pick<ExportOptions<E, R>, "source" | "maxQuarantined"> {
  /** Counts of what was taken, which `take` keeps. */
  readonly tally: Tally;
  readonly take: (batch: Batch.Batch) => Effect.Effect<unknown, E2, R2>;
  /** Lets the wait for a batch be interrupted. */
  readonly restore: <A, E, R>(work: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>;
}

/**
 * Takes each batch of a source, in order. Gives why that was broken off, by the source or by too many quarantined rows; an empty
 * cause where it came to its end. A stream's own runners would do, but keep a hold on every chunk until the next full collection.
 */
export const drain = <E, R, E2, R2>(
  { source, take, tally, maxQuarantined, restore }: DrainOptions<E, R, E2, R2>,
): Effect.Effect<Cause.Cause<E | ExportError>, E2, Exclude<R | R2, Scope.Scope>> =>
  Effect.scoped(Effect.gen(function* () {
    const pull = yield* Stream.toPull(source);
    while (true) {
      const pulled = yield* Effect.exit(restore(pull));
      if (Exit.isFailure(pulled)) {
        return Option.getOrElse(Cause.flipCauseOption(pulled.cause), (): Cause.Cause<E> => Cause.empty);
      }
      for (const batch of pulled.value) {
        yield* take(batch);
        const judged = yield* Effect.exit(checkQuarantined(tally, maxQuarantined, "now"));
        if (Exit.isFailure(judged)) return judged.cause;
      }
    }
  }));

/**
 * Runs an export to its end and reports what it did. Outputs become complete together at the end; if the export fails or
 * is interrupted, none of them does.
 *
 * Fails with what the source and the outputs fail with, and with an {@link ExportError}.
 *
 * Memory: one batch, what each encoder holds (Parquet: a row group), and what the source holds.
 *
 * @example
 * ```ts
 * import { Batch, Export, Formats, Sinks } from "monocloud-sessions";
 * import * as Effect from "effect/Effect";
 * import * as Stream from "effect/Stream";
 *
 * const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
 * const csv = new Response(readable).text();
 * const report = await Effect.runPromise(Export.run({
 *   source: Stream.make(Batch.make("alice", [
 *     { session_id: "S1", client_ids: [], initiated_at: 1640975400, expires_at: 1640983490, last_updated: 1640975400 },
 *   ])),
 *   targets: [{ format: Formats.make("csv"), output: Sinks.web("csv", writable) }],
 * }));
 * console.assert(report.sessions === 1 && (await csv).includes("alice,S1"));
 * ```
 */
export const run = <E, R>(
  options: ExportOptions<E, R>,
): Effect.Effect<Report, E | SinkError | ExportError, Exclude<R, Scope.Scope>> =>
  Effect.scoped(Effect.gen(function* () {
    const began = yield* Clock.currentTimeMillis;
    const tally = noTally(options.progress);
    const files = yield* openFiles(options);
    const take = (batch: Batch.Batch) =>
      Effect.map(files.write(batch), (bytes) => {
        tally.progress.encodedBytes += bytes;
        count(tally, batch);
      });
    const broken = yield* drain({ ...options, tally, take, restore: (work) => work });
    if (!Cause.isEmpty(broken)) return yield* Effect.failCause(broken);
    yield* checkUsers(tally);
    yield* checkQuarantined(tally, options.maxQuarantined, "end");
    return yield* files.commit((complete) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const report = reportOf(tally, complete, (now - began) / 1000);
        return Effect.as(options.onComplete?.(report) ?? Effect.void, report);
      })
    );
  }));
