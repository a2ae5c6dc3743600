/**
 * How requests are made: one policy for every request to a tenant, composed from the inside out of key and headers, one
 * attempt with a timeout, status to error, the rate limit that every attempt passes, and retries.
 *
 * @module
 */
import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
import * as HttpClient from "@effect/platform/HttpClient";
import * as HttpClientRequest from "@effect/platform/HttpClientRequest";
import type * as HttpClientResponse from "@effect/platform/HttpClientResponse";
import * as Clock from "effect/Clock";
import * as Context from "effect/Context";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Random from "effect/Random";
import * as Redacted from "effect/Redacted";
import { ApiError, type ApiErrorReason, isTransient, parseProblem, reasonOf } from "./ApiError.ts";
import * as PageFacts from "./PageFacts.ts";
import * as RateLimit from "./RateLimit.ts";
import type { Tenant } from "./Tenant.ts";

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
   * How long a request may take in all, from its first attempt on.
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
  /** The body as served: a JSON array, whose elements are the rows. */
  readonly text: string;
  /** Absent if the tenant sent none that could be read. */
  readonly facts: PageFacts.PageFacts | undefined;
}

/** A request for one page of a list. `userId` and `page` locate an error. */
export interface ListRequest {
  /** Percent-encoded, from `/` on. */
  readonly path: string;
  readonly query: Readonly<Record<string, string | undefined>>;
  readonly userId?: string | undefined;
  readonly page: number;
}

/** What has been asked of the tenant so far, and at what pace it goes on. */
export interface Traffic extends RateLimit.Pace {
  /** Attempts sent, retries included. */
  readonly requests: number;
  readonly retries: number;
}

/** The tenant, reached under its policy: every request of a program that shares it shares the pace. */
export class TenantHttp extends Context.Tag("monocloud-sessions/TenantHttp")<TenantHttp, {
  /** Asks for one page. Retried as the policy says. */
  readonly list: (request: ListRequest) => Effect.Effect<Page, ApiError>;
  readonly traffic: () => Traffic;
}>() {}

const retryAfter = (response: HttpClientResponse.HttpClientResponse, now: number): number | undefined => {
  const header = response.headers["retry-after"]?.trim();
  if (!header) return undefined;
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const until = Date.parse(header);
  // The tenant's date is measured against the tenant's clock where it tells it, for ours may be wrong.
  const serverNow = Date.parse(response.headers["date"] ?? "");
  return Number.isNaN(until) ? undefined : Math.max(0, until - (Number.isNaN(serverNow) ? now : serverNow));
};

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

const positive = (name: string, value: Duration.DurationInput): number => {
  const millis = Duration.toMillis(value);
  if (millis > 0) return millis;
  throw new RangeError(`Cannot make requests as '${name}' must be longer than 0: it is ${millis} ms`);
};

