import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as TestClock from "effect/TestClock";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as RateLimiter from "../../../src/api/rate/RateLimiter.ts";
import { run } from "../asking.ts";
import { some } from "../../size.ts";

/** Who left when. */
interface Departure {
  readonly who: number;
  readonly at: number;
}

interface Scene {
  readonly arrived: Array<number>;
  readonly left: Array<Departure>;
}

/** One that arrives after a time and waits for its turn. */
const arrive = (limiter: RateLimiter.RateLimiter, { arrived, left }: Scene, who: number, after: number) =>
  Effect.fork(Effect.gen(function* () {
    yield* Effect.sleep(after);
    arrived.push(who);
    left.push({ who, at: yield* limiter.acquire(Infinity) });
  }));

/** Something that befalls the limiter. */
type Event = readonly [at: number, kind: "accepted" | "throttled" | "hold", length: number];

const befall = (limiter: RateLimiter.RateLimiter, [at, kind, length]: Event) =>
  Effect.fork(Effect.gen(function* () {
    yield* Effect.sleep(at);
    const now = yield* Clock.currentTimeMillis;
    if (kind === "accepted") limiter.accepted();
    else if (kind === "throttled") limiter.throttled(now, now);
    else limiter.pauseUntil(now + length);
  }));

const anArrival = fc.tuple(fc.integer({ min: 0, max: 4000 }), fc.integer({ min: 1, max: 6 }));
const anEvent: fc.Arbitrary<Event> = fc.tuple(
  fc.integer({ min: 0, max: 4000 }),
  fc.constantFrom("accepted", "throttled", "hold"),
  fc.integer({ min: 0, max: 3000 }),
);
const aLimit = fc.record({
  rate: fc.oneof(
    fc.double({ min: 0.2, max: 20, noNaN: true }),
    fc.double({ min: 20, max: 1e6, noNaN: true }),
  ),
  burst: fc.option(fc.double({ min: 1, max: 8, noNaN: true }), { nil: undefined }),
});

/** A limit, arrivals and events. */
const aScene = [
  aLimit,
  fc.array(anArrival, { minLength: 1, maxLength: 6 }),
  fc.array(anEvent, { maxLength: 8 }),
] as const;

/** Plays arrivals, several at a time, and events, and gives what was seen. */
const play = (
  options: RateLimiter.RateLimiterOptions,
  arrivals: ReadonlyArray<readonly [after: number, count: number]>,
  events: ReadonlyArray<Event> = [],
) =>
  run(Effect.gen(function* () {
    const limiter = RateLimiter.make(options);
    const scene: Scene = { arrived: [], left: [] };
    let who = 0;
    for (const [after, count] of arrivals) {
      for (let n = 0; n < count; n++) yield* arrive(limiter, scene, who++, after);
    }
    yield* Effect.forEach(events, (event) => befall(limiter, event));
    yield* TestClock.adjust("30 days");
    return { ...scene, pace: limiter.state() };
  }));

/** The worst excess over `burst + rate * t` in any window. */
const excess = (left: ReadonlyArray<Departure>, rate: number, burst: number): number => {
  let worst = -Infinity;
  for (let from = 0; from < left.length; from++) {
    for (let to = from; to < left.length; to++) {
      const seconds = (left[to]!.at - left[from]!.at) / 1000;
      worst = Math.max(worst, to - from + 1 - (burst + rate * seconds));
    }
  }
  return worst;
};

