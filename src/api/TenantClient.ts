/**
 * The client of a tenant: one policy for every request, composed from the inside out of key and headers, one attempt with a
 * timeout, status to error, the rate limit that every attempt passes, and retries.
 *
 * @module
 */
import * as Context from "effect/Context";
import type { DurationInput } from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import type * as Scope from "effect/Scope";
import * as Options from "../options/Options.ts";
import * as Answer from "./Answer.ts";
import type { ApiError, ApiErrorReason } from "./ApiError.ts";
import * as Attempt from "./Attempt.ts";
import * as RateLimiter from "./rate/RateLimiter.ts";
import type { RequestOptions } from "./RequestOptions.ts";
import * as RetryPolicy from "./RetryPolicy.ts";
import * as Tenant from "./Tenant.ts";
import * as Timeouts from "./Timeouts.ts";
import { Transport } from "./transport/Transport.ts";

export type { ItemRequest, ListRequest, PageQuery } from "./Attempt.ts";
/** Options for the pace, the timeouts and the retries of requests. */
export type TenantClientOptions = RequestOptions<DurationInput>;
export type { DecodeRows, Page } from "./Answer.ts";

/** The requests to the tenant so far, and the rate in force. */
export interface Traffic extends RateLimiter.RateState {
  /** Attempts sent, retries included. */
  readonly requests: number;
  readonly retries: number;
  /** The number of attempts that were answered 429. */
  readonly refused: number;
  /** The time that all attempts have waited for their answers, in milliseconds. */
  readonly answerTime: number;
  /** The reason why the last attempt that is repeated failed; absent if all went well. */
  readonly lastFailure?: ApiErrorReason | undefined;
}

/** The tenant, reached under its policy: every request of a program that shares it shares the pace. */
export class TenantClient extends Context.Tag("monocloud-sessions/TenantClient")<TenantClient, {
  /** Asks for one page. Retried as the policy says. */
  readonly list: <Rows>(request: Attempt.ListRequest<Rows>) => Effect.Effect<Answer.Page<Rows>, ApiError>;
  /** Asks for a JSON object, past all caches. Retried likewise. */
  readonly item: (request: Attempt.ItemRequest) => Effect.Effect<object, ApiError>;
  readonly traffic: () => Traffic;
}>() {}

/** The number of rows of an answer where none was asked for. */
const DOCUMENTED_SIZE = 10;

/**
 * Make a client of one tenant under one policy. Options out of range throw a RangeError. A limiter that is given takes the
 * place of one with the rate of the options: it may be shared.
 */
export const make = (
  tenant: Tenant.Tenant,
  options: TenantClientOptions = {},
  given?: RateLimiter.RateLimiter,
): Effect.Effect<typeof TenantClient.Service, never, Transport | Scope.Scope> =>
  Effect.map(Effect.all([Transport, Timeouts.make]), ([transport, timeouts]) => {
    const policy = RetryPolicy.of(options);
    const limiter = given ?? RateLimiter.make(options);
    const totals: Attempt.Totals = {
      requests: 0,
      retries: 0,
      refused: 0,
      answerTime: 0,
      lastFailure: undefined,
      isKnown: false,
    };
    const { maxBodyBytes } = policy;
    const attempts = Attempt.make({ tenant, transport, timeouts, limiter, maxBodyBytes, totals });
    const ask = RetryPolicy.ask(policy, attempts, limiter, totals);
    return {
      list: (request) => {
        const size = Number(request.query["size"] ?? DOCUMENTED_SIZE);
        return ask(request, Answer.page(size, request.decode));
      },
      item: (request) => ask({ ...request, fresh: true }, Answer.item),
      traffic: () => {
        const { requests, retries, refused, answerTime, lastFailure } = totals;
        return { ...limiter.state(), requests, retries, refused, answerTime, lastFailure };
      },
    };
  });

/** The tenant under its policy, as a service. */
export const layerOf = (
  tenant: Tenant.Tenant,
  options?: TenantClientOptions,
  limiter?: RateLimiter.RateLimiter,
): Layer.Layer<TenantClient, never, Transport> => Layer.scoped(TenantClient, make(tenant, options, limiter));

/** Options of a client: the tenant, the way in, and the way to ask. */
export interface TenantOptions extends TenantClientOptions, Tenant.TenantAddress {}

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
 * A tenant under its policy, as a service, from a domain and a key. Fails with a {@link Tenant.TenantError} if these can't
 * be used.
 *
 * @example
 * ```ts
 * import { Batch, SessionSource, TenantClient, Transport } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 *
 * const sandbox = Sandbox.make({ users: 1, sessionsPerUser: 5 });
 * const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key, rate: 50 }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const count = SessionSource.batches(Stream.fromIterable(sandbox.userIds())).pipe(
 *   Stream.runFold(0, (sum, batch) => sum + Batch.size(batch)),
 *   Effect.provide(tenant),
 * );
 * console.assert(await Effect.runPromise(count) === 5);
 * ```
 */
export const layer = (
  { domain, apiKey, ...policy }: TenantOptions,
): Layer.Layer<TenantClient, Tenant.TenantError, Transport> =>
  Layer.unwrapEffect(Effect.map(Tenant.make({ domain, apiKey }), (tenant) => layerOf(tenant, policy)));
