/** One pace for several real threads. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { expect, it, onTestFinished } from "vitest";
import * as RateLimiter from "../../src/api/rate/RateLimiter.ts";

const start = async (data: unknown) => {
  const worker = new Worker(new URL("./limited.mjs", import.meta.url), { workerData: data });
  onTestFinished(async () => void await worker.terminate());
  await once(worker, "message");
  return async (message: unknown) => {
    const answer = once(worker, "message");
    worker.postMessage(message);
    return (await answer)[0];
  };
};

/** The most that left within any stretch of time beyond `burst + rate * t`. */
const excess = (times: ReadonlyArray<number>, rate: number, burst: number): number => {
  let worst = -Infinity;
  times.forEach((from, first) =>
    times.slice(first).forEach((to, more) =>
      worst = Math.max(worst, more + 1 - (burst + rate * (to - from) / 1000))
    )
  );
  return worst;
};

it.each([
  { rate: 300, burst: 1 },
  { rate: 500, burst: 50 },
  { rate: 2000, burst: 7 },
])("three threads let no more than burst + rate * t through together in any t seconds: %o", async (limit) => {
  const options = { ...limit, shared: RateLimiter.share(limit) };
  const threads = await Promise.all([1, 2, 3].map(() => start({ options, turns: 250 })));
  const times: ReadonlyArray<number> = (await Promise.all(threads.map((ask) => ask({})))).flat();
  expect(times).toHaveLength(750);
  expect(excess([...times].sort((one, other) => one - other), limit.rate, limit.burst)).toBeLessThan(1e-6);
});

it("a 429 that requests of all threads meet halves the rate once, and the next one once more", async () => {
  const limit = { rate: 64 };
  const options = { ...limit, shared: RateLimiter.share(limit) };
  const threads = await Promise.all([1, 2, 3].map(() => start({ options, turns: 0 })));
  const here = RateLimiter.make(options);
  await Promise.all(threads.map((ask) => ask({ throttledAt: [100, 300, 900] })));
  expect(here.pace().rate).toBe(32);
  here.throttled(5000, 6000);
  expect(here.pace().rate).toBe(16);
});

it("a rate that is sought is lowered once for a 429 that requests of all threads meet", async () => {
  const limit = { rate: "auto" } as const;
  const options = { ...limit, shared: RateLimiter.share(limit) };
  const threads = await Promise.all([1, 2, 3].map(() => start({ options, turns: 0 })));
  const here = RateLimiter.make(options);
  here.accepted();
  await Promise.all(threads.map((ask) => ask({ throttledAt: [100, 300, 900] })));
  expect(here.pace().rate).toBe(12);
});

it("a hold in one thread is seen by the others, and no thread shortens it", () => {
  const shared = RateLimiter.share();
  const [one, other] = [RateLimiter.make({ shared }), RateLimiter.make({ shared })];
  one.hold(5000);
  other.hold(10);
  expect(other.pace().heldUntil).toBe(5000);
});