describe("take()", () => {
  it("lets no more than burst + rate * t through in any t seconds, whatever arrives and befalls", () =>
    fc.assert(
      fc.asyncProperty(
        ...aScene,
        async (options, arrivals, events) => {
          const { left, pace } = await play(options, arrivals, events);
          const burst = options.burst ?? Math.max(1, options.rate / 10);
          expect(left).toHaveLength(arrivals.reduce((sum, [, count]) => sum + count, 0));
          expect(excess(left, options.rate, burst)).toBeLessThan(1e-6);
          expect(pace.waiting).toBe(0);
        },
      ),
      { seed: 11, numRuns: some(300) },
    ));

  it("serves in order of arrival, whatever befalls", () =>
    fc.assert(
      fc.asyncProperty(
        ...aScene,
        async (options, arrivals, events) => {
          const { arrived, left } = await play(options, arrivals, events);
          expect(left.map(({ who }) => who)).toEqual(arrived);
        },
      ),
      { seed: 12, numRuns: some(300) },
    ));

  it("wastes nothing of the rate: a line of 20 at 10 a second and a burst of 4 is gone after 1.6 s", async () => {
    const { left } = await play({ rate: 10, burst: 4 }, [[0, 20]]);
    expect(left.map(({ at }) => at)).toEqual([
      ...[0, 0, 0, 0],
      ...Array.from({ length: 16 }, (_, n) => (n + 1) * 100),
    ]);
  });

  it("keeps to a rate that does not divide a second", async () => {
    const { left } = await play({ rate: 70 }, [[0, 7 + 70]]);
    // Every turn is rounded up to a whole millisecond; the fractions do not add up.
    expect(left.at(-1)?.at).toBeGreaterThanOrEqual(1000);
    expect(left.at(-1)?.at).toBeLessThanOrEqual(1001);
  });

  it("saves up no more than a burst, however long the pause", async () => {
    const { left } = await play({ rate: 1, burst: 3 }, [[0, 1], [100_000_000, 5]]);
    expect(left.slice(1).map(({ at }) => at - 100_000_000)).toEqual([0, 0, 0, 1000, 2000]);
  });

  it("gives the time at which the turn came", () =>
    run(Effect.gen(function* () {
      const limiter = RateLimiter.make({ rate: 1 });
      yield* limiter.acquire(0);
      const second = yield* Effect.fork(Effect.zip(limiter.acquire(0), Clock.currentTimeMillis));
      yield* TestClock.adjust("1 minute");
      expect(yield* Fiber.join(second)).toEqual([1000, 1000]);
    })));

  it("counts those who wait, also when any of them are interrupted, and costs the others no time", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.boolean(), { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 0, max: 1500 }),
        (interrupted, after) =>
          run(Effect.gen(function* () {
            const limiter = RateLimiter.make({ rate: 4, burst: 1 });
            yield* limiter.acquire(0);
            const scene: Scene = { arrived: [], left: [] };
            const fibers = yield* Effect.forEach(interrupted, (_, who) => arrive(limiter, scene, who, 0));
            yield* TestClock.adjust(after);
            const served = Math.floor(after / 250);
            expect(limiter.state().waiting).toBe(Math.max(0, interrupted.length - served));
            yield* Effect.forEach(fibers, (fiber, who) =>
              interrupted[who] ? Fiber.interrupt(fiber) : Effect.void);
            const left = interrupted.flatMap((gone, who) =>
              who < served || !gone ? [who] : []
            );
            expect(limiter.state().waiting).toBe(left.filter((who) => who >= served).length);
            yield* TestClock.adjust("1 minute");
            expect(scene.left).toEqual(left.map((who, n) => ({ who, at: (n + 1) * 250 })));
            expect(limiter.state().waiting).toBe(0);
          })),
      ),
      { seed: 13, numRuns: some(300) },
    ));

  it("works on after those in line were interrupted all at once", () =>
    run(Effect.gen(function* () {
      const limiter = RateLimiter.make({ rate: 1 });
      const all = yield* Effect.fork(
        Effect.all(Array.from({ length: 100 }, () => limiter.acquire(0)), { concurrency: "unbounded" }),
      );
      yield* TestClock.adjust(0);
      expect(limiter.state().waiting).toBe(99);
      yield* Fiber.interrupt(all);
      expect(limiter.state().waiting).toBe(0);
      const next = yield* Effect.fork(limiter.acquire(0));
      yield* TestClock.adjust("1 second");
      expect(yield* Fiber.join(next)).toBe(1000);
    })));
});

