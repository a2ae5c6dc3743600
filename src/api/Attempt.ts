/** One attempt at a request: sent, timed, its body bounded and read, or an error that says what went wrong. */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Redacted from "effect/Redacted";
import * as Answer from "./Answer.ts";
import { ApiError, type ApiErrorReason, isTransient, reasonOf, reasonOfCause } from "./ApiError.ts";
import { quoteWithout } from "./Quote.ts";
import type * as RateLimiter from "./rate/RateLimiter.ts";
import * as RetryAfter from "./RetryAfter.ts";
import type * as Tenant from "./Tenant.ts";
import type * as Timeouts from "./Timeouts.ts";
import * as BodyBounds from "./transport/BodyBounds.ts";
import { ProxyError } from "./transport/ProxyError.ts";
import type { Headers, Transport } from "./transport/Transport.ts";

/** A request for one thing. `userId` and `page` locate an error. */
export interface ItemRequest {
  /** Percent-encoded, from `/` on. */
  readonly path: string;
  readonly userId?: string | undefined;
  readonly page?: number | undefined;
}

export interface ListRequest<Rows> extends ItemRequest {
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly page: number;
  /** Makes caches on the way ask the tenant. @default {false} */
  readonly fresh?: boolean | undefined;
  /** Sends it once, as another request will do where this one fails. That the tenant asks to be left alone is no failure. @default {false} */
  readonly once?: boolean | undefined;
  /**
   * Waited for once the body is there, before it is parsed: of pages that are asked for ahead, bodies are held and not what
   * they are parsed to.
   */
  readonly turn?: Effect.Effect<void> | undefined;
  readonly decode: Answer.DecodeRows<Rows>;
}

export interface PageQuery<Sort extends string> extends Pick<ListRequest<unknown>, "fresh" | "once"> {
  /** From 1. */
  readonly page: number;
  /** The number of rows to ask for; the tenant may give fewer. */
  readonly size: number;
  readonly sort?: Sort | undefined;
}

export type Asked = ItemRequest & Partial<Pick<ListRequest<unknown>, "query" | "fresh" | "once" | "turn">>;

/** Counts over all attempts so far, changed in place. */
export interface Totals {
  requests: number;
  retries: number;
  /** The number of attempts that were answered 429. */
  refused: number;
  /** The time that they have waited for their answers, in milliseconds. */
  answerTime: number;
  /** The reason why the last attempt that is repeated failed. */
  lastFailure: ApiErrorReason | undefined;
  /** True once anything has answered as the API does. */
  isKnown: boolean;
}

export interface AttemptOptions {
  readonly tenant: Tenant.Tenant;
  readonly transport: typeof Transport.Service;
  readonly timeouts: Timeouts.Timeouts;
  readonly limiter: RateLimiter.RateLimiter;
  readonly maxBodyBytes: number;
  readonly totals: Totals;
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

/** Finds the status that a proxy answered, where that is why there is no answer. */
const statusOf = (error: unknown): number | undefined =>
  error instanceof ProxyError ? error.status : error instanceof Error ? statusOf(error.cause) : undefined;

const urlOf = (origin: string, { path, query = {} }: Asked): string => {
  let parameters = "";
  for (const name in query) {
    const value = query[name];
    if (value !== undefined) parameters += `${parameters ? "&" : "?"}${name}=${encodeURIComponent(value)}`;
  }
  return `${origin}${path}${parameters}`;
};

export type Attempts = ReturnType<typeof make>;

export const make = ({ tenant, transport, timeouts, limiter, maxBodyBytes, totals }: AttemptOptions) => {
  const bodies = BodyBounds.make(maxBodyBytes);
  const key = Redacted.value(tenant.apiKey);
  const sent = { "x-api-key": key, accept: "application/json, application/problem+json" };
  const sentPastCaches = { ...sent, "cache-control": "no-cache" };
  const quote = quoteWithout(key);

  const fail = (
    { path, userId, page }: ItemRequest,
    reason: ApiErrorReason,
    rest: Partial<Pick<ApiError, "status" | "problem" | "detail" | "retryAfter">> = {},
  ): ApiError =>
    new ApiError({
      reason,
      userId,
      page,
      url: `${tenant.origin}${path}`,
      attempts: 1,
      ...rest,
      detail: rest.detail && quote(rest.detail),
    });

  /** Judges an answer by status and headers alone, and tells the limiter. Gives undefined if it is a page. */
  const judge = (
    request: Asked,
    status: number,
    headers: Headers,
    leftAt: number,
    now: number,
  ): ApiError | undefined => {
    if (status < 500 && status !== 429) limiter.accepted();
    if (status === 200) return undefined;
    const wait = RetryAfter.parse(headers, now);
    const refusal = fail(request, reasonOf(status), {
      status,
      retryAfter: wait,
      ...(headers["location"] && { detail: `it points to ${headers["location"]}` }),
    });
    if (wait !== undefined && isTransient(refusal)) limiter.pauseUntil(now + wait);
    if (status === 429) {
      totals.refused++;
      limiter.throttled(leftAt, now);
    }
    return refusal;
  };

  /**
   * Sends a request that left at a time, and reads its answer within a limit, both in milliseconds. `onTurn` is told how
   * long it had to wait for others to be read, which is none of its doing.
   */
  const send = <A>(
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
        callOff = timeouts.watch(clock, at, () => {
          isLate = true;
          end?.(new Error("timed out"));
        });
      };
      // For how long others were read before it, which is none of its doing.
      let waited = 0;
      let tookFor = 0;
      const passed = (from: number) => {
        const more = clock.unsafeCurrentTimeMillis() - from;
        waited += more;
        onTurn(more);
      };
      const bounds = bodies.watch(
        () => refusal === undefined,
        () => request.turn === undefined ? Promise.resolve() : Effect.runPromise(request.turn),
      );
      const waitForOthers = async (wait: Promise<void>) => {
        const from = clock.unsafeCurrentTimeMillis();
        callOff?.();
        await wait;
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
          const wait = bounds.onGrowth(bytes);
          return wait && waitForOthers(wait);
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
      const take = (body: Uint8Array) => {
        if (refusal !== undefined) {
          const error = Answer.refusalOf(refusal, headers, body, quote);
          totals.isKnown ||= error.reason === "NotFound";
          return Effect.fail(error);
        }
        const taken = read(headers, body, failing, tookFor);
        if (taken instanceof ApiError) return Effect.fail(taken);
        totals.isKnown = true;
        return Effect.succeed(taken);
      };
      return Effect.onExit(body, (exit) =>
        Effect.sync(() => {
          callOff?.();
          totals.answerTime += clock.unsafeCurrentTimeMillis() - leftAt - waited;
          if (Exit.isFailure(exit)) end?.(new Error("interrupted"));
          // What is held here outlives the request by far otherwise: collections of the young then copy it all.
          end = callOff = undefined;
        })).pipe(
          Effect.matchEffect({
            onFailure: (cause) => Effect.fail(failureOf(cause)),
            onSuccess: (body) => {
              tookFor = clock.unsafeCurrentTimeMillis() - leftAt - waited;
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

  return { fail, send };
};
