/**
 * The two ends of a thread for `@effect/platform`'s Worker and WorkerRunner, alike for `Worker` of the web (Deno, Bun,
 * browsers) and of `node:worker_threads`, without importing either. Other than the platform's own adapters they tell apart a
 * thread that did not start, wait at the end for what it has to undo, and then make sure that it is gone.
 */
import * as Worker from "@effect/platform/Worker";
import * as WorkerRunner from "@effect/platform/WorkerRunner";
import { WorkerError } from "@effect/platform/WorkerError";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as FiberSet from "effect/FiberSet";
import * as Layer from "effect/Layer";
import * as Scope from "effect/Scope";
import type { AnyWorker, ThreadPort } from "./AnyWorker.ts";

/** The time that a thread has to undo what is under way. */
const PATIENCE = "5 seconds";

/** Waits for a thread, though not for ever, in a finalizer: there, what can be interrupted ends at once. */
export const patiently = <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<void, never, R> =>
  work.pipe(
    Effect.interruptible,
    Effect.timeout(PATIENCE),
    Effect.ignore,
    Effect.forkDaemon,
    Effect.flatMap(Fiber.await),
    Effect.asVoid,
  );

/** Said by a thread, outside of the platform's protocol, when nothing is left to undo. */
const CLOSED = "closed";

const listen = (
  worker: AnyWorker,
  on: { readonly message: (data: unknown) => void; readonly end: (why: string) => void },
): void => {
  const ended = (error: unknown) => on.end(error instanceof Error ? error.message : String(error));
  if ("addEventListener" in worker) {
    worker.addEventListener("message", ({ data }) => on.message(data));
    worker.addEventListener("messageerror", () => on.end("it sent what can't be read"));
    worker.addEventListener("error", (event) => {
      // Under Deno an error of a thread otherwise ends the program.
      event.preventDefault?.();
      ended(event.message || event.error || "its module could not be loaded");
    });
    // Bun alone has it.
    worker.addEventListener("close", () => on.end("it exited"));
  } else {
    worker.on("message", on.message);
    worker.on("messageerror", ended);
    worker.on("error", ended);
    worker.on("exit", (code) => on.end(`it exited with code ${code}`));
  }
};

/**
 * Makes the caller's end. `onEnd` is told once when the thread ends though it was not asked to, before anything else fails
 * of it, and whether it had begun to listen.
 */
export const platform = (
  spawn: () => AnyWorker,
  onEnd: (why: string, isReady: boolean) => void,
): Layer.Layer<Worker.PlatformWorker | Worker.Spawner> => {
  const platformWorker = Worker.makePlatform<AnyWorker>()({
    setup: ({ worker, scope }) =>
      Effect.gen(function* () {
        const gone = yield* Deferred.make<void>();
        const post = (message: unknown, transfer: ReadonlyArray<unknown>) =>
          worker.postMessage(message, [...transfer]);
        const close = Effect.sync(() => post([1], [])).pipe(
          Effect.zipRight(Deferred.await(gone)),
          patiently,
          Effect.ensuring(Effect.promise(async () => void await worker.terminate())),
        );
        yield* Scope.addFinalizer(scope, close);
        return { postMessage: (message: unknown, transfer = []) => post(message, transfer), worker, gone };
      }),
    listen: ({ port: { worker, gone }, emit, deferred }) =>
      Effect.sync(() => {
        let isReady = false;
        let isOver = false;
        const over = () => {
          isOver = true;
          Deferred.unsafeDone(gone, Exit.void);
        };
        listen(worker, {
          message: (data) => {
            if (data === CLOSED) return over();
            isReady = true;
            emit(data);
          },
          end: (why) => {
            if (isOver) return;
            over();
            onEnd(why, isReady);
            Deferred.unsafeDone(
              deferred,
              Exit.fail(new WorkerError({ reason: "unknown", cause: new Error(why) })),
            );
          },
        });
      }),
  });
  const spawner = Worker.layerSpawner(() => {
    try {
      return spawn();
    } catch (error) {
      onEnd(error instanceof Error ? error.message : String(error), false);
      throw error;
    }
  });
  return Layer.merge(Layer.succeed(Worker.PlatformWorker, platformWorker), spawner);
};

/** Makes the thread's end. Once the layer it serves is closed, say so with {@link sayClosed}. */
export const platformRunner = (port: ThreadPort): Layer.Layer<WorkerRunner.PlatformRunner> =>
  Layer.succeed(
    WorkerRunner.PlatformRunner,
    WorkerRunner.PlatformRunner.of({
      [WorkerRunner.PlatformRunnerTypeId]: WorkerRunner.PlatformRunnerTypeId,
      start: <I, O>(closeLatch: typeof WorkerRunner.CloseLatch.Service) =>
        Effect.succeed<WorkerRunner.BackingRunner<I, O>>({
          send: (_, message, transfers = []) =>
            Effect.sync(() => port.postMessage([1, message], [...transfers])),
          run: <A, E, R>(handler: (portId: number, message: I) => Effect.Effect<A, E, R> | void) =>
            Effect.gen(function* () {
              // Interrupted, one and all, when the thread is closed.
              const fork = yield* FiberSet.makeRuntime<R, unknown, unknown>();
              port.addEventListener("message", ({ data: [kind, message] }) => {
                if (kind === 1) return Deferred.unsafeDone(closeLatch, Exit.void);
                if (kind !== 0) return;
                const work = handler(0, message);
                // Not in its words: they would quote the message, and with it the key.
                if (Effect.isEffect(work)) fork(Effect.catchAllCause(work, () => Effect.sync(misunderstood)));
              });
              port.start?.();
              port.postMessage([0], []);
            }),
        }),
    }),
  );

const misunderstood = (): void => {
  setTimeout(() => {
    throw new Error("it was asked what it does not understand");
  });
};

/** Tells the caller that nothing is left to wait for. */
export const sayClosed = (port: ThreadPort): void => {
  port.postMessage(CLOSED, []);
  port.close();
};
