import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as Random from "effect/Random";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as TenantClient from "../../../src/api/TenantClient.ts";
import * as RateLimiter from "../../../src/api/rate/RateLimiter.ts";
import { Transport } from "../../../src/api/transport/Transport.ts";
import { ORIGIN, pageOf, tenantAt } from "../asking.ts";
import * as virtualClock from "../virtualClock.ts";
import { isLong, oneIn, some } from "../../size.ts";

/** Whether a request that comes now is accepted. */
interface Limit {
  readonly allows: (now: number) => boolean;
  /** Becomes another limit. */
  readonly become: (perSecond: number) => void;
}

/** Tokens that flow in evenly, of which as many are kept as make a burst. */
const bucket = (perSecond: number, burst: number): Limit => {
  let [flow, tokens, filled] = [perSecond, burst, 0];
  return {
    allows: (now) => {
      tokens = Math.min(burst, tokens + (now - filled) / 1000 * flow);
      filled = now;
      // The sum of many fractions.
      if (tokens < 1 - 1e-9) return false;
      tokens--;
      return true;
    },
    become: (perSecond) => flow = perSecond,
  };
};

/** So many in each second of the tenant's clock, which began so many milliseconds before ours. */
const windows = (perSecond: number, phase: number): Limit => {
  let [most, window, count] = [perSecond, -1, 0];
  return {
    allows: (now) => {
      const at = Math.floor((now + phase) / 1000);
      if (at !== window) [window, count] = [at, 0];
      return ++count <= most;
    },
    become: (perSecond) => most = perSecond,
  };
};

const unlimited: Limit = { allows: () => true, become: () => {} };

interface Play {
  readonly limit: Limit;
  readonly latency: number;
  /** What a refusal asks for, in seconds. */
  readonly retryAfter?: number | undefined;
  readonly seconds?: number;
  readonly concurrency?: number;
  readonly rate?: number | "auto";
  readonly seed?: number;
  /** At a second, another limit. */
  readonly changes?: ReadonlyArray<readonly [second: number, perSecond: number]>;
}

/** A request as the tenant saw it. */
interface Seen {
  readonly at: number;
  readonly isAccepted: boolean;
}

const EMPTY = new TextEncoder().encode("[]");

/** As many requests under way as may be, by the policy in whole, for a time. */
const play = async (
  {
    limit,
    latency,
    retryAfter,
    seconds = 60,
    concurrency = 32,
    rate = "auto",
    changes = [],
    seed = 1,
  }: Play,
) => {
  const { clock, pass } = virtualClock.make();
  const seen: Array<Seen> = [];
  const headers: Record<string, string> = retryAfter === undefined ? {} : { "retry-after": `${retryAfter}` };
  const way = latency === 0 ? Effect.void : Effect.sleep(latency / 2);
  const transport: typeof Transport.Service = {
    get: (_url, _headers, { onHead }) =>
      Effect.gen(function* () {
        yield* way;
        const at = yield* Clock.currentTimeMillis;
        const isAccepted = limit.allows(at);
        seen.push({ at, isAccepted });
        yield* way;
        onHead(isAccepted ? 200 : 429, isAccepted ? {} : headers);
        return EMPTY;
      }),
  };
  let traffic: () => TenantClient.Traffic = () => {
    throw new Error("not begun");
  };
  const asking = Effect.gen(function* () {
    const http = yield* TenantClient.make(tenantAt(ORIGIN), { rate, maxAttempts: 1000 });
    traffic = http.traffic;
    const one = (n: number) => Effect.forever(http.list(pageOf(`user${n}`)));
    yield* Effect.forEach(Array.from({ length: concurrency }, (_, n) => n), one, {
      concurrency: "unbounded",
      discard: true,
    });
  });
  const fiber = Effect.runFork(
    asking.pipe(
      Effect.scoped,
      Effect.provideService(Transport, transport),
      Effect.withRandom(Random.make(seed)),
      Effect.withClock(clock),
    ),
  );
  let passed = 0;
  for (const [second, perSecond] of changes) {
    await pass(second * 1000 - passed);
    passed = second * 1000;
    limit.become(perSecond);
  }
  await pass(seconds * 1000 - passed);
  const at = traffic();
  await Effect.runPromise(Fiber.interrupt(fiber));
  return { seen, traffic: at };
};