describe("hold()", () => {
  it("lets nobody through before its end, then a burst", async () => {
    const { left } = await play({ rate: 10, burst: 3 }, [[0, 5], [450, 2]], [[50, "hold", 950]]);
    expect(left.map(({ at }) => at)).toEqual([0, 0, 0, 1000, 1000, 1000, 1100]);
  });

  it("is never shortened by another", async () => {
    const { left, pace } = await play({ rate: 10 }, [[200, 1]], [[0, "hold", 5000], [100, "hold", 10]]);
    expect(left[0]?.at).toBe(5000);
    expect(pace.heldUntil).toBe(5000);
  });

  it("fails those without the patience for it, at once or when their turn would have come", () =>
    run(Effect.gen(function* () {
      const limiter = RateLimiter.make({ rate: 1 });
      yield* limiter.acquire(0);
      const inLine = yield* Effect.fork(Effect.exit(limiter.acquire(8000)));
      const patient = yield* Effect.fork(limiter.acquire(Infinity));
      yield* TestClock.adjust(500);
      limiter.pauseUntil(10_000);
      expect(yield* Effect.exit(limiter.acquire(9499))).toEqual(Exit.fail({ heldFor: 9500 }));
      yield* TestClock.adjust(500);
      expect(yield* Fiber.join(inLine)).toEqual(Exit.fail({ heldFor: 9000 }));
      yield* TestClock.adjust("1 minute");
      expect(yield* Fiber.join(patient)).toBe(10_000);
      expect(limiter.state().waiting).toBe(0);
    })));
});

describe("throttled()", () => {
  it("halves the rate once for all requests that were under way", () => {
    const limiter = RateLimiter.make({ rate: 64 });
    for (const leftAt of [100, 150, 190, 200]) limiter.throttled(leftAt, 200);
    expect(limiter.state().rate).toBe(32);
    // Left before the rate was lowered, answered after.
    limiter.throttled(199, 900);
    expect(limiter.state().rate).toBe(32);
    limiter.throttled(201, 950);
    expect(limiter.state().rate).toBe(16);
  });

  it("never lowers the rate below 1 % of the ceiling", () =>
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 1e6, noNaN: true }),
        fc.integer({ min: 0, max: 200 }),
        (rate, times) => {
          const limiter = RateLimiter.make({ rate });
          for (let time = 0; time < times; time++) limiter.throttled(2 * time, 2 * time + 1);
          expect(limiter.state().rate / Math.max(rate / 100, rate / 2 ** times)).toBeCloseTo(1, 12);
        },
      ),
      { seed: 14 },
    ));

  it("slows down those who are in line already", async () => {
    const { left } = await play({ rate: 10, burst: 1 }, [[0, 5]], [[150, "throttled", 0]]);
    expect(left.map(({ at }) => at)).toEqual([0, 100, 300, 500, 700]);
  });
});

describe("accepted()", () => {
  it("gives back 5 % of the ceiling a second under full use", () =>
    run(Effect.gen(function* () {
      const limiter = RateLimiter.make({ rate: 20, burst: 1 });
      for (let time = 0; time < 20; time++) limiter.throttled(2 * time, 2 * time + 1);
      expect(limiter.state().rate).toBe(0.2);
      // From twice the floor on, for below that a single answer makes more than a second's difference.
      while (limiter.state().rate < 2) limiter.accepted();
      const from = limiter.state().rate;
      yield* Effect.fork(
        Effect.forever(Effect.zipRight(limiter.acquire(Infinity), Effect.sync(limiter.accepted))),
      );
      for (const seconds of [2, 4, 6, 8]) {
        yield* TestClock.adjust("2 seconds");
        expect(Math.abs(limiter.state().rate - (from + seconds))).toBeLessThan(0.8);
      }
    })));

  it("never raises the rate above the ceiling, whatever happened before", () =>
    fc.assert(
      fc.property(
        fc.double({ min: 0.01, max: 1e6, noNaN: true }),
        fc.array(fc.boolean(), { maxLength: 300 }),
        (rate, answers) => {
          const limiter = RateLimiter.make({ rate });
          answers.forEach((accepted, at) => {
            if (accepted) limiter.accepted();
            else limiter.throttled(at, at);
            expect(limiter.state().rate).toBeLessThanOrEqual(rate);
            expect(limiter.state().rate).toBeGreaterThanOrEqual(rate / 100);
          });
        },
      ),
      { seed: 15 },
    ));
});

describe("make()", () => {
  it.each([0, -1, 1_000_001, Number.NaN, Infinity])("refuses a rate of %d", (rate) => {
    expect(() => RateLimiter.make({ rate })).toThrow(
      `'rate' must be above 0 and at most 1,000,000 a second: it is ${rate}`,
    );
  });

  it.each([0, 0.99, Number.NaN])("refuses a burst of %d", (burst) => {
    expect(() => RateLimiter.make({ burst })).toThrow(`'burst' must be at least 1: it is ${burst}`);
  });
});
