/**
 * How requests are made: one policy for every request to a tenant, composed from the inside out of key and headers, one
 * attempt with a timeout, status to error, the rate limit that every attempt passes, and retries.
 *
 * @module
 */
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import * as Random from "effect/Random";
import * as Redacted from "effect/Redacted";
import type * as Scope from "effect/Scope";
import * as Options from "../options/Options.ts";
import * as Answer from "./Answer.ts";
import { ApiError, type ApiErrorReason, isTransient, reasonOf, reasonOfCause } from "./ApiError.ts";
import * as BodyBounds from "./transport/BodyBounds.ts";
import * as Timeouts from "./Timeouts.ts";
import { ProxyError } from "./transport/ProxyError.ts";
import { quoteWithout } from "./Quote.ts";
import * as RateLimiter from "./rate/RateLimiter.ts";
import * as RetryAfter from "./RetryAfter.ts";
import * as Tenant from "./Tenant.ts";
import { type Headers, Transport } from "./transport/Transport.ts";

export type { DecodeRows, Page } from "./Answer.ts";

/** How requests to a tenant are paced, timed and repeated. */
export interface HttpPolicyOptions extends RateLimiter.RateLimitOptions {
  /**
   * How long one attempt may take, body included.
   *
   * @default {"30 seconds"}
   */
  readonly timeout?: Duration.DurationInput | undefined;
  /**
   * How many times a request is sent before it fails. Left out, only {@link maxElapsed} ends it.
   *
   * @default {Infinity}
   */
  readonly maxAttempts?: number | undefined;
  /**
   * How long a request may take in all, from when it is first sent, but for waiting for its turn to be read. Also how long a tenant may ask to be left alone: if
   * it asks for more, every request fails at once.
   *
   * @default {"5 minutes"}
   */
  readonly maxElapsed?: Duration.DurationInput | undefined;
  /**
   * The longest wait before the second attempt; it doubles with each attempt. The wait itself is drawn evenly from 0 up
   * to it, so that many clients do not come back at once. `Retry-After` lengthens it, never shortens it.
   *
   * @default {"500 millis"}
   */
  readonly baseDelay?: Duration.DurationInput | undefined;
  /**
   * Where the doubling ends.
   *
   * @default {"30 seconds"}
   */
  readonly maxDelay?: Duration.DurationInput | undefined;
  /**
   * The most bytes that the body of an answer may have, as sent and once unpacked. While they come in, all bodies at once take
   * no more than that, and 1 MiB for each request under way.
   *
   * @default {67_108_864}
   */
  readonly maxBodyBytes?: number | undefined;
}

/** A request for one thing. `userId` and `page` locate an error. */
export interface ItemRequest {
  /** Percent-encoded, from `/` on. */
  readonly path: string;
  readonly userId?: string | undefined;
  readonly page?: number | undefined;
}

/** A request for one page of a list. */
export interface ListRequest<Rows> extends ItemRequest {
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly page: number;
  /** Whether caches on the way must ask the tenant. @default {false} */
  readonly fresh?: boolean | undefined;
  /**
   * Waited for once the body is there, before it is parsed: of pages that are asked for ahead, bodies are held and not
   * what they are parsed to.
   */
  readonly turn?: Effect.Effect<void> | undefined;
  readonly decode: Answer.DecodeRows<Rows>;
}

/** What has been asked of the tenant so far, and at what pace it goes on. */
export interface Traffic extends RateLimiter.Pace {
  /** Attempts sent, retries included. */
  readonly requests: number;
  readonly retries: number;
  /** How many attempts were answered 429. */
  readonly refused: number;
  /** How long all attempts so far have waited for their answers, in milliseconds. */
  readonly answerTime: number;
  /** Why the last attempt that is to be repeated failed; absent if all went well. */
  readonly lastFailure?: ApiErrorReason | undefined;
}

/** The tenant, reached under its policy: every request of a program that shares it shares the pace. */
export class TenantHttp extends Context.Tag("monocloud-sessions/TenantHttp")<TenantHttp, {
  /** Asks for one page. Retried as the policy says. */
  readonly list: <Rows>(request: ListRequest<Rows>) => Effect.Effect<Answer.Page<Rows>, ApiError>;
  /** Asks for a JSON object, past all caches. Retried likewise. */
  readonly item: (request: ItemRequest) => Effect.Effect<object, ApiError>;
  readonly traffic: () => Traffic;
}>() {}

