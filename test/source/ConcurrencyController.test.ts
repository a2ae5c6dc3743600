/**
 * How many requests a walk has under way: the walk, the policy and its rate in whole, over tenants made of a function, on a
 * clock that leaps.
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as Random from "effect/Random";
import * as Stream from "effect/Stream";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as TenantClient from "../../src/api/TenantClient.ts";
import { Transport } from "../../src/api/transport/Transport.ts";
import * as SessionSource from "../../src/source/SessionSource.ts";
import { tenantAt } from "../api/asking.ts";
import * as virtualClock from "../api/virtualClock.ts";
import { draws } from "./paging/histories.ts";
import { isLong, some } from "../size.ts";

/** A tenant as far as its speed goes. */
interface Speed {
  /** Milliseconds to the answer while it is idle: half of that at least, drawn evenly around. */
  readonly latency: number;
  /** Answers it gives a second: more requests wait there. */
  readonly perSecond?: number;
  /** More requests at once are refused. */
  readonly atOnce?: number;
}

interface Play extends SessionSource.SessionSourceOptions {
  readonly speed: Speed;
  readonly rate?: number | "auto";
  readonly seconds?: number;
  readonly seed?: number;
  /** Sessions each user has. There is no end of users unless it is only one. */
  readonly sessions?: number;
  readonly users?: number;
  /** How long whoever takes the batches is busy with one, in milliseconds. */
  readonly takes?: number;
  /** At a second, another speed. */
  readonly changes?: ReadonlyArray<readonly [second: number, speed: Speed]>;
}

/** What the tenant saw in each second. */
interface Second {
  answers: number;
  refusals: number;
  /** The most requests it had at once. */
  atOnce: number;
}

const pageOf = (sessions: number, page: number, size: number): Uint8Array =>
  new TextEncoder().encode(JSON.stringify(
    Array.from({ length: Math.max(0, Math.min(size, sessions - (page - 1) * size)) }, (_, index) => {
      const time = 1e9 - (page - 1) * size - index;
      const times = { initiated_at: time, expires_at: time, last_updated: time };
      return { session_id: `S${time}`, client_ids: [], ...times };
    }),
  ));

/** Walks for a time. */
const play = async ({
  speed,
  rate = 1e5,
  seconds = 30,
  seed = 1,
  sessions = 0,
  users = Infinity,
  takes = 0,
  changes = [],
  ...options
}: Play) => {
  const { clock, pass } = virtualClock.make();
  const draw = draws(seed);
  const log: Array<Second> = [];
  let { latency, perSecond = Infinity, atOnce = Infinity } = speed;
  let underWay = 0;
  let freeAt = 0;
  const transport: typeof Transport.Service = {
    get: (url, _headers, { onHead }) =>
      Effect.gen(function* () {
        const arrived = yield* Clock.currentTimeMillis;
        const second = () => (log[Math.floor(clock.unsafeCurrentTimeMillis() / 1000)] ??= {
          answers: 0,
          refusals: 0,
          atOnce: 0,
        });
        second().atOnce = Math.max(second().atOnce, ++underWay);
        const isRefused = underWay > atOnce;
        if (!isRefused) freeAt = Math.max(arrived, freeAt) + 1000 / perSecond;
        yield* Effect.sleep((isRefused ? 0 : freeAt - arrived) + latency * (0.5 + draw()));
        underWay--;
        second()[isRefused ? "refusals" : "answers"]++;
        const asked = new URL(url).searchParams;
        const [page, size] = [Number(asked.get("page")), Number(asked.get("page_size") ?? asked.get("size"))];
        const pagination = {
          page_size: size,
          current_page: page,
          total_count: sessions,
          has_previous: page > 1,
          has_next: page * size < sessions,
        };
        onHead(isRefused ? 429 : 200, { "x-pagination": JSON.stringify(pagination) });
        return pageOf(sessions, page, size);
      }),
  };
  const ids = Stream.map(Stream.range(1, Math.min(users, 1e9)), (n) => `user${n}`);
  const walking = SessionSource.batches(ids, { pageSize: 100, ...options }).pipe(
    Stream.runForEach(() => takes === 0 ? Effect.void : Effect.sleep(takes)),
    Effect.provide(TenantClient.layerOf(tenantAt("https://acme.example"), { rate, maxAttempts: 1000 })),
    Effect.provideService(Transport, transport),
    Effect.withRandom(Random.make(seed)),
    Effect.withClock(clock),
  );
  const fiber = Effect.runFork(walking);
  let passed = 0;
  for (const [second, next] of changes) {
    await pass(second * 1000 - passed);
    passed = second * 1000;
    ({ latency, perSecond = Infinity, atOnce = Infinity } = next);
  }
  await pass(seconds * 1000 - passed);
  await Effect.runPromise(Fiber.interrupt(fiber));
  return Array.from(
    { length: seconds },
    (_, second) => log[second] ?? { answers: 0, refusals: 0, atOnce: 0 },
  );
};

const sumOf = (log: ReadonlyArray<Second>, what: "answers" | "refusals") =>
  log.reduce((sum, second) => sum + second[what], 0);
