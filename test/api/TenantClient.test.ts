import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as TestClock from "effect/TestClock";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import {
  ask,
  errorOf,
  gaps,
  KEY,
  ok,
  ORIGIN,
  outcomes,
  pageOf,
  reach,
  refuse,
  run,
  start,
  tenantAt,
} from "./asking.ts";
import { failures } from "./failures.ts";
import { some } from "../size.ts";

/** The longest wait after the nth attempt, as the defaults have it. */
const longest = (n: number): number => Math.min(30_000, 500 * 2 ** (n - 1));

/** How often something is asked that has not answered as the API does yet. */
const strangers: Readonly<Record<string, number>> = {
  UnknownHost: 1,
  Certificate: 1,
  WebPage: 3,
  ContentType: 3,
};

describe("list() on failure", () => {
  it.each(failures)(
    "$what: $reason",
    async ({ answer, reason, status, retried, takes = 0, says, advises }) => {
      const { exit, sent, traffic } = await run(
        ask(answer("over there"), { maxElapsed: "1 hour", maxAttempts: 8 }),
      );
      const error = errorOf(exit);
      // What is not the API is not asked for long before the API has answered once.
      const attempts = retried ? strangers[reason] ?? 8 : 1;
      expect({ ...error }).toMatchObject({
        _tag: "ApiError",
        reason,
        userId: "mia",
        page: 1,
        attempts,
      });
      expect(error.status).toBe(status);
      expect(error.message).toBe(
        `GET ${ORIGIN}/api/users/mia/sessions${attempts > 1 ? ` (after ${attempts} attempts)` : ""}: ${
          says("over there")
        }. ${advises}`,
      );
      expect(traffic).toMatchObject({ requests: attempts, retries: attempts - 1, waiting: 0 });
      expect(sent).toHaveLength(attempts);
      gaps(sent).forEach((gap, n) => {
        expect(gap - takes).toBeGreaterThanOrEqual(0);
        expect(gap - takes).toBeLessThanOrEqual(longest(n + 1));
      });
    },
  );

  it.each(failures.filter(({ retried }) => retried))(
    "$what: once the API has answered, a later answer counts",
    async ({ answer }) => {
      const failing = answer("over there");
      const { exits, sent } = await run(Effect.gen(function* () {
        const { http, sent } = yield* reach((one, n) => n === 1 || n > 6 ? ok(`[${n}]`) : failing(one, n));
        const exits = [];
        for (let n = 0; n < 2; n++) exits.push(...(yield* outcomes([yield* start(http)])));
        return { exits, sent };
      }));
      expect(exits.map(({ exit }) => Exit.map(exit, ({ rows }) => rows)))
        .toEqual([Exit.succeed([1]), Exit.succeed([7])]);
      expect(sent).toHaveLength(7);
    },
  );

  it("aborts a request that timed out", async () => {
    const { sent } = await run(ask(() => new Promise(() => {}), { maxAttempts: 3 }));
    expect(sent.map(({ signal }) => signal.aborted)).toEqual([true, true, true]);
  });

  it("ends a request whose time was up before there was anything to end", async () => {
    let reached = 0;
    const slowToBegin = Transport.Transport.of({
      get: (_url, _headers, { whenAborted }) =>
        Effect.zipRight(
          Effect.sleep("1 minute"),
          Effect.async<Uint8Array, unknown>((resume) => {
            whenAborted((reason) => resume(Effect.fail(reason)));
            reached++;
          }),
        ),
    });
    const { exit, at } = await run(Effect.gen(function* () {
      const http = yield* Effect.provideService(
        TenantClient.make(tenantAt(ORIGIN), { timeout: "10 seconds", maxAttempts: 1 }),
        Transport.Transport,
        slowToBegin,
      );
      const [outcome] = yield* outcomes([yield* start(http)]);
      return outcome!;
    }));
    expect(errorOf(exit)).toMatchObject({ reason: "Timeout" });
    expect([at, reached]).toEqual([60_000, 1]);
  });

  it("ends every request whose time is up, though one that is ended throws", async () => {
    const ended: Array<string> = [];
    const throwing = Transport.Transport.of({
      get: (url, _headers, { whenAborted }) =>
        Effect.async<Uint8Array, unknown>((resume) => {
          whenAborted((reason) => {
            ended.push(url);
            resume(Effect.fail(reason));
            if (reason.message === "timed out") throw new Error("not me");
          });
        }),
    });
    await run(Effect.gen(function* () {
      const http = yield* Effect.provideService(
        TenantClient.make(tenantAt(ORIGIN), { timeout: "10 seconds", maxAttempts: 1, rate: 1000 }),
        Transport.Transport,
        throwing,
      );
      const users = ["a", "b", "c"].map((user) => start(http, pageOf(user)));
      const ends = yield* outcomes(yield* Effect.all(users), "1 minute");
      const [later] = yield* outcomes([yield* start(http, pageOf("d"))], "1 minute");
      expect([...ends, later!].map(({ exit }) => errorOf(exit).reason)).toEqual(Array(4).fill("Timeout"));
    }));
    expect(new Set(ended).size).toBe(4);
  });

  it("asks again for a body that is no JSON, for however long others were read before it", async () => {
    const { exit, sent } = await run(Effect.gen(function* () {
      const { http, sent } = yield* reach((_, n) => ok(n === 1 ? "[" : "[1]"), { maxElapsed: "1 minute" });
      const turn = Effect.sleep("1 hour");
      const [outcome] = yield* outcomes([yield* start(http, { ...pageOf("mia"), turn })]);
      return { ...outcome!, sent };
    }));
    expect(Exit.map(exit, ({ rows }) => rows)).toEqual(Exit.succeed([1]));
    expect(sent).toHaveLength(2);
  });

  it("reads a 422 whose errors are of another kind", async () => {
    const body = JSON.stringify({ title: "Unprocessable Entity", errors: "size" });
    const { exit } = await run(ask(() => new Response(body, { status: 422 })));
    expect(errorOf(exit).problem).toMatchObject({ title: "Unprocessable Entity", errors: [] });
  });

  it("shows no control characters and no endless text, whatever the server says", () =>
    fc.assert(
      fc.asyncProperty(
        fc.string({ unit: "binary", maxLength: 3000 }),
        fc.constantFrom(400, 422),
        async (words, status) => {
          const body = JSON.stringify({ title: words, detail: words, errors: { [words]: [words] } });
          const { exit } = await run(ask(() => new Response(body, { status })));
          expect(errorOf(exit).message).not.toMatch(/\p{Cc}/u);
          expect(errorOf(exit).message.length).toBeLessThan(2500);
        },
      ),
      { seed: 3, numRuns: some(200) },
    ));
});