/** An attempt that failed, and when the request it was for runs out of time. */
interface Retried {
  readonly error: ApiError;
  readonly deadline: number;
}

const causes = (error: unknown): string => {
  const messages: Array<string> = [];
  for (let at: unknown = error; at instanceof Error && messages.length < 4; at = at.cause) {
    const code = (at as { readonly code?: unknown }).code;
    const message = at.message || (typeof code === "string" ? code : at.name);
    if (!messages.includes(message)) messages.push(message);
  }
  return messages.length === 0 ? String(error) : messages.join(": ");
};

/** What a proxy answered, where that is why there is no answer. */
const statusOf = (error: unknown): number | undefined =>
  error instanceof ProxyError ? error.status : error instanceof Error ? statusOf(error.cause) : undefined;

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

const urlOf = (origin: string, { path, query = {} }: Asked): string => {
  let parameters = "";
  for (const name in query) {
    const value = query[name];
    if (value !== undefined) parameters += `${parameters ? "&" : "?"}${name}=${encodeURIComponent(value)}`;
  }
  return `${origin}${path}${parameters}`;
};

/** A request of either kind. */
type Asked = ItemRequest & Partial<Pick<ListRequest<unknown>, "query" | "fresh" | "turn">>;

/** How many rows an answer has where no number was asked for. */
const DOCUMENTED_SIZE = 10;

/** How often something other than the API is asked before anything has answered as the API does, and how far apart at most. */
const strangerAttempts: Readonly<Partial<Record<ApiErrorReason, number>>> = {
  UnknownHost: 1,
  Certificate: 1,
  WebPage: 3,
  ContentType: 3,
  Body: 8,
};
const STRANGER_DELAY = 2000;

/** How long before its time is up a request is tried for the last time, in milliseconds. */
const LAST_CHANCE = 1000;

