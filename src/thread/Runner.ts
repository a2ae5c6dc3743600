/**
 * The runner in a thread: it runs exports as they are asked for, and is the same in every runtime.
 *
 * @module
 */
import * as WorkerRunner from "@effect/platform/WorkerRunner";
import * as Cause from "effect/Cause";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import { identity } from "effect/Function";
import * as Layer from "effect/Layer";
import * as Mailbox from "effect/Mailbox";
import * as Stream from "effect/Stream";
import * as Export from "../export/Export.ts";
import * as Formats from "../format/Formats.ts";
import * as Options from "../options/Options.ts";
import type { Sink } from "../sink/Sink.ts";
import * as Redaction from "../session/Redaction.ts";
import type { ApiError } from "../api/ApiError.ts";
import * as TenantClient from "../api/TenantClient.ts";
import * as Transport from "../api/transport/Transport.ts";
import * as SessionSource from "../source/SessionSource.ts";
import * as UserList from "../source/UserList.ts";
import type { RunnerOptions, ThreadPort } from "./AnyWorker.ts";
import { type Event, type Failure, type Place, Request, type StartExport } from "./Messages.ts";
import * as Outbox from "./Outbox.ts";
import { platformRunner, sayClosed } from "./WorkerPort.ts";

export type { RunnerOptions, ThreadPort } from "./AnyWorker.ts";

interface Running {
  readonly outbox: Outbox.Outbox;
  readonly over: Deferred.Deferred<void>;
}

/** Gives the output that was named. Files are loaded only here, for there are runtimes without files. */
const outputAt = (place: Place, index: number, outbox: Outbox.Outbox): Effect.Effect<Sink> =>
  "caller" in place
    ? Effect.succeed(outbox.output(index, place.caller))
    : Effect.map(Effect.promise(() => import("../sink/FileSink.ts")), (File) => File.make(place.file, place));

const usersOf = ({ users }: StartExport): UserList.UserList<ApiError, TenantClient.TenantClient> =>
  users === "all" ? UserList.all() : UserList.of(users);

/** Runs an export to its end. */
const work = (request: StartExport, outbox: Outbox.Outbox, progress: Export.Progress) =>
  Effect.gen(function* () {
    const { targets, quarantine, redact } = request;
    const users = usersOf(request);
    const change = redact === undefined ? identity : Redaction.make(redact.policy, redact.secret);
    const report = yield* Export.run({
      source: Stream.map(
        SessionSource.batches(users.ids, { ...request.walk, areListed: request.users === "all" }),
        (batch) => {
          progress.usersTotal = users.total?.();
          return change(batch);
        },
      ),
      targets: yield* Effect.forEach(
        targets,
        ({ format, gzip, to }, index) =>
          Effect.map(
            outputAt(to, index, outbox),
            (output) => Export.targetOf({ format: Formats.make(format, request), gzip }, output),
          ),
      ),
      quarantine: quarantine && (yield* outputAt(quarantine, targets.length, outbox)),
      onInvalid: request.onInvalid,
      maxQuarantined: request.maxQuarantined,
      progress,
    });
    return Export.withUserList(report, users.unverifiedReasons?.() ?? []);
  }).pipe(Effect.provide(TenantClient.layer(request.tenant)));

/** Runs an export, and gives its events. Ending the stream ends the export, and waits until it is undone. */
const events = (request: StartExport, running: Map<number, Running>) =>
  Stream.unwrapScoped(Effect.gen(function* () {
    const out = yield* Mailbox.make<Event, Failure>();
    const outbox = Outbox.make(
      request.windowBytes,
      (output, chunks) => out.offer({ _tag: "Bytes", output, chunks }),
    );
    const over = yield* Deferred.make<void>();
    running.set(request.exportId, { outbox, over });
    yield* Effect.addFinalizer(() => {
      running.delete(request.exportId);
      return Deferred.succeed(over, undefined);
    });

    const progress = Export.noProgress();
    let told = "";
    const tell = Effect.suspend(() => {
      const now = JSON.stringify(progress);
      // A reader that stands still is not sent what it knows.
      if (now === told) return Effect.void;
      told = now;
      return Effect.asVoid(out.offer({ _tag: "Progress", progress: { ...progress } }));
    });
    const tick = Effect.zipRight(Effect.sleep(request.progressEvery), Effect.zipRight(tell, outbox.flush));
    yield* Effect.forkScoped(Effect.forever(tick));
    yield* work(request, outbox, progress).pipe(
      Effect.flatMap((report) => Effect.zipRight(tell, out.offer({ _tag: "Done", report }))),
      Effect.onExit((exit) => out.done(Exit.asVoid(exit))),
      Effect.forkScoped,
    );
    return Mailbox.toStream(out);
  }));

const runnerKind = Options.object<RunnerOptions>({ fetch: Options.callback });

/**
 * Serves exports on a thread's end of its port, until it is closed. The threads of this package call it by themselves; a
 * module of your own, for threads that need a `fetch` of their own, calls it with `self`, or in Node with `parentPort`, and
 * is started by `spawn` of `Thread.make`.
 *
 * @example
 * ```ts
 * import { Runner } from "monocloud-sessions/effect/thread";
 *
 * const { port1, port2 } = new MessageChannel();
 * const served = Runner.serve(port1, { fetch: () => Promise.reject(new TypeError("no network here")) });
 * port2.postMessage([1]); // what a caller says when it closes its thread
 * await served;
 * port2.close();
 * ```
 */
export const serve = async (port: ThreadPort, options: RunnerOptions = {}): Promise<void> => {
  const { fetch } = Options.take("serve a thread", runnerKind, options);
  const running = new Map<number, Running>();
  const runner = WorkerRunner.layerSerialized(Request, {
    StartExport: (request) => events(request, running),
    Acknowledge: ({ exportId, bytes }) =>
      Effect.suspend(() => running.get(exportId)?.outbox.acknowledge(bytes) ?? Effect.void),
    AwaitEnd: ({ exportId }) =>
      Effect.suspend(() => {
        const over = running.get(exportId)?.over;
        return over === undefined ? Effect.void : Deferred.await(over);
      }),
  });
  const exit = await Effect.runPromiseExit(
    WorkerRunner.launch(runner).pipe(
      Effect.provide(Layer.merge(Transport.fetch(fetch), platformRunner(port))),
    ),
  );
  sayClosed(port);
  // The platform interrupts what it has launched when it is closed.
  if (Exit.isFailure(exit) && !Cause.isInterruptedOnly(exit.cause)) throw Cause.squash(exit.cause);
};