describe("list()", () => {
  it("gives the rows and the facts", async () => {
    const text = `[ {"session_id": "a", "n": 12345678901234567890} ]`;
    const pagination =
      `{"page_size":10,"current_page":1,"total_count":1,"has_previous":false,"has_next":false}`;
    const { exit } = await run(ask(() => ok(text, { "x-pagination": pagination })));
    expect(exit).toEqual(Exit.succeed({
      rows: JSON.parse(text),
      pagination: { pageSize: 10, page: 1, total: 1, hasNext: false },
      bytes: text.length,
      milliseconds: expect.any(Number),
    }));
  });

  it("takes JSON under any content type, or none", async () => {
    for (const type of ["text/plain", "application/vnd.monocloud+json", undefined]) {
      const headers = type === undefined ? {} : { "content-type": type };
      const { exit } = await run(ask(() => new Response(new TextEncoder().encode("[]"), { headers })));
      expect(Exit.isSuccess(exit)).toBe(true);
    }
  });

  it("asks with key and accept, follows no redirect and sends nothing of a trace", async () => {
    const { sent } = await run(Effect.withSpan(ask(() => ok()), "outer"));
    expect(sent[0]?.url.href).toBe(`${ORIGIN}/api/users/mia/sessions?page=1`);
    expect([...sent[0]?.headers ?? []]).toEqual([
      ["accept", "application/json, application/problem+json"],
      ["x-api-key", KEY],
    ]);
    expect(sent[0]?.redirect).toBe("manual");
  });
});

