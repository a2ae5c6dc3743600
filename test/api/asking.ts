/**
 * A tenant made of a function, under effect's test clock: what was sent to it, and when.
 */
import * as Clock from "effect/Clock";
import type * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Random from "effect/Random";
import * as TestClock from "effect/TestClock";
import * as TestContext from "effect/TestContext";
import type * as Scope from "effect/Scope";
import type { ApiError } from "../../src/api/ApiError.ts";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as Tenant from "../../src/api/Tenant.ts";
import * as Transport from "../../src/api/transport/Transport.ts";

/** A key with everything that URLs and JSON write differently. */
export const KEY = `4Kq+zW/8p"Lm&Yt=Hc%Vr\\Xs<Jd'Ng~Bf:QuEo`;

export const ORIGIN = "https://acme.example";

export const tenantAt = (domain: string, apiKey = KEY): Tenant.Tenant =>
  Either.getOrThrow(Tenant.make({ domain, apiKey }));

/** A request as it was sent. */
export interface Sent {
  /** In milliseconds on the test clock. */
  readonly at: number;
  readonly url: URL;
  readonly headers: Headers;
  readonly redirect: string | undefined;
  readonly signal: AbortSignal;
}

/** How the tenant answers the request, which is the nth. */
export type Answer = (sent: Sent, n: number) => Response | Promise<Response>;

export const ok = (body = "[]", headers: Record<string, string> = {}): Response =>
  new Response(body, { headers: { "content-type": "application/json", ...headers } });

export const refuse = (status: number, headers: Record<string, string> = {}): Response =>
  new Response("", { status, headers });

/** A request for a page of a user's sessions. */
export const pageOf = (userId: string, page = 1): TenantClient.ListRequest<ReadonlyArray<unknown>> => ({
  path: `/api/users/${userId}/sessions`,
  query: { page: `${page}` },
  userId,
  page,
  decode: (body) => {
    const rows: unknown = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
    return Array.isArray(rows) ? rows : undefined;
  },
});

/** The tenant under its policy, and the list, growing, of what is sent to it. */
export const reach = (answer: Answer, options: TenantClient.TenantClientOptions = {}) =>
  Effect.gen(function* () {
    const clock = yield* Effect.clock;
    const sent: Array<Sent> = [];
    const fetch: typeof globalThis.fetch = async (input, init) => {
      const one: Sent = {
        at: clock.unsafeCurrentTimeMillis(),
        url: new URL(String(input)),
        headers: new Headers(init?.headers),
        redirect: init?.redirect,
        signal: init?.signal ?? new AbortController().signal,
      };
      sent.push(one);
      return await answer(one, sent.length);
    };
    const http = yield* Effect.provide(
      TenantClient.make(tenantAt(ORIGIN), options),
      Transport.fetch(fetch),
    );
    return { http, sent };
  });

/** Runs a program on the test clock, with a seeded random. */
export const run = <A, E>(program: Effect.Effect<A, E, Scope.Scope>, seed = "seed"): Promise<A> =>
  Effect.runPromise(
    program.pipe(
      Effect.scoped,
      Effect.withRandom(Random.make(seed)),
      Effect.provide(TestContext.TestContext),
    ),
  );

/** What came of a request, and when. */
export interface Outcome {
  readonly exit: Exit.Exit<TenantClient.Page<ReadonlyArray<unknown>>, ApiError>;
  readonly at: number;
}

/** Starts a request and does not wait for it. */
export const start = (http: typeof TenantClient.TenantClient.Service, request = pageOf("mia")) =>
  Effect.fork(Effect.all({ exit: Effect.exit(http.list(request)), at: Clock.currentTimeMillis }));

/** Lets a time pass, by default long enough for every patience to end, and gives what came of the requests. */
export const outcomes = (
  fibers: ReadonlyArray<Fiber.RuntimeFiber<Outcome>>,
  time: Duration.DurationInput = "1 day",
): Effect.Effect<ReadonlyArray<Outcome>> =>
  Effect.zipRight(TestClock.adjust(time), Effect.forEach(fibers, Fiber.join));

/** Asks once and lets time pass until it is decided. */
export const ask = (answer: Answer, options: TenantClient.TenantClientOptions = {}) =>
  Effect.gen(function* () {
    const { http, sent } = yield* reach(answer, options);
    const [outcome] = yield* outcomes([yield* start(http)]);
    return { ...outcome!, sent, traffic: http.traffic() };
  });

/** The error of an exit that must have failed. */
export const errorOf = (exit: Exit.Exit<unknown, ApiError>): ApiError => {
  if (Exit.isFailure(exit) && exit.cause._tag === "Fail") return exit.cause.error;
  throw new Error(`It should have failed: ${exit}`);
};

/** The times between one request and the next. */
export const gaps = (sent: ReadonlyArray<Sent>): ReadonlyArray<number> =>
  sent.slice(1).map(({ at }, n) => at - sent[n]!.at);
