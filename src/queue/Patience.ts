/** Calls of a queue's server, which may be away for a while. */
import * as Clock from "effect/Clock";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as QueueError from "./QueueError.ts";

/** The longest time of a call. */
const CALL = 10_000;

/** Call the queue's server. */
export const call = <A>(server: string, work: () => Promise<A>): Effect.Effect<A, QueueError.QueueError> =>
  Effect.tryPromise({ try: work, catch: (cause) => QueueError.of(server, cause) }).pipe(
    Effect.timeoutFail({
      duration: CALL,
      onTimeout: () => QueueError.of(server, new Error(`no answer within ${CALL / 1000} s`)),
    }),
  );

/** Wait for work for so long at the most, in milliseconds, and not for its result. */
export const within = (millis: number, work: Promise<unknown>): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, millis);
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    work.then(end, end);
  });

/** Do work again that the queue's server failed, for as long as its patience lasts. */
export const patiently = (maxElapsed: Duration.DurationInput) => {
  let failedAt: number | undefined;
  return <A, E, R>(
    work: Effect.Effect<A, E | QueueError.QueueError, R>,
  ): Effect.Effect<A | undefined, E | QueueError.QueueError, R> =>
    Effect.catchIf(
      Effect.tap(work, () => Effect.sync(() => void (failedAt = undefined))),
      (error): error is QueueError.QueueError =>
        error instanceof QueueError.QueueError && error.reason === "Failed",
      (error) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const isFirst = failedAt === undefined;
          failedAt ??= now;
          if (now - failedAt > Duration.toMillis(maxElapsed)) return Effect.fail(error);
          return isFirst
            ? Effect.as(
              Effect.logWarning(
                `${error.message}. Trying again for up to ${
                  Duration.format(Duration.decode(maxElapsed))
                }; workers go on with what they have`,
              ),
              undefined,
            )
            : Effect.succeed(undefined);
        }),
    );
};