describe("the wait between attempts", () => {
  it("lies between 0 and the doubling limit, for any seed and any options", () =>
    fc.assert(
      fc.asyncProperty(
        fc.string(),
        fc.integer({ min: 1, max: 2000 }),
        fc.integer({ min: 1, max: 20_000 }),
        async (seed, baseDelay, maxDelay) => {
          const options = { baseDelay, maxDelay, maxAttempts: 6, maxElapsed: "1 hour", rate: 1e6 } as const;
          const { sent } = await run(ask(() => refuse(503), options), seed);
          expect(sent).toHaveLength(6);
          gaps(sent).forEach((gap, n) => {
            expect(gap).toBeGreaterThanOrEqual(0);
            // The rate limit and the clock count in whole milliseconds.
            expect(gap).toBeLessThanOrEqual(Math.min(maxDelay, baseDelay * 2 ** n) + 1);
          });
        },
      ),
      { seed: 1, numRuns: some(200) },
    ));

  it("is another share of its limit each time, and another with another seed", async () => {
    const shares = async (seed: string) => {
      const { sent } = await run(ask(() => refuse(500), { maxAttempts: 8, maxElapsed: "1 hour" }), seed);
      return gaps(sent).map((gap, n) => Math.round(1e4 * gap / longest(n + 1)));
    };
    const [one, same, other] = [await shares("one"), await shares("one"), await shares("other")];
    expect(new Set(one).size).toBe(7);
    expect(same).toEqual(one);
    expect(other).not.toEqual(one);
  });

  it("makes use of all of its range", async () => {
    const shares: Array<number> = [];
    for (let seed = 0; seed < 12; seed++) {
      const { sent } = await run(ask(() => refuse(500)), `${seed}`);
      shares.push(...gaps(sent).map((gap, n) => gap / longest(n + 1)));
    }
    expect(Math.min(...shares)).toBeLessThan(0.1);
    expect(Math.max(...shares)).toBeGreaterThan(0.9);
  });
});