/** A client of one tenant under one policy. Options out of range throw a RangeError. */
export const make = (
  tenant: Tenant.Tenant,
  options: HttpPolicyOptions = {},
): Effect.Effect<typeof TenantHttp.Service, never, Transport | Scope.Scope> =>
  Effect.map(Effect.all([Transport, Timeouts.make]), ([transport, deadlines]) => {
    const { maxAttempts = Infinity, maxBodyBytes = 2 ** 26 } = options;
    if (maxAttempts !== Infinity) count("maxAttempts", maxAttempts);
    count("maxBodyBytes", maxBodyBytes);
    const bodies = BodyBounds.make(maxBodyBytes);
    const timeout = positive("timeout", options.timeout ?? "30 seconds");
    const maxElapsed = positive("maxElapsed", options.maxElapsed ?? "5 minutes");
    const baseDelay = positive("baseDelay", options.baseDelay ?? "500 millis");
    const maxDelay = positive("maxDelay", options.maxDelay ?? "30 seconds");
    const gate = RateLimiter.make(options);
    const key = Redacted.value(tenant.apiKey);
    const sent = { "x-api-key": key, accept: "application/json, application/problem+json" };
    const sentPastCaches = { ...sent, "cache-control": "no-cache" };
    const quote = quoteWithout(key);
    let requests = 0;
    let retries = 0;
    let refused = 0;
    let answerTime = 0;
    let lastFailure: ApiErrorReason | undefined;
    /** Whether anything has answered as the API does. */
    let isKnown = false;

    const fail = (
      { path, userId, page }: ItemRequest,
      reason: ApiErrorReason,
      rest: Partial<Pick<ApiError, "status" | "problem" | "detail" | "retryAfter">> = {},
    ) =>
      new ApiError({
        reason,
        userId,
        page,
        url: `${tenant.origin}${path}`,
        attempts: 1,
        ...rest,
        detail: rest.detail && quote(rest.detail),
      });

    /** What status and headers alone say, to the pace and of the answer: undefined if it is a page. */
    const judge = (
      request: Asked,
      status: number,
      headers: Headers,
      leftAt: number,
      now: number,
    ): ApiError | undefined => {
      if (status < 500 && status !== 429) gate.accepted();
      if (status === 200) return undefined;
      const wait = RetryAfter.parse(headers, now);
      const refusal = fail(request, reasonOf(status), {
        status,
        retryAfter: wait,
        ...(headers["location"] && { detail: `it points to ${headers["location"]}` }),
      });
      if (wait !== undefined && isTransient(refusal)) gate.hold(now + wait);
      if (status === 429) {
        refused++;
        gate.throttled(leftAt, now);
      }
      return refusal;
    };

    const attempt = <A>(
      request: Asked,
      read: Answer.Read<A>,
      leftAt: number,
      limit: number,
      onTurn: (waited: number) => void,
    ): Effect.Effect<A, ApiError> =>
      Effect.clockWith((clock) => {
        // A refusal stays one though its body is cut off or never ends.
        let refusal: ApiError | undefined;
        let headers: Headers = {};
        let end: ((reason: Error) => void) | undefined;
        let isLate = false;
        let callOff: (() => void) | undefined;
        const watch = (at: number) => {
          callOff = deadlines.watch(clock, at, () => {
            isLate = true;
            end?.(new Error("timed out"));
          });
        };
        // For how long others were read before it, which is none of its doing.
        let waited = 0;
        const passed = (from: number) => {
          const more = clock.unsafeCurrentTimeMillis() - from;
          waited += more;
          onTurn(more);
        };
        const bounds = bodies.watch(
          () => refusal === undefined,
          () => request.turn === undefined ? Promise.resolve() : Effect.runPromise(request.turn),
        );
        const makeRoom = async (room: Promise<void>) => {
          const from = clock.unsafeCurrentTimeMillis();
          callOff?.();
          await room;
          passed(from);
          if (end !== undefined) watch(leftAt + limit + waited);
        };
        const body = transport.get(urlOf(tenant.origin, request), request.fresh ? sentPastCaches : sent, {
          whenAborted: (abort) => {
            end = abort;
            // There may have been no time left to begin with.
            if (isLate) abort(new Error("timed out"));
          },
          onHead: (status, found) => {
            headers = found;
            refusal = judge(request, status, found, leftAt, clock.unsafeCurrentTimeMillis());
            const tooLarge = bounds.onLength(Number(found["content-length"] ?? 0));
            if (tooLarge !== undefined) end?.(tooLarge);
          },
          onGrowth: (bytes) => {
            const room = bounds.onGrowth(bytes);
            return room && makeRoom(room);
          },
        });
        watch(leftAt + limit);
        const failing: Answer.Fail = (reason, detail) => fail(request, reason, { detail });
        const failureOf = (cause: unknown) =>
          refusal ?? (isLate
            ? failing("Timeout", `no complete answer within ${limit / 1000} s`)
            : cause instanceof BodyBounds.TooLarge
            ? failing("TooLarge", `${cause.message}: 'maxBodyBytes' is the limit`)
            : fail(request, reasonOfCause(cause), { status: statusOf(cause), detail: causes(cause) }));
        const take = (body: Uint8Array): Effect.Effect<A, ApiError> => {
          if (refusal !== undefined) {
            const error = Answer.refusalOf(refusal, headers, body, quote);
            isKnown ||= error.reason === "NotFound";
            return Effect.fail(error);
          }
          const taken = read(headers, body, failing);
          if (taken instanceof ApiError) return Effect.fail(taken);
          isKnown = true;
          return Effect.succeed(taken);
        };
        return Effect.onExit(body, (exit) =>
          Effect.sync(() => {
            callOff?.();
            answerTime += clock.unsafeCurrentTimeMillis() - leftAt - waited;
            if (Exit.isFailure(exit)) end?.(new Error("interrupted"));
            // What is held here outlives the request by far otherwise: collections of the young then copy it all.
            end = callOff = undefined;
          })).pipe(
            Effect.matchEffect({
              onFailure: (cause) => Effect.fail(failureOf(cause)),
              onSuccess: (body) => {
                if (refusal !== undefined || request.turn === undefined) return take(body);
                const from = clock.unsafeCurrentTimeMillis();
                return Effect.flatMap(request.turn, () => {
                  passed(from);
                  return take(body);
                });
              },
            }),
            Effect.ensuring(Effect.sync(bounds.end)),
          );
      });

    /** Waits for a turn, a retry no longer than until its deadline: then it fails as the attempt before did. */
    const turn = (request: Asked, before: Retried | undefined): Effect.Effect<number, ApiError> =>
      Effect.clockWith((clock) => {
        const now = clock.unsafeCurrentTimeMillis();
        const patience = before === undefined ? maxElapsed : before.deadline - now;
        if (patience > 0 && gate.tryTake(now)) return Effect.succeed(now);
        const taken = Effect.mapError(gate.take(patience), ({ heldFor }) =>
          after(
            fail(request, "RateLimited", { retryAfter: heldFor }),
            before?.error.attempts ?? 0,
          ));
        return before === undefined
          ? taken
          : Effect.timeoutFail(taken, { duration: patience, onTimeout: () => before.error });
      });

    const ask = <A>(request: Asked, read: Answer.Read<A>): Effect.Effect<A, ApiError> => {
      const send = (before?: Retried): Effect.Effect<A, ApiError> =>
        Effect.flatMap(turn(request, before), (leftAt) => {
          requests++;
          if (before !== undefined) retries++;
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
            const strangers = isKnown ? undefined : strangerAttempts[error.reason];
            const most = Math.min(strangers ?? Infinity, maxAttempts);
            if (isCut || !isTransient(error) || attempts >= most) return Effect.fail(error);
            return Effect.flatMap(Effect.all([Clock.currentTimeMillis, Random.next]), ([now, chance]) => {
              const { retryAfter = 0 } = error;
              const jitter = chance * Math.min(
                strangers === undefined ? maxDelay : STRANGER_DELAY,
                baseDelay * 2 ** Math.min(attempts - 1, 30),
              );
              lastFailure = error.reason;
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

    const list = <Rows>(request: ListRequest<Rows>) => {
      const size = Number(request.query["size"] ?? DOCUMENTED_SIZE);
      return ask(request, Answer.page(size, request.decode));
    };
    const item = (request: ItemRequest) => ask({ ...request, fresh: true }, Answer.item);
    return {
      list,
      item,
      traffic: () => ({ ...gate.pace(), requests, retries, refused, answerTime, lastFailure }),
    };
  });

/** The tenant under its policy, as a service. */
export const layer = (
  tenant: Tenant.Tenant,
  options?: HttpPolicyOptions,
): Layer.Layer<TenantHttp, never, Transport> => Layer.scoped(TenantHttp, make(tenant, options));

/** Which tenant, how to get in, and how requests to it are made. */
export interface TenantOptions extends HttpPolicyOptions, Tenant.TenantAddress {}

/** See {@link TenantOptions}. */
export const optionNames: Options.Names<TenantOptions> = {
  ...Tenant.optionNames,
  ...RateLimiter.optionNames,
  timeout: Options.any,
  maxAttempts: Options.number,
  maxElapsed: Options.any,
  baseDelay: Options.any,
  maxDelay: Options.any,
  maxBodyBytes: Options.number,
};

/**
 * A tenant under its policy, as a service, from a domain and a key. Fails with a {@link Tenant.TenantError} if these can't be
 * used.
 *
 * @example
 * ```ts
 * import { HttpPolicy, SessionsApi, Transport } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 *
 * const sandbox = Sandbox.make({ users: 1 });
 * const [userId = ""] = sandbox.userIds();
 * const tenant = HttpPolicy.connect({ domain: "sandbox.example", apiKey: sandbox.key, rate: 50 }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const page = await Effect.runPromise(Effect.provide(SessionsApi.page(userId, { page: 1, size: 5 }), tenant));
 * console.assert(page.rows.slices.from.length <= 5);
 * ```
 */
export const connect = (
  { domain, apiKey, ...policy }: TenantOptions,
): Layer.Layer<TenantHttp, Tenant.TenantError, Transport> =>
  Layer.unwrapEffect(Effect.map(Tenant.make({ domain, apiKey }), (tenant) => layer(tenant, policy)));