const mostOf = (log: ReadonlyArray<Second>) => Math.max(...log.map(({ atOnce }) => atOnce));

const meanOf = (log: ReadonlyArray<Second>) => sumOf(log, "answers") / log.length;

describe("concurrency that is found out", () => {
  it(
    "brings what the tenant can give, with not many more requests under way than that takes",
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 5, max: 500 }),
          fc.integer({ min: 20, max: isLong ? 300 : 80 }),
          fc.integer({ min: 1, max: 1000 }),
          fc.constantFrom(1, Infinity),
          async (latency, perSecond, seed, users) => {
            const log = await play({
              speed: { latency, perSecond },
              seconds: 60,
              seed,
              users,
              sessions: users === 1 ? 1e7 : 0,
            });
            const late = log.slice(-20);
            const needed = perSecond * latency / 1000;
            expect(meanOf(late)).toBeGreaterThan(0.85 * perSecond);
            // The latency is drawn, so that there are moments in which more is needed; and it doubles to find out.
            expect(mostOf(late)).toBeLessThanOrEqual(Math.max(32, 4 * needed));
          },
        ),
        { seed: 11, numRuns: some(20) },
      ),
    120_000,
  );

  it("makes use of a rate that is known, however slow the tenant", async () => {
    const log = await play({ speed: { latency: 1000 }, rate: 20, seconds: 90 });
    expect(meanOf(log.slice(30))).toBeGreaterThan(16);
  });

  it("finds its way along with a rate that is found out", async () => {
    const log = await play({ speed: { latency: 300, perSecond: 200 }, rate: "auto", seconds: 60 });
    expect(meanOf(log.slice(20))).toBeGreaterThan(0.93 * 200);
    expect(sumOf(log, "refusals")).toBe(0);
  });

  it.each<[number, number | "auto", number]>(
    isLong ? [[20, 1e5, 0.02], [20, "auto", 0.01], [4, 1e5, 0.05]] : [[20, "auto", 0.01]],
  )(
    "stays below %i at once that the tenant takes, at a rate of %s",
    async (atOnce, rate, share) => {
      const log = (await play({ speed: { latency: 50, atOnce }, rate, seconds: isLong ? 60 : 40 })).slice(20);
      expect(meanOf(log)).toBeGreaterThan(0.85 * atOnce / 0.05);
      expect(sumOf(log, "refusals")).toBeLessThanOrEqual(share * sumOf(log, "answers"));
    },
  );

  it("comes down to one where the tenant takes no more", async () => {
    const quiet: Array<number> = [];
    for (const seed of [1, 2, 3, 4, 5]) {
      const log = await play({ speed: { latency: 50, atOnce: 1 }, seconds: 60, seed });
      quiet.push(log.filter(({ atOnce, refusals }) => atOnce === 1 && refusals === 0).length);
    }
    // How soon one turn is had without a refusal is chance: of five walks the middle one counts.
    expect(quiet.sort((a, b) => a - b)[2]).toBeGreaterThan(20);
  });

  it.skipIf(!isLong)("goes up when answers become slower, and down again", async () => {
    const [fast, slow] = [{ latency: 20, perSecond: 200 }, { latency: 400, perSecond: 200 }];
    const log = await play({ speed: fast, seconds: 300, changes: [[20, slow], [100, fast]] });
    expect(meanOf(log.slice(60, 100))).toBeGreaterThan(0.85 * 200);
    expect(mostOf(log.slice(10, 20))).toBeLessThanOrEqual(16);
    expect(mostOf(log.slice(60, 100))).toBeGreaterThan(60);
    expect(mostOf(log.slice(-20))).toBeLessThan(mostOf(log.slice(60, 100)) / 2);
  });

  it("stays at 8 where the rate needs no more, or nobody takes what there is", async () => {
    const slow = await play({ speed: { latency: 50 }, rate: 20, seconds: 60 });
    expect(mostOf(slow)).toBeLessThanOrEqual(8);
    const idle = await play({ speed: { latency: 50 }, takes: 100, sessions: 1, seconds: 60 });
    expect(sumOf(idle, "answers")).toBeGreaterThan(550);
    expect(mostOf(idle)).toBeLessThanOrEqual(8);
  });

  it("has no more rows under way than 32,768, however far the tenant is", async () => {
    const log = await play({ speed: { latency: 2000 }, pageSize: 2000, seconds: 120 });
    expect(mostOf(log)).toBe(16);
  });

  it("is fewer than 8 where so many pages would hold more than that", async () => {
    const log = await play({ speed: { latency: 2000 }, pageSize: 10_000, seconds: 60 });
    expect(mostOf(log)).toBe(3);
  });

  it("never has more than 256 requests under way", async () => {
    const log = await play({ speed: { latency: 5000 }, seconds: 300 });
    expect(mostOf(log)).toBe(256);
  });

  it("is what was said where a number was said", async () => {
    const log = await play({ speed: { latency: 200 }, concurrency: 5, seconds: 20 });
    expect(mostOf(log)).toBe(5);
    expect(meanOf(log.slice(2))).toBeGreaterThan(20);
  });
});