const accepted = (seen: ReadonlyArray<Seen>, from: number, to: number): number =>
  seen.filter(({ at, isAccepted }) => isAccepted && at >= from * 1000 && at < to * 1000).length / (to - from);

const refused = (seen: ReadonlyArray<Seen>): number =>
  seen.filter(({ isAccepted }) => !isAccepted).length / seen.length;

/** From which second on, after another one, nine tenths of a limit are used and no more than the limit. */
const followed = (seen: ReadonlyArray<Seen>, perSecond: number, from: number, to: number): number => {
  for (let second = from; second + 5 <= to; second += 0.5) {
    const share = accepted(seen, second, second + 5) / perSecond;
    if (share > 0.9 && share < 1.1) return second - from;
  }
  return Infinity;
};

const aRetryAfter = fc.constantFrom(undefined, 1);
const latencies = [0, 50, 200];

/** Limits as they are kept in one place or another, for a draw from 0 to 1. */
const kinds = {
  "a bucket with a burst": (perSecond: number) => bucket(perSecond, perSecond),
  "a bucket without": (perSecond: number) => bucket(perSecond, 1),
  "windows of a second": (perSecond: number, draw = 0.3) => windows(perSecond, Math.floor(draw * 1000)),
};

const all = Object.entries(kinds).flatMap(([kind, limit]) =>
  latencies.flatMap((latency) => [undefined, 1].map((retryAfter) => ({ kind, limit, latency, retryAfter })))
);

describe("rate: auto, 32 requests under way", () => {
  it.each(oneIn(5, all))(
    "50 a second: after ten seconds 95 % are used, and 1 % refused ($kind, $latency ms, Retry-After: $retryAfter)",
    async ({ kind, limit, latency, retryAfter }) => {
      // A window that ends as the rate is settled costs one hold more, a second.
      const least = kind === "windows of a second" && retryAfter !== undefined ? 0.93 : 0.95;
      for (let draw = 0; draw < 1; draw += kind !== "windows of a second" ? 1 : isLong ? 0.1 : 0.5) {
        const { seen, traffic } = await play({ limit: limit(50, draw), latency, retryAfter, seed: draw });
        expect(accepted(seen, 10, 60) / 50).toBeGreaterThanOrEqual(least);
        expect(refused(seen)).toBeLessThanOrEqual(0.01);
        expect(traffic.rate).toBeGreaterThan(40);
        expect(traffic.rate).toBeLessThan(60);
      }
    },
  );

  it(
    "any limit, however it is kept: after twenty seconds most of it is used, and few are refused",
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 15, max: 150 }),
          fc.constantFrom(...Object.values(kinds)),
          fc.double({ min: 0, max: 0.999, noNaN: true }),
          fc.integer({ min: 0, max: 200 }),
          aRetryAfter,
          async (perSecond, limit, draw, latency, retryAfter) => {
            const { seen } = await play({ limit: limit(perSecond, draw), latency, retryAfter });
            expect(accepted(seen, 20, 60) / perSecond).toBeGreaterThan(0.85);
            expect(refused(seen)).toBeLessThan(0.02);
          },
        ),
        { seed: 21, numRuns: some(40) },
      ),
  );

  it.each(oneIn(5, all.filter(({ latency }) => latency !== 50)))(
    "5 a second are found within ten seconds ($kind, $latency ms, Retry-After: $retryAfter)",
    async ({ limit, latency, retryAfter }) => {
      const { seen } = await play({ limit: limit(5), latency, retryAfter });
      expect(followed(seen, 5, 0, 60)).toBeLessThanOrEqual(10);
      expect(accepted(seen, 20, 60) / 5).toBeGreaterThan(0.8);
    },
  );

  it.skipIf(!isLong).each([
    { kind: "a bucket with a burst", limit: () => bucket(1000, 1000), retryAfter: 1 },
    { kind: "a bucket with a small one", limit: () => bucket(1000, 20), retryAfter: 1 },
    { kind: "windows of a second", limit: () => windows(1000, 300), retryAfter: 1 },
    { kind: "a bucket with a small burst", limit: () => bucket(1000, 20), retryAfter: undefined },
  ])(
    "1,000 a second are found within 25 seconds ($kind, Retry-After: $retryAfter)",
    async ({ limit, retryAfter }) => {
      const { seen } = await play({ limit: limit(), latency: 20, retryAfter });
      expect(followed(seen, 1000, 0, 60)).toBeLessThanOrEqual(25);
      expect(refused(seen)).toBeLessThan(0.005);
    },
    20_000,
  );

  it.each(oneIn(5, all))(
    "a limit that falls from 100 to 30 is followed within 15 seconds ($kind, $latency ms, Retry-After: $retryAfter)",
    async ({ limit, latency, retryAfter }) => {
      const { seen } = await play({
        limit: limit(100),
        latency,
        retryAfter,
        seconds: 90,
        changes: [[30, 30]],
      });
      expect(followed(seen, 30, 30, 90)).toBeLessThanOrEqual(15);
    },
    20_000,
  );

  it.each(oneIn(5, all))(
    "one that rises from 30 to 100 is followed within 40 seconds, 70 where a try costs a hold " +
      "($kind, $latency ms, Retry-After: $retryAfter)",
    async ({ limit, latency, retryAfter }) => {
      const { seen } = await play({
        limit: limit(30),
        latency,
        retryAfter,
        seconds: 140,
        changes: [[60, 100]],
      });
      expect(followed(seen, 100, 60, 140)).toBeLessThanOrEqual(retryAfter === undefined ? 40 : 70);
    },
    20_000,
  );

  it("does not hold back for long where there is no limit, and does not grow where it is not what holds back", async () => {
    for (const latency of isLong ? [50, 200] : [200]) {
      const most = 32 * 1000 / latency;
      const { seen, traffic } = await play({ limit: unlimited, latency });
      expect(accepted(seen, 10, 60)).toBeGreaterThan(0.99 * most);
      expect(traffic.rate).toBeLessThan(1.5 * most);
    }
  });

  it("sends nothing before a hold is over", async () => {
    const { seen } = await play({ limit: bucket(40, 10), latency: 0, retryAfter: 3 });
    let until = 0;
    for (const { at, isAccepted } of seen) {
      expect(at).toBeGreaterThanOrEqual(until);
      if (!isAccepted) until = at + 3000;
    }
    expect(until).toBeGreaterThan(0);
  });
});

