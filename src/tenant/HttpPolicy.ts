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
import {
  ApiError,
  type ApiErrorReason,
  isProblem,
  isTransient,
  parseProblem,
  quoteWithout,
  reasonOf,
} from "./ApiError.ts";
import type { Scanned } from "../Scan.ts";
import * as Lazy from "../Lazy.ts";
import * as Options from "../Options.ts";
import * as Deadlines from "./Deadlines.ts";
import * as PageFacts from "./PageFacts.ts";
import * as RateLimit from "./RateLimit.ts";
import * as RetryAfter from "./RetryAfter.ts";
import * as Tenant from "./Tenant.ts";
import { type Headers, Transport } from "./Transport.ts";

/** How requests to a tenant are paced, timed and repeated. */
export interface HttpPolicyOptions extends RateLimit.RateLimitOptions {
  /**
   * How long one attempt may take, body included.
   *
   * @default {"30 seconds"}
   */
  readonly timeout?: Duration.DurationInput | undefined;
  /**
   * How many times a request is sent before it fails.
   *
   * @default {8}
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
}

/** One answer of a list endpoint. */
export interface Page {
  readonly rows: ReadonlyArray<unknown>;
  /** The body as served: a JSON array in UTF-8, whose elements are the rows. */
  readonly bytes: Uint8Array;
  /** The rows as {@link ListRequest.scan} has found them, if it was given and did. */
  readonly scanned?: Scanned | undefined;
  /** Absent if the tenant sent none that could be read. */
  readonly facts: PageFacts.PageFacts | undefined;
  /** When the tenant answered, by its own clock, in seconds since the epoch; absent if it does not say. */
  readonly servedAt?: number | undefined;
}

/** A page without a row, of which nothing is told. */
export const emptyPage: Page = { rows: [], bytes: new TextEncoder().encode("[]"), facts: undefined };

/** A request for one thing. `userId` and `page` locate an error. */
export interface ItemRequest {
  /** Percent-encoded, from `/` on. */
  readonly path: string;
  readonly userId?: string | undefined;
  readonly page?: number | undefined;
}

/** A request for one page of a list. */
export interface ListRequest extends ItemRequest {
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly page: number;
  /** Whether caches on the way must ask the tenant. @default {false} */
  readonly fresh?: boolean | undefined;
  /**
   * Waited for once the body is there, before it is parsed: of pages that are asked for ahead, bodies are held and not
   * what they are parsed to.
   */
  readonly turn?: Effect.Effect<void> | undefined;
  /** Tells the rows of a body apart, if it is JSON beyond doubt: nothing is parsed then until somebody looks at the rows. */
  readonly scan?: ((bytes: Uint8Array) => Scanned | undefined) | undefined;
}

/** What has been asked of the tenant so far, and at what pace it goes on. */
export interface Traffic extends RateLimit.Pace {
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
  readonly list: (request: ListRequest) => Effect.Effect<Page, ApiError>;
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

const after = (error: ApiError, attempts: number): ApiError => new ApiError({ ...error, attempts });

const utf8 = new TextDecoder("utf-8", { fatal: true });

const rows = Lazy.property("rows", ({ bytes }: Page) => JSON.parse(utf8.decode(bytes)));

/** A page whose rows are parsed once somebody looks at them. */
const parsedLater = (page: Omit<Page, "rows">): Page => Object.defineProperty(page, "rows", rows) as Page;

const secondsOf = (date: string | undefined): number | undefined => {
  const milliseconds = Date.parse(date ?? "");
  return Number.isNaN(milliseconds) ? undefined : Math.floor(milliseconds / 1000);
};

const positive = (name: string, value: Duration.DurationInput): number => {
  const millis = Duration.toMillis(value);
  if (millis > 0) return millis;
  throw new RangeError(`Cannot make requests as '${name}' must be longer than 0: it is ${millis} ms`);
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
type Asked = ItemRequest & Partial<Omit<ListRequest, keyof ItemRequest>>;

/** What makes the thing asked for of a body. */
type Read<A> = (request: Asked, headers: Headers, body: Uint8Array) => Effect.Effect<A, ApiError>;

/** How often something other than the API is asked before anything has answered as the API does, and how far apart at most. */
const STRANGER_ATTEMPTS = 3;
const STRANGER_DELAY = 2000;

/** A client of one tenant under one policy. Options out of range throw a RangeError. */
export const make = (
  tenant: Tenant.Tenant,
  options: HttpPolicyOptions = {},
): Effect.Effect<typeof TenantHttp.Service, never, Transport | Scope.Scope> =>
  Effect.map(Effect.all([Transport, Deadlines.make]), ([transport, deadlines]) => {
    const { maxAttempts = 8 } = options;
    if (!Number.isInteger(maxAttempts) || maxAttempts < 1) {
      throw new RangeError(
        `Cannot make requests as 'maxAttempts' must be a positive integer: it is ${maxAttempts}`,
      );
    }
    const timeout = positive("timeout", options.timeout ?? "30 seconds");
    const maxElapsed = positive("maxElapsed", options.maxElapsed ?? "5 minutes");
    const baseDelay = positive("baseDelay", options.baseDelay ?? "500 millis");
    const maxDelay = positive("maxDelay", options.maxDelay ?? "30 seconds");
    const gate = RateLimit.make(options);
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

    /** What an error answer says. Only a problem document speaks for the API: others may answer 404 in its name. */
    const refusalOf = (refusal: ApiError, headers: Headers, body: Uint8Array): ApiError => {
      const text = new TextDecoder().decode(body);
      const type = headers["content-type"] ?? "";
      if (refusal.status === 404 && !isProblem(text, type)) {
        return new ApiError({
          ...refusal,
          reason: "ContentType",
          detail: quote(`content-type is ${type || "not given"}`),
        });
      }
      isKnown ||= refusal.status === 404;
      return new ApiError({ ...refusal, problem: parseProblem(text, quote) });
    };

    /** The words of JSON.parse quote the body: rows, which are no one's business, or half of an echoed key. */
    const unreadable = (request: Asked, headers: Headers, body: Uint8Array, error: unknown): ApiError => {
      const type = headers["content-type"] ?? "application/json";
      return /[/+]json\b/i.test(type)
        ? fail(request, "Body", {
          detail: `the body, ${body.byteLength} bytes, is not ${
            error instanceof SyntaxError ? "JSON" : "UTF-8"
          }`,
        })
        : fail(request, "ContentType", { detail: `content-type is ${type}` });
    };

    const readPage: Read<Page> = (request, headers, body) => {
      try {
        const facts = PageFacts.parse(headers["x-pagination"]);
        const servedAt = secondsOf(headers["date"]);
        const scanned = request.scan?.(body);
        if (scanned !== undefined) {
          isKnown = true;
          return Effect.succeed(parsedLater({ bytes: body, scanned, facts, servedAt }));
        }
        const rows: unknown = JSON.parse(utf8.decode(body));
        if (!Array.isArray(rows)) {
          return Effect.fail(fail(request, "Body", { detail: "the body is JSON, but not an array" }));
        }
        isKnown = true;
        return Effect.succeed({ rows, bytes: body, facts, servedAt });
      } catch (error) {
        return Effect.fail(unreadable(request, headers, body, error));
      }
    };

    const readItem: Read<object> = (request, headers, body) => {
      try {
        const item: unknown = JSON.parse(utf8.decode(body));
        return typeof item === "object" && item !== null && !Array.isArray(item)
          ? Effect.succeed(item)
          : Effect.fail(fail(request, "Body", { detail: "the body is JSON, but not an object" }));
      } catch (error) {
        return Effect.fail(unreadable(request, headers, body, error));
      }
    };

    const attempt = <A>(
      request: Asked,
      read: Read<A>,
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
        const body = transport.get(
          urlOf(tenant.origin, request),
          request.fresh ? sentPastCaches : sent,
          (status, found) => {
            headers = found;
            refusal = judge(request, status, found, leftAt, clock.unsafeCurrentTimeMillis());
          },
          (abort) => {
            end = abort;
            // There may have been no time left to begin with.
            if (isLate) abort(new Error("timed out"));
          },
        );
        let callOff: (() => void) | undefined = deadlines.watch(clock, leftAt + limit, () => {
          isLate = true;
          end?.(new Error("timed out"));
        });
        const failureOf = (cause: unknown) =>
          refusal ?? (isLate
            ? fail(request, "Timeout", { detail: `no complete answer within ${limit / 1000} s` })
            : fail(request, "Transport", { detail: causes(cause) }));
        return Effect.onExit(body, (exit) =>
          Effect.sync(() => {
            callOff?.();
            answerTime += clock.unsafeCurrentTimeMillis() - leftAt;
            if (Exit.isFailure(exit)) end?.(new Error("interrupted"));
            // What is held here outlives the request by far otherwise: collections of the young then copy it all.
            end = callOff = undefined;
          })).pipe(
            Effect.matchEffect({
              onFailure: (cause) => Effect.fail(failureOf(cause)),
              onSuccess: (body) => {
                if (refusal !== undefined) return Effect.fail(refusalOf(refusal, headers, body));
                if (request.turn === undefined) return read(request, headers, body);
                const from = clock.unsafeCurrentTimeMillis();
                return Effect.flatMap(request.turn, () => {
                  onTurn(clock.unsafeCurrentTimeMillis() - from);
                  return read(request, headers, body);
                });
              },
            }),
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

    const ask = <A>(request: Asked, read: Read<A>): Effect.Effect<A, ApiError> => {
      const send = (before?: Retried): Effect.Effect<A, ApiError> =>
        Effect.flatMap(turn(request, before), (leftAt) => {
          requests++;
          if (before !== undefined) retries++;
          let deadline = before?.deadline ?? leftAt + maxElapsed;
          const limit = Math.min(timeout, deadline - leftAt);
          // For how long others were read before it is none of its doing.
          const onTurn = (waited: number) => void (deadline += waited);
          return Effect.catchAll(attempt(request, read, leftAt, limit, onTurn), (cause) => {
            const error = after(cause, (before?.error.attempts ?? 0) + 1);
            // What answers at a mistyped domain must not be asked for minutes.
            const isStranger = !isKnown && error.reason === "ContentType";
            const most = isStranger ? Math.min(STRANGER_ATTEMPTS, maxAttempts) : maxAttempts;
            if (!isTransient(error) || error.attempts >= most) return Effect.fail(error);
            return Effect.flatMap(Effect.all([Clock.currentTimeMillis, Random.next]), ([now, chance]) => {
              const jitter = chance * Math.min(maxDelay, baseDelay * 2 ** (error.attempts - 1));
              const delay = isStranger
                ? Math.min(STRANGER_DELAY, jitter)
                : Math.max(error.retryAfter ?? 0, jitter);
              lastFailure = error.reason;
              return now + delay < deadline
                ? Effect.flatMap(Effect.sleep(delay), () => send({ error, deadline }))
                : Effect.fail(error);
            });
          });
        });
      return send();
    };

    const list = (request: ListRequest) => ask(request, readPage);
    const item = (request: ItemRequest) => ask({ ...request, fresh: true }, readItem);
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
  ...RateLimit.optionNames,
  timeout: Options.any,
  maxAttempts: Options.number,
  maxElapsed: Options.any,
  baseDelay: Options.any,
  maxDelay: Options.any,
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
 * console.assert(page.rows.length <= 5);
 * ```
 */
export const connect = (
  { domain, apiKey, ...policy }: TenantOptions,
): Layer.Layer<TenantHttp, Tenant.TenantError, Transport> =>
  Layer.unwrapEffect(Effect.map(Tenant.make({ domain, apiKey }), (tenant) => layer(tenant, policy)));