/** A client of one tenant under one policy. Options out of range throw a RangeError. */
export const make = (
  tenant: Tenant,
  options: HttpPolicyOptions = {},
): Effect.Effect<typeof TenantHttp.Service, never, HttpClient.HttpClient> =>
  Effect.map(HttpClient.HttpClient, (anyClient) => {
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
    const client = HttpClient.withTracerPropagation(anyClient, false);
    let requests = 0;
    let retries = 0;

    // A tenant, a proxy or a client may quote what it was sent: the key is taken out of every word of theirs.
    const withoutKey = (text: string): string => text.replaceAll(key, "<redacted>");

    const fail = (
      { path, userId, page }: ListRequest,
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
        detail: rest.detail && withoutKey(rest.detail),
      });

    const read = (
      request: ListRequest,
      response: HttpClientResponse.HttpClientResponse,
      body: ArrayBuffer,
      now: number,
    ) => {
      const { status } = response;
      if (status !== 200) {
        const problem = parseProblem(withoutKey(new TextDecoder().decode(body)));
        return Effect.fail(fail(request, reasonOf(status), {
          status,
          problem,
          retryAfter: retryAfter(response, now),
          ...(response.headers["location"] && { detail: `it points to ${response.headers["location"]}` }),
        }));
      }
      const type = response.headers["content-type"] ?? "application/json";
      try {
        const text = utf8.decode(body);
        const rows: unknown = JSON.parse(text);
        if (Array.isArray(rows)) {
          return Effect.succeed<Page>({
            rows,
            text,
            facts: PageFacts.parse(response.headers["x-pagination"]),
          });
        }
        return Effect.fail(fail(request, "Body", { detail: "the body is JSON, but not an array" }));
      } catch (error) {
        return Effect.fail(
          /[/+]json\b/i.test(type)
            ? fail(request, "Body", { detail: `${causes(error)}, in a body of ${body.byteLength} bytes` })
            : fail(request, "ContentType", { detail: `content-type is ${type}` }),
        );
      }
    };

    const attempt = (request: ListRequest, sent: HttpClientRequest.HttpClientRequest, leftAt: number) =>
      client.execute(sent).pipe(
        Effect.flatMap((response) => Effect.map(response.arrayBuffer, (body) => ({ response, body }))),
        Effect.provideService(FetchHttpClient.RequestInit, { redirect: "manual" }),
        // The client's error holds the request, and with it the key: only the words beneath it are taken over.
        Effect.mapError((error) => fail(request, "Transport", { detail: causes(error.cause ?? error) })),
        Effect.timeoutFail({
          duration: timeout,
          onTimeout: () =>
            fail(request, "Timeout", { detail: `no complete answer within ${timeout / 1000} s` }),
        }),
        Effect.flatMap(({ response, body }) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            if (response.status === 429) gate.throttled(leftAt, now);
            else if (response.status < 500) gate.accepted();
            return read(request, response, body, now);
          })
        ),
      );

    /** Waits for a turn, unless the tenant wants to be left alone for longer than the caller has patience. */
    const turn = (request: ListRequest) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const wait = gate.pace().heldUntil - now;
        return wait <= maxElapsed ? gate.take : Effect.fail(fail(request, "RateLimited", {
          retryAfter: wait,
          detail: `the tenant asks to be left alone for ${
            Math.ceil(wait / 1000)
          } s, longer than the patience given`,
        }));
      });

    const list = (request: ListRequest): Effect.Effect<Page, ApiError> => {
      const sent = HttpClientRequest.get(`${tenant.origin}${request.path}`, {
        urlParams: request.query,
        headers: { "x-api-key": key, accept: "application/json, application/problem+json" },
      });
      const tryFrom = (number: number, began: number | undefined): Effect.Effect<Page, ApiError> =>
        Effect.flatMap(Effect.mapError(turn(request), (error) => after(error, number - 1)), (leftAt) => {
          requests++;
          return Effect.catchAll(attempt(request, sent, leftAt), (error) => {
            const final = () => Effect.fail(after(error, number));
            if (!isTransient(error)) return final();
            return Effect.flatMap(Effect.all([Clock.currentTimeMillis, Random.next]), ([now, chance]) => {
              const floor = error.retryAfter ?? 0;
              gate.hold(now + floor);
              const delay = Math.max(floor, chance * Math.min(maxDelay, baseDelay * 2 ** (number - 1)));
              if (number >= maxAttempts || now - (began ?? leftAt) + delay > maxElapsed) return final();
              retries++;
              return Effect.flatMap(Effect.sleep(delay), () => tryFrom(number + 1, began ?? leftAt));
            });
          });
        });
      return tryFrom(1, undefined);
    };

    return { list, traffic: () => ({ ...gate.pace(), requests, retries }) };
  });

/**
 * The tenant under its policy, as a service.
 *
 * @example
 * ```ts
 * import { HttpPolicy, SessionsApi, Tenant } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 *
 * const sandbox = Sandbox.make({ users: 1 });
 * const [userId = ""] = sandbox.userIds();
 * const tenant = await Effect.runPromise(Tenant.make({ domain: "https://sandbox.example", apiKey: sandbox.key }));
 * const http = HttpPolicy.layer(tenant, { rate: 50 }).pipe(
 *   Layer.provide(FetchHttpClient.layer),
 *   Layer.provide(Layer.succeed(FetchHttpClient.Fetch, (input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const page = await Effect.runPromise(Effect.provide(SessionsApi.page(userId, { page: 1, size: 5 }), http));
 * console.assert(page.rows.length <= 5);
 * ```
 */
export const layer = (
  tenant: Tenant,
  options?: HttpPolicyOptions,
): Layer.Layer<TenantHttp, never, HttpClient.HttpClient> => Layer.effect(TenantHttp, make(tenant, options));