describe("rate: 50", () => {
  it.each(latencies)(
    "is never refused, and uses 98 of a hundred of what a limit of 50 allows (%d ms)",
    async (latency) => {
      for (const limit of [bucket(50, 50), bucket(50, 5), windows(50, 300)]) {
        const { seen } = await play({ limit, latency, rate: 50 });
        expect(accepted(seen, 0, 60) / 50).toBeGreaterThan(0.98);
        expect(refused(seen)).toBe(0);
      }
    },
  );
});

describe("throttled()", () => {
  it("lowers the rate once for all requests that were under way", () => {
    const limiter = RateLimiter.make({ rate: "auto" });
    expect(limiter.state().rate).toBe(20);
    limiter.accepted();
    for (const leftAt of [100, 150, 200]) limiter.throttled(leftAt, 200);
    limiter.throttled(199, 210);
    expect(limiter.state().rate).toBe(12);
  });

  it("leaves the rate as it is while nothing at all is accepted", () => {
    const limiter = RateLimiter.make({ rate: "auto" });
    for (let second = 1; second < 60; second++) limiter.throttled(second * 1000, second * 1000 + 100);
    expect(limiter.state().rate).toBe(20);
  });

  it("holds the rate within 0.1 and 1,000,000 a second, whatever befalls", () =>
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 300 }), (answers) => {
        const limiter = RateLimiter.make({ rate: "auto" });
        answers.forEach((isAccepted, at) => {
          if (isAccepted) limiter.accepted();
          else limiter.throttled(at * 10, at * 10 + 5);
          expect(limiter.state().rate).toBeGreaterThanOrEqual(0.1);
          expect(limiter.state().rate).toBeLessThanOrEqual(1e6);
        });
      }),
      { seed: 22 },
    ));
});
