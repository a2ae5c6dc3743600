/** The policy of requests: the rate limit that every attempt passes, and retries with backoff until time is up. */
import * as Clock from "effect/Clock";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Random from "effect/Random";
import type * as Answer from "./Answer.ts";
import { ApiError, type ApiErrorReason, isTransient } from "./ApiError.ts";
import type { Asked, Attempts, Totals } from "./Attempt.ts";
import type * as RateLimiter from "./rate/RateLimiter.ts";
import type { RequestOptions } from "./RequestOptions.ts";

/** An attempt that failed, and when the request it was for runs out of time. */
interface Retried {
  readonly error: ApiError;
  readonly deadline: number;
}

/**
 * The most attempts at something other than the API, before anything has answered as the API does, and the longest wait
 * between.
 */
const strangerAttempts: Readonly<Partial<Record<ApiErrorReason, number>>> = {
  UnknownHost: 1,
  Certificate: 1,
  WebPage: 3,
  ContentType: 3,
  Body: 8,
};
const STRANGER_DELAY = 2000;

/** The time before its deadline at which a request is tried for the last time, in milliseconds. */
const LAST_CHANCE = 1000;

const after = (error: ApiError, attempts: number): ApiError => new ApiError({ ...error, attempts });

const positive = (name: string, value: Duration.DurationInput): number => {
  const millis = Duration.toMillis(value);
  if (millis > 0) return millis;
  throw new RangeError(`Cannot make requests as '${name}' must be longer than 0: it is ${millis} ms`);
};

const count = (name: string, value: number): void => {
  if (Number.isSafeInteger(value) && value >= 1) return;
  throw new RangeError(`Cannot make requests as '${name}' must be a positive integer: it is ${value}`);
};

/**
 * Check the options of a policy.
 *
 * @throws {RangeError} on one that is out of range.
 */
export const of = (options: RequestOptions<Duration.DurationInput>) => {
  const { maxAttempts = Infinity, maxBodyBytes = 2 ** 26 } = options;
  if (maxAttempts !== Infinity) count("maxAttempts", maxAttempts);
  count("maxBodyBytes", maxBodyBytes);
  return {
    maxAttempts,
    maxBodyBytes,
    timeout: positive("timeout", options.timeout ?? "30 seconds"),
    maxElapsed: positive("maxElapsed", options.maxElapsed ?? "5 minutes"),
    baseDelay: positive("baseDelay", options.baseDelay ?? "500 millis"),
    maxDelay: positive("maxDelay", options.maxDelay ?? "30 seconds"),
  };
};

/** Options of a policy, checked, in milliseconds. */
export type RetryPolicy = ReturnType<typeof of>;

/** Ask for something, again where that fails and may not the next time. */
export const ask = (
  { maxAttempts, timeout, maxElapsed, baseDelay, maxDelay }: RetryPolicy,
  { fail, send: attempt }: Attempts,
  limiter: RateLimiter.RateLimiter,
  totals: Totals,
): <A>(request: Asked, read: Answer.Read<A>) => Effect.Effect<A, ApiError> => {
  /** Waits for a turn, a retry no longer than until its deadline: then it fails as the attempt before did. */
  const turn = (request: Asked, before: Retried | undefined): Effect.Effect<number, ApiError> =>
    Effect.clockWith((clock) => {
      const now = clock.unsafeCurrentTimeMillis();
      const patience = before === undefined ? maxElapsed : before.deadline - now;
      if (patience > 0 && limiter.tryAcquire(now)) return Effect.succeed(now);
      const taken = Effect.mapError(limiter.acquire(patience), ({ heldFor }) =>
        after(
          fail(request, "RateLimited", { retryAfter: heldFor }),
          before?.error.attempts ?? 0,
        ));
      return before === undefined
        ? taken
        : Effect.timeoutFail(taken, { duration: patience, onTimeout: () => before.error });
    });

  return <A>(request: Asked, read: Answer.Read<A>): Effect.Effect<A, ApiError> => {
    const send = (before?: Retried): Effect.Effect<A, ApiError> =>
      Effect.flatMap(turn(request, before), (leftAt) => {
        totals.requests++;
        if (before !== undefined) totals.retries++;
        let deadline = before?.deadline ?? leftAt + maxElapsed;
        const limit = Math.min(timeout, deadline - leftAt);
        // For how long others were read before it is none of its doing.
        const onTurn = (waited: number) => void (deadline += waited);
        return Effect.catchAll(attempt(request, read, leftAt, limit, onTurn), (cause) => {
          const attempts = (before?.error.attempts ?? 0) + 1;
          // Of an attempt that was given less time than it may take, the one before it tells more.
          const isCut = cause.reason === "Timeout" && limit < timeout && before !== undefined;
          const error = after(isCut ? before.error : cause, attempts);
          // What answers at a mistyped domain, or does not, must not be asked for minutes.
          const strangers = totals.isKnown ? undefined : strangerAttempts[error.reason];
          const once = request.once === true && error.reason !== "RateLimited" ? 1 : Infinity;
          const most = Math.min(strangers ?? Infinity, maxAttempts, once);
          if (isCut || !isTransient(error) || attempts >= most) return Effect.fail(error);
          return Effect.flatMap(Effect.all([Clock.currentTimeMillis, Random.next]), ([now, chance]) => {
            const { retryAfter = 0 } = error;
            const jitter = chance * Math.min(
              strangers === undefined ? maxDelay : STRANGER_DELAY,
              baseDelay * 2 ** Math.min(attempts - 1, 30),
            );
            totals.lastFailure = error.reason;
            // Tried once more before its time is up, however long it would have waited otherwise.
            const left = deadline - now;
            const latest = left > LAST_CHANCE ? left - LAST_CHANCE : Infinity;
            const delay = Math.max(retryAfter, Math.floor(Math.min(jitter, latest)));
            return delay < left
              ? Effect.flatMap(Effect.sleep(delay), () => send({ error, deadline }))
              : Effect.fail(error);
          });
        });
      });
    return send();
  };
};