describe("Retry-After", () => {
  /** When the second attempt is sent if the first is answered with these headers at 1000 ms. */
  const secondAt = async (headers: Record<string, string>, status = 429, baseDelay = 1) => {
    const { sent } = await run(Effect.gen(function* () {
      yield* TestClock.setTime(1000);
      return yield* ask((_, n) => n === 1 ? refuse(status, headers) : ok(), { baseDelay, rate: 1e6 });
    }));
    expect(sent).toHaveLength(2);
    return sent[1]!.at - 1000;
  };

  it("is waited for in seconds, by every status that is retried", async () => {
    for (const status of [408, 425, 429, 500, 502, 503, 504]) {
      const at = await secondAt({ "retry-after": "7" }, status);
      expect(at).toBeGreaterThanOrEqual(7000);
      expect(at).toBeLessThanOrEqual(7001);
    }
    expect(await secondAt({ "retry-after": " 1.5 " })).toBe(1500);
  });

  it("is measured by the tenant's clock if the date comes with a Date", async () => {
    expect(
      await secondAt({
        "retry-after": "Wed, 21 Oct 2037 07:28:20 GMT",
        date: "Wed, 21 Oct 2037 07:28:00 GMT",
      }),
    ).toBe(20_000);
  });

  it("is measured by our clock if not", async () => {
    expect(await secondAt({ "retry-after": "Thu, 01 Jan 1970 00:00:10 GMT" })).toBe(9000);
    expect(await secondAt({ "retry-after": "Thu, 01 Jan 1970 00:00:10 GMT", date: "today" })).toBe(9000);
  });

  it("may have the older forms of a date, in whatever time zone we are", async () => {
    const before = process.env["TZ"];
    try {
      for (const zone of ["America/New_York", "Asia/Kathmandu", "UTC"]) {
        process.env["TZ"] = zone;
        expect(await secondAt({ "retry-after": "Thursday, 01-Jan-70 00:00:10 GMT" })).toBe(9000);
        expect(await secondAt({ "retry-after": "Thu Jan  1 00:00:10 1970" })).toBe(9000);
      }
    } finally {
      if (before === undefined) delete process.env["TZ"];
      else process.env["TZ"] = before;
    }
  });

  it("counts for nothing if it is in the past or can't be read", async () => {
    const values = [
      "0",
      "Thu, 01 Jan 1970 00:00:00 GMT",
      "soon",
      "",
      "-1",
      "-100",
      "1e3",
      "10 s",
      "120, 60",
    ];
    for (const value of values) {
      expect(await secondAt({ "retry-after": value })).toBeLessThanOrEqual(1);
    }
  });

  it("does not shorten the wait", async () => {
    const [without, withIt] = [
      await secondAt({}, 429, 30_000),
      await secondAt({ "retry-after": "1" }, 429, 30_000),
    ];
    expect(without).toBeGreaterThan(1000);
    expect(withIt).toBe(without);
  });

  it("is heeded even if the body of the answer never ends", async () => {
    const { sent } = await run(
      ask((_, n) =>
        n > 1 ? ok() : new Response(new ReadableStream({ pull: () => new Promise(() => {}) }), {
          status: 429,
          headers: { "retry-after": "100" },
        }), { timeout: "1 second" }),
    );
    expect(sent[1]?.at).toBeGreaterThanOrEqual(100_000);
  });

  it("holds back every request of any user, never one sooner", () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 250 }),
        fc.constantFrom(408, 425, 429, 500, 502, 503, 504),
        fc.array(fc.integer({ min: 0, max: 300_000 }), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 20 }),
        async (seconds, status, starts, rate) => {
          const sent = await run(Effect.gen(function* () {
            const { http, sent } = yield* reach(
              (_, n) => n === 1 ? refuse(status, { "retry-after": `${seconds}` }) : ok(),
              { rate, maxElapsed: "10 minutes" },
            );
            const first = yield* start(http);
            yield* TestClock.adjust(1);
            const others = yield* Effect.forEach(
              starts,
              (at, n) => Effect.fork(Effect.delay(http.list(pageOf(`user${n}`)), at)),
            );
            yield* outcomes([first]);
            yield* Effect.forEach(others, Fiber.join);
            return sent;
          }));
          expect(sent).toHaveLength(starts.length + 2);
          for (const { at } of sent.slice(1)) expect(at).toBeGreaterThanOrEqual(seconds * 1000);
        },
      ),
      { seed: 5, numRuns: some(200) },
    ));

  it("is for the patient: beyond maxElapsed this request and others fail at once", async () => {
    await run(Effect.gen(function* () {
      const { http, sent } = yield* reach((_, n) => n === 1 ? refuse(429, { "retry-after": "301" }) : ok());
      const [first] = yield* outcomes([yield* start(http)], 0);
      expect(first?.at).toBe(0);
      expect(errorOf(first!.exit)).toMatchObject({
        reason: "RateLimited",
        status: 429,
        retryAfter: 301_000,
        attempts: 1,
      });
      expect(errorOf(first!.exit).message).toBe(
        `GET ${ORIGIN}/api/users/mia/sessions: 429 RateLimited: it asks to be left alone for 301 s. ` +
          "The tenant limits the rate of requests: lower --rate or raise --max-elapsed.",
      );
      const [other] = yield* outcomes([yield* start(http, pageOf("ben"))], 500);
      expect(other?.at).toBe(0);
      expect(errorOf(other!.exit)).toMatchObject({ reason: "RateLimited", retryAfter: 301_000, attempts: 0 });
      expect(errorOf(other!.exit).status).toBeUndefined();
      expect(errorOf(other!.exit).message).toBe(
        `GET ${ORIGIN}/api/users/ben/sessions: RateLimited: it asks to be left alone for 301 s. ` +
          "The tenant limits the rate of requests: lower --rate or raise --max-elapsed.",
      );
      expect(sent).toHaveLength(1);
      // Within patience again: it is waited for.
      yield* TestClock.adjust("2 seconds");
      const [later] = yield* outcomes([yield* start(http, pageOf("eva"))]);
      expect(Exit.isSuccess(later!.exit)).toBe(true);
      expect(sent[1]?.at).toBe(301_000);
    }));
  });

  it("beyond patience fails those that stand in line, when their turn would have come", async () => {
    await run(Effect.gen(function* () {
      const { http, sent } = yield* reach(() => refuse(503, { "retry-after": "86400" }), { rate: 1 });
      const fibers = yield* Effect.forEach(["a", "b", "c", "d"], (user) => start(http, pageOf(user)));
      const all = yield* outcomes(fibers, "1 second");
      expect(all.map(({ at }) => at)).toEqual([0, 1000, 1000, 1000]);
      expect(all.map(({ exit }) => errorOf(exit).reason)).toEqual([
        "ServerError",
        "RateLimited",
        "RateLimited",
        "RateLimited",
      ]);
      expect(sent).toHaveLength(1);
    }));
  });
});

