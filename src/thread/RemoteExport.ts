/** One export that runs in another thread, seen from this one. */
import type * as Worker from "@effect/platform/Worker";
import { isWorkerError, type WorkerError } from "@effect/platform/WorkerError";
import * as Deferred from "effect/Deferred";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as ParseResult from "effect/ParseResult";
import * as Redacted from "effect/Redacted";
import * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import type * as Export from "../export/Export.ts";
import * as Formats from "../format/Formats.ts";
import * as Options from "../options/Options.ts";
import { commitAll, type OpenSink, type Sink, type SinkError } from "../sink/Sink.ts";
import type * as TenantClient from "../api/TenantClient.ts";
import { quoteWithout } from "../api/Quote.ts";
import type * as SessionSource from "../source/SessionSource.ts";
import type { Report } from "../plain/Report.ts";
import {
  Acknowledge,
  AwaitEnd,
  contentNames,
  type ContentOptions,
  type Event,
  type Failure,
  type Place,
  type Request,
  StartExport,
  tenantKind,
  walkKind,
} from "./Messages.ts";
import { ThreadError } from "./ThreadError.ts";
import { patiently } from "./WorkerPort.ts";

/** A format and where it goes. */
export interface Target {
  readonly format: Formats.BuiltIn;
  /** Compressed as well, in the thread. @default {false} */
  readonly gzip?: boolean | undefined;
  /** The path of a file, which the thread writes, or an output of this thread, which gets the bytes. */
  readonly to: string | Sink;
}

/** Options of an export: plain values, but for outputs and callbacks, which stay in this thread. */
export interface ExportOptions extends ContentOptions {
  readonly tenant: TenantClient.TenantOptions;
  /** User ids, each once, or `"all"` for every user of the tenant. */
  readonly users: ReadonlyArray<string> | "all";
  readonly walk?: SessionSource.WalkOptions | undefined;
  readonly targets: ReadonlyArray<Target>;
  /** The output for quarantined rows, as NDJSON. Left out, they are only counted. */
  readonly quarantine?: Target["to"] | undefined;
  /** Told how far the export has come, when it has come further. */
  readonly onProgress?: ((progress: Export.Progress) => void) | undefined;
  /** The shortest time between two such calls. @default {"250 millis"} */
  readonly progressEvery?: Duration.DurationInput | undefined;
  /**
   * The number of bytes that may be on the way to outputs of this thread: once they are, the walk waits. A larger message,
   * such as a Parquet row group, goes alone.
   *
   * @default {1_048_576, 1 MiB}
   */
  readonly windowBytes?: number | undefined;
}

const target = Options.object<Target>({
  format: Options.oneOf(Formats.builtInNames),
  gzip: Options.boolean,
  to: Options.any,
}, { required: ["format", "to"] });

export const optionNames: Options.Names<ExportOptions> = {
  ...contentNames,
  onProgress: Options.callback,
  tenant: tenantKind,
  users: Options.textOr(Options.oneOf(["all"]), Options.list(Options.text)),
  walk: walkKind,
  targets: Options.list(target),
  quarantine: Options.any,
  progressEvery: Options.any,
  windowBytes: Options.number,
};

/** A secret as a message can hold it. */
const textOf = (secret: string | Redacted.Redacted): string =>
  Redacted.isRedacted(secret) ? Redacted.value(secret) : secret;

const millis = (duration: Duration.DurationInput | undefined) =>
  duration === undefined ? undefined : Duration.toMillis(duration);

/** Loaded only where there is a file, for there are runtimes without. */
const loadFile = Effect.promise(() => import("../sink/FileSink.ts"));

const placeOf = (to: Target["to"]): Effect.Effect<Place> =>
  typeof to === "string"
    ? Effect.map(loadFile, ({ partialOf }) => ({ file: to, partial: partialOf(to) }))
    : Effect.succeed({ caller: to.name });

/** Remove what a thread may have left of files: nothing, if it has had the time to undo them. */
const removePartials = (places: ReadonlyArray<Place>): Effect.Effect<void> =>
  Effect.forEach(
    places,
    (place) =>
      "file" in place ? Effect.flatMap(loadFile, (File) => File.removePartial(place.partial)) : Effect.void,
    { discard: true },
  );

const outputsOf = ({ targets, quarantine }: ExportOptions): ReadonlyArray<Target["to"]> => [
  ...targets.map(({ to }) => to),
  ...(quarantine === undefined ? [] : [quarantine]),
];

const messageFor = (exportId: number, options: ExportOptions, places: ReadonlyArray<Place>): StartExport => {
  const { tenant, users, walk = {}, redact, targets, windowBytes = 1 << 20 } = options;
  if (!Number.isSafeInteger(windowBytes) || windowBytes < 1) {
    throw new RangeError(
      `Cannot export in a thread as 'windowBytes' must be a positive integer: it is ${windowBytes}`,
    );
  }
  return new StartExport({
    exportId,
    tenant: {
      ...tenant,
      apiKey: textOf(tenant.apiKey),
      timeout: millis(tenant.timeout),
      maxElapsed: millis(tenant.maxElapsed),
      baseDelay: millis(tenant.baseDelay),
      maxDelay: millis(tenant.maxDelay),
    },
    users,
    walk,
    redact: redact && { ...redact, secret: redact.secret && textOf(redact.secret) },
    targets: targets.map(({ format, gzip = false }, index) => ({ format, gzip, to: places[index]! })),
    quarantine: places[targets.length],
    onInvalid: options.onInvalid,
    maxQuarantined: options.maxQuarantined,
    csv: options.csv,
    parquet: options.parquet,
    windowBytes,
    progressEvery: Duration.toMillis(options.progressEvery ?? 250),
  });
};

