/**
 * Exports in a thread of their own: the thread that asked stays free, and gets progress, bytes and a report.
 *
 * @module
 */
import * as Worker from "@effect/platform/Worker";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as ExecutionStrategy from "effect/ExecutionStrategy";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import * as LogLevel from "effect/LogLevel";
import * as Scope from "effect/Scope";
import * as Options from "../options/Options.ts";
import type { AnyWorker, ThreadOptions } from "./AnyWorker.ts";
import type { Report } from "../plain/Report.ts";
import type { Failure, Request } from "./Messages.ts";
import * as RemoteExport from "./RemoteExport.ts";
import * as Spawn from "./Spawn.ts";
import { ThreadError } from "./ThreadError.ts";
import { platform } from "./WorkerPort.ts";

export type { ThreadOptions } from "./AnyWorker.ts";
export type { Redaction } from "./Messages.ts";
export type { ExportOptions, Target } from "./RemoteExport.ts";
export type { Report } from "../plain/Report.ts";

export const optionNames: Options.Names<ThreadOptions> = { spawn: Options.callback };

const threadKind = Options.object(optionNames);
const exportKind = Options.object(RemoteExport.optionNames, { required: ["tenant", "users", "targets"] });

/** A thread that runs exports. */
export interface Thread {
  /**
   * Runs an export to its end and reports what it did. What fails there fails here, as the same class with the same reason
   * and message. Several may run at once; they share the thread's one core, but each has a rate limit of its own.
   *
   * Interrupting it ends the requests and waits until what was written is undone. After a crash every export of the thread
   * has failed, what it had not completed is removed, and the next one gets a new thread.
   *
   * An option that there is not, or of the wrong kind, is a TypeError before anything is asked of the tenant.
   *
   * Fails with an `ApiError`, a `SinkError`, an `ExportError` and a `TenantError` as an export in this thread does, and with
   * a {@link ThreadError}.
   */
  readonly run: (options: RemoteExport.ExportOptions) => Effect.Effect<Report, Failure | ThreadError>;
}

const incarnate = (
  spawn: () => AnyWorker,
  scope: Scope.Scope,
): Effect.Effect<RemoteExport.Listening, ThreadError> =>
  Effect.gen(function* () {
    const crash = yield* Deferred.make<never, ThreadError>();
    const over = yield* Deferred.make<void>();
    const own = yield* Scope.fork(scope, ExecutionStrategy.sequential);
    const onEnd = (detail: string, isReady: boolean) =>
      Deferred.unsafeDone(
        crash,
        Exit.fail(new ThreadError({ reason: isReady ? "Crashed" : "Spawn", detail })),
      );
    // The platform would start it again, once a second for ever.
    yield* Effect.forkIn(
      Effect.catchAll(
        Deferred.await(crash),
        () => Effect.zipRight(Scope.close(own, Exit.void), Deferred.succeed(over, undefined)),
      ),
      scope,
    );
    const worker = yield* Worker.makeSerialized<Request>({}).pipe(
      Effect.provide(Layer.provideMerge(Worker.layerManager, platform(spawn, onEnd))),
      Scope.extend(own),
      // What it would log is in the error.
      Logger.withMinimumLogLevel(LogLevel.None),
      Effect.mapError(({ cause }) => new ThreadError({ reason: "Spawn", detail: String(cause) })),
      Effect.raceFirst(Deferred.await(crash)),
      Effect.onExit((exit) => Exit.isFailure(exit) ? Scope.close(own, exit) : Effect.void),
    );
    return { worker, crash, over };
  });

/**
 * Starts a thread, ended with the scope. Fails with a {@link ThreadError} if it does not start.
 *
 * It keeps nothing of one export for the next. On Deno it needs `--allow-read` of this package and of its dependencies, from
 * where threads load their modules, besides `--allow-net` of the tenant; a thread gets the permissions of its caller.
 *
 * Memory: about 15 MB for the thread, its exports as in {@link Export.run}, and for each up to `windowBytes` on the way
 * here.
 *
 * @example
 * ```ts
 * import { Thread } from "monocloud-sessions/effect/thread";
 * import { Sinks } from "monocloud-sessions";
 * import { make, serve } from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 *
 * const sandbox = make({ users: 2, sessionsPerUser: 30 });
 * const server = await serve(sandbox);
 * const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
 * const csv = new Response(readable).text();
 * const report = await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
 *   const thread = yield* Thread.make();
 *   return yield* thread.run({
 *     tenant: { domain: server.url, apiKey: sandbox.key },
 *     users: "all",
 *     targets: [{ format: "csv", to: Sinks.web("csv", writable) }],
 *     onProgress: ({ sessions }) => console.log(sessions),
 *   });
 * })));
 * console.assert(report.sessions === 60 && (await csv).split("\n").length === 62);
 * await server.close();
 * ```
 */
export const make = (given: ThreadOptions = {}): Effect.Effect<Thread, ThreadError, Scope.Scope> =>
  Effect.gen(function* () {
    const options = Options.take("start a thread", threadKind, given);
    const scope = yield* Effect.scope;
    const spawn = options.spawn ?? Spawn.byDefault;
    const turn = yield* Effect.makeSemaphore(1);
    let current = yield* incarnate(spawn, scope);
    let exports = 0;
    const live = turn.withPermits(1)(Effect.gen(function* () {
      if (yield* Deferred.isDone(current.crash)) current = yield* incarnate(spawn, scope);
      return current;
    }));
    return {
      run: (given) =>
        Effect.suspend(() => {
          const options = Options.take("export in a thread", exportKind, given);
          return Effect.flatMap(live, (thread) => RemoteExport.run(thread, exports++, options));
        }),
    };
  });