describe("the caps", () => {
  it.each([1, 2, 5])("'maxAttempts' of %i is how often a request is sent", async (maxAttempts) => {
    const { exit, sent } = await run(ask(() => refuse(503), { maxAttempts }));
    expect(sent).toHaveLength(maxAttempts);
    expect(errorOf(exit).attempts).toBe(maxAttempts);
  });

  it("'maxElapsed' is never exceeded by any request, however slow the tenant and the rate", () =>
    fc.assert(
      fc.asyncProperty(
        fc.record({
          maxElapsed: fc.integer({ min: 1, max: 60_000 }),
          timeout: fc.integer({ min: 1, max: 20_000 }),
          baseDelay: fc.integer({ min: 1, max: 5000 }),
          rate: fc.double({ min: 0.1, max: 10, noNaN: true }),
        }),
        fc.array(fc.constantFrom("503", "hang", "7 s", "45 s"), { minLength: 1, maxLength: 5 }),
        fc.integer({ min: 1, max: 4 }),
        async (options: TenantClient.TenantClientOptions, behaviour, users) => {
          const answer = (_: unknown, n: number) => {
            const kind = behaviour[n % behaviour.length]!;
            if (kind === "hang") return new Promise<Response>(() => {});
            return refuse(503, kind === "503" ? {} : { "retry-after": `${parseInt(kind)}` });
          };
          await run(Effect.gen(function* () {
            const { http, sent } = yield* reach(answer, options);
            const names = Array.from({ length: users }, (_, n) => `user${n}`);
            const fibers = yield* Effect.forEach(names, (name) => start(http, pageOf(name)));
            const ends = yield* outcomes(fibers);
            names.forEach((name, n) => {
              const own = sent.filter(({ url }) => url.pathname.includes(name));
              expect(errorOf(ends[n]!.exit).attempts).toBe(own.length);
              if (own.length === 0) return;
              // The clock counts in whole milliseconds.
              expect(ends[n]!.at - own[0]!.at).toBeLessThanOrEqual(Number(options.maxElapsed) + 1);
            });
          }));
        },
      ),
      { seed: 7, numRuns: some(300) },
    ));

  it("'maxElapsed' is used up, for any outage: one that ends in time is outlasted, without 'maxAttempts'", () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 2000, max: 600_000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.string(),
        async (maxElapsed, share, seed) => {
          // Requests are tried a last time a second before the end.
          const outage = share * (maxElapsed - 1001);
          const answer = ({ at }: { readonly at: number }) => at < outage ? refuse(503) : ok("[1]");
          const { exit, at } = await run(ask(answer, { maxElapsed }), seed);
          expect(Exit.map(exit, ({ rows }) => rows)).toEqual(Exit.succeed([1]));
          expect(at).toBeLessThanOrEqual(maxElapsed);
        },
      ),
      { seed: 3, numRuns: some(300) },
    ));

  it("'maxElapsed' ends in the failure of the last attempt, not in one of its own", async () => {
    const { exit, at, sent } = await run(
      ask(() => refuse(502), { maxElapsed: "4 seconds", maxAttempts: 100 }),
    );
    expect(errorOf(exit)).toMatchObject({ reason: "ServerError", status: 502, attempts: sent.length });
    expect(sent.length).toBeGreaterThan(2);
    expect(at).toBeLessThanOrEqual(4000);
  });

  it.each(
    [
      [{ maxAttempts: 0 }, "'maxAttempts' must be a positive integer: it is 0"],
      [{ maxAttempts: 1.5 }, "'maxAttempts' must be a positive integer: it is 1.5"],
      [{ timeout: 0 }, "'timeout' must be longer than 0: it is 0 ms"],
      [{ maxElapsed: -1 }, "'maxElapsed' must be longer than 0: it is 0 ms"],
      [{ baseDelay: Number.NaN }, "'baseDelay' must be longer than 0"],
      [{ maxDelay: "0 seconds" }, "'maxDelay' must be longer than 0: it is 0 ms"],
      [{ rate: 0 }, "'rate' must be above 0 and at most 1,000,000 a second: it is 0"],
      [{ burst: 0.5 }, "'burst' must be at least 1: it is 0.5"],
    ] satisfies ReadonlyArray<readonly [TenantClient.TenantClientOptions, string]>,
  )("%o is refused", async (options, words) => {
    await expect(run(reach(() => ok(), options))).rejects.toThrow(words);
  });
});