/** Opens the outputs of this thread, by number. Those of the targets are opened before anything is asked of the tenant. */
const openOutputs = (options: ExportOptions) =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope;
    const { targets } = options;
    const places = outputsOf(options);
    const sinks = new Map<number, OpenSink>();
    const sinkOf = (index: number): Effect.Effect<OpenSink, SinkError> =>
      Effect.suspend(() => {
        const sink = sinks.get(index);
        return sink !== undefined ? Effect.succeed(sink) : Effect.tap(
          Scope.extend((places[index] as Sink).open, scope),
          (sink) => Effect.sync(() => sinks.set(index, sink)),
        );
      });
    yield* Effect.forEach(targets, ({ to }, index) => typeof to === "string" ? Effect.void : sinkOf(index));
    return {
      write: ({ output, chunks }: Extract<Event, { readonly _tag: "Bytes" }>) =>
        Effect.flatMap(sinkOf(output), ({ write }) =>
          Effect.forEach(chunks, (chunk) =>
            write(chunk as Uint8Array<ArrayBuffer>), { discard: true })),
      /** Completes them, and puts what they hold into the report. */
      commit: (report: Report) =>
        commitAll([...sinks.values()], (receipts) => {
          const hasQuarantine = report.files[0]?.format === "quarantine";
          const files = report.files.map((file, position): Export.ExportedFile => {
            // The quarantined rows come first in a report, and last by number.
            const index = !hasQuarantine ? position : position === 0 ? targets.length : position - 1;
            const sink = sinks.get(index);
            return sink === undefined ? file : { ...file, ...receipts.get(sink)! };
          });
          return Effect.succeed({
            ...report,
            files,
            bytes: files.reduce((sum, { bytes }) =>
              sum + bytes, 0),
          });
        }),
    };
  });

/** Give the error that the thread failed with, without the key, which others may quote. */
const threadError = <E>(
  error: E | WorkerError | ParseResult.ParseError | ThreadError,
  { tenant }: ExportOptions,
) => {
  const quote = quoteWithout(textOf(tenant.apiKey));
  if (error instanceof ThreadError) {
    return new ThreadError({ reason: error.reason, detail: quote(error.detail) });
  }
  if (isWorkerError(error)) return new ThreadError({ reason: "Crashed", detail: quote(String(error.cause)) });
  // Not in its words: they quote what was sent.
  return ParseResult.isParseError(error)
    ? new ThreadError({ reason: "Protocol", detail: "a message does not fit its schema" })
    : error as E;
};

/** A thread that is listening, until it crashes. */
export interface Listening {
  readonly worker: Worker.SerializedWorker<Request>;
  readonly crash: Deferred.Deferred<never, ThreadError>;
  /** Done when nothing of it is left after that. */
  readonly over: Deferred.Deferred<void>;
}

/** Runs an export in the thread. The number tells it from others there. */
export const run = (
  { worker, crash, over }: Listening,
  exportId: number,
  options: ExportOptions,
): Effect.Effect<Report, Failure | ThreadError> =>
  Effect.scoped(Effect.gen(function* () {
    const places = yield* Effect.forEach(outputsOf(options), placeOf);
    const start = messageFor(exportId, options, places);
    const outputs = yield* openOutputs(options);
    const crashed = Deferred.await(crash);
    const gone = Effect.whenEffect(Deferred.await(over), Deferred.isDone(crash));
    yield* Effect.addFinalizer((exit) =>
      Exit.isSuccess(exit)
        ? Effect.void
        : patiently(Effect.raceFirst(worker.executeEffect(new AwaitEnd({ exportId })), crashed)).pipe(
          Effect.zipRight(patiently(gone)),
          Effect.zipRight(removePartials(places)),
        )
    );
    let report: Report | undefined;
    const follow = Stream.runForEach(worker.execute(start), (event) => {
      switch (event._tag) {
        case "Bytes": {
          const bytes = event.chunks.reduce((sum, { length }) => sum + length, 0);
          return Effect.zipRight(
            outputs.write(event),
            worker.executeEffect(new Acknowledge({ exportId, bytes })),
          );
        }
        case "Progress":
          return Effect.sync(() => options.onProgress?.(event.progress));
        case "Done":
          return Effect.sync(() => void (report = event.report));
      }
    });
    yield* Effect.raceFirst(follow, crashed);
    // Without one, the thread was closed: its scope has ended.
    return yield* report === undefined ? Effect.interrupt : outputs.commit(report);
  })).pipe(Effect.mapError((error) => threadError(error, options)));