describe("traffic()", () => {
  it("counts requests, retries and those in line, and tells the pace", async () => {
    await run(Effect.gen(function* () {
      const { http } = yield* reach((_, n) => n === 1 ? refuse(429, { "retry-after": "10" }) : ok(), {
        rate: 1,
      });
      expect(http.traffic()).toEqual({
        requests: 0,
        retries: 0,
        refused: 0,
        answerTime: 0,
        waiting: 0,
        rate: 1,
        heldUntil: 0,
      });
      const fibers = yield* Effect.forEach(["a", "b", "c"], (user) => start(http, pageOf(user)));
      yield* TestClock.adjust(0);
      expect(http.traffic()).toEqual({
        requests: 1,
        retries: 0,
        refused: 1,
        answerTime: 0,
        waiting: 2,
        rate: 0.5,
        heldUntil: 10_000,
        lastFailure: "RateLimited",
      });
      yield* outcomes(fibers);
      expect(http.traffic()).toMatchObject({ requests: 4, retries: 1, waiting: 0 });
    }));
  });

  it("tells of no hold when the tenant asked for none", async () => {
    const { traffic } = await run(ask(() => refuse(500)));
    expect(traffic.heldUntil).toBe(0);
  });

  it("slows down once for all the requests that were under way", async () => {
    await run(Effect.gen(function* () {
      const { http } = yield* reach((_, n) => n <= 5 ? refuse(429) : ok(), { rate: 100, burst: 5 });
      const fibers = yield* Effect.forEach(["a", "b", "c", "d", "e"], (user) => start(http, pageOf(user)));
      yield* TestClock.adjust(0);
      expect(http.traffic()).toMatchObject({ requests: 5, rate: 50 });
      yield* outcomes(fibers);
    }));
  });
});
