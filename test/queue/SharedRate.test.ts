import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Fiber from "effect/Fiber";
import * as TestClock from "effect/TestClock";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import * as SharedRate from "../../src/queue/SharedRate.ts";
import { ok, ORIGIN, pageOf, refuse, run, tenantAt } from "../api/asking.ts";
import { isLong } from "../size.ts";
import { between, most, stopAll, world } from "./machines.ts";
import * as memory from "./memory.ts";

describe("machines that share a rate", () => {
  it.each([[1, 20], [3, 20], [3, 200], [3, 1000], [10, 50], [1, 1000], [2, 0.5]])(
    "%d use all of %d a second, and no more",
    async (count, rate) => {
      const { machines, pass, left } = world(rate, count);
      await pass(0);
      machines.forEach(({ ask }) => ask(32));
      const seconds = rate < 1 ? 60 : 10;
      await pass(seconds * 1000);
      expect(between(left, 0, seconds * 1000) / (seconds * rate)).toBeGreaterThan(0.98);
      expect(most(left, 1000)).toBeLessThanOrEqual(rate * 1.095 + 1);
      await stopAll(machines);
    },
  );

  it.each(isLong ? [[1, 20], [3, 20], [3, 200], [3, 1000]] : [[1, 20], [3, 200]])(
    "%d use most of %d a second though the server is far away: 80 ms for each call",
    async (count, rate) => {
      const { machines, pass, left } = world(rate, count, { way: 40 });
      await pass(0);
      machines.forEach(({ ask }) => ask(100));
      await pass(22_000);
      expect(between(left, 2000, 22_000) / (20 * rate)).toBeGreaterThan(0.85);
      expect(most(left, 1000)).toBeLessThanOrEqual(rate * 1.095 + 1);
      await stopAll(machines);
    },
  );

  it("wait for little more than the server where few ask", async () => {
    for (const [way, longest] of [[0, 1], [20, 160], [40, 320]] as const) {
      const { machines, pass, left } = world(200, 1, { way });
      await pass(0);
      machines[0]!.ask(1, 50, 1000);
      await pass(70_000);
      expect(left).toHaveLength(50);
      const waits = left.slice(3).map(({ at }, nth) => at - left[nth + 2]!.at - 1000);
      expect(Math.max(...waits)).toBeLessThanOrEqual(longest);
      await stopAll(machines);
    }
  });

  it("hammer nobody: a hundred of them at 20 a second make fewer than 100 calls a second", async () => {
    const { machines, pass, left, server } = world(20, 100);
    await pass(0);
    machines.forEach(({ ask }) => ask(4));
    await pass(5000);
    const before = server.calls();
    await pass(20_000);
    expect((server.calls() - before) / 20).toBeLessThan(100);
    expect(between(left, 5000, 25_000) / 400).toBeGreaterThan(0.98);
    expect(new Set(left.map(({ machine }) => machine)).size).toBe(100);
    await stopAll(machines);
  });

  it("ask for about twenty leases a second, whatever the rate", async () => {
    for (const rate of isLong ? [200, 1000, 5000] : [200, 1000]) {
      const { machines, pass, server } = world(rate, 1);
      await pass(0);
      machines[0]!.ask(400);
      await pass(2000);
      const before = server.calls();
      await pass(2000);
      // A read and a replacement each.
      expect((server.calls() - before) / 2 / 2).toBeLessThan(30);
      await stopAll(machines);
    }
  });

  it("make no calls where nobody waits", async () => {
    const { machines, pass, server } = world(20, 3);
    await pass(0);
    machines[0]!.ask(2, 3);
    await pass(10_000);
    const before = server.calls();
    await pass(600_000);
    expect(server.calls()).toBe(before);
    await stopAll(machines);
  });

  it("serve in order of arrival", async () => {
    const { machines, pass, fork } = world(100, 1);
    await pass(0);
    const order: Array<number> = [];
    for (let n = 0; n < 40; n++) {
      fork(Effect.map(machines[0]!.limiter().acquire(Infinity), () => order.push(n)));
    }
    await pass(1000);
    expect(order).toEqual(Array.from({ length: 40 }, (_, n) => n));
    await stopAll(machines);
  });

  it("count the lowest rate that any of them names", async () => {
    const { machines, pass, left } = world(100, 3, { rates: [100, 40, "auto"] });
    await pass(0);
    machines.forEach(({ ask }) => ask(8));
    await pass(5000);
    expect(between(left, 1000, 5000) / 4).toBeCloseTo(40, -1);
    expect(most(left.filter(({ at }) => at >= 200), 1000)).toBeLessThanOrEqual(44);
    await stopAll(machines);
  });

  it(
    "feel a pause at one of them within a second, whatever befalls, and none goes on before its end",
    () =>
      fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...isLong ? [2, 20, 200, 1000] : [2, 20, 200]),
          fc.integer({ min: 2, max: 12 }),
          fc.integer({ min: 500, max: 4000 }),
          fc.integer({ min: 1500, max: 8000 }),
          async (rate, count, at, length) => {
            const { machines, pass, left, now } = world(rate, count);
            await pass(0);
            machines.forEach(({ ask }) => ask(4));
            await pass(at);
            machines[0]!.limiter().pauseUntil(now() + length);
            machines[0]!.limiter().throttled(now() - 1, now());
            await pass(length + 20_000);
            const end = at + length;
            const own = left.filter((one) => one.machine === 0 && one.at > at && one.at < end);
            expect(own).toEqual([]);
            expect(between(left, at + 501, end)).toBe(0);
            expect(between(left, end, end + 10_000)).toBeGreaterThan(rate * 2);
            await stopAll(machines);
          },
        ),
        { seed: 41, numRuns: isLong ? 100 : 5 },
      ),
  );

  it("halve the rate once for all that were under way, and recover", async () => {
    const { machines, pass, left, now } = world(100, 3);
    await pass(0);
    machines.forEach(({ ask }) => ask(8));
    await pass(3000);
    const leftAt = now() - 1;
    machines.forEach(({ limiter }) => limiter().throttled(leftAt, now()));
    await pass(1500);
    expect(between(left, 3600, 4400) / 0.8).toBeGreaterThan(45);
    expect(between(left, 3600, 4400) / 0.8).toBeLessThan(60);
    await pass(15_000);
    expect(between(left, 18_000, 19_000)).toBeGreaterThan(95);
    await stopAll(machines);
  });

  it("send nothing without a server, say so once, and go on when it is back", async () => {
    const { machines, pass, left, server, warnings } = world(20, 2);
    await pass(0);
    server.fail(new Error("no connection"));
    machines.forEach(({ ask }) => ask(2));
    await pass(5000);
    expect(left).toEqual([]);
    expect(warnings).toEqual(
      Array.from(
        { length: 2 },
        () => "No request leaves for acme until the rate can be shared again: no connection",
      ),
    );
    expect(server.calls()).toBeLessThan(30);
    server.fail(undefined);
    await pass(5000);
    expect(between(left, 5000, 10_000)).toBeGreaterThan(85);
    server.fail(new Error("no connection"));
    await pass(5000);
    expect(between(left, 10_600, 15_000)).toBe(0);
    expect(warnings).toHaveLength(4);
    await stopAll(machines);
  });

  it("fail those without the patience for a pause, and nobody else", async () => {
    const { machines, pass, now, fork } = world(10, 2);
    await pass(0);
    machines[0]!.ask(1);
    await pass(1000);
    machines[0]!.limiter().pauseUntil(now() + 10_000);
    await pass(600);
    const outcomes = [5000, Infinity].map((patience) =>
      fork(
        Effect.all([Effect.either(machines[1]!.limiter().acquire(patience)), Clock.currentTimeMillis]),
      )
    );
    await pass(60_000);
    const [short, long] = await Promise.all(
      outcomes.map((fiber) => Effect.runPromise(Fiber.join(fiber))),
    );
    expect(Either.isLeft(short![0])).toBe(true);
    expect(short![1]).toBeLessThan(2000);
    expect(Either.isRight(long![0]) && long![0].right).toBeGreaterThanOrEqual(11_000);
    await stopAll(machines);
  });

  it("cost the others nothing when some of those in line are interrupted", async () => {
    const { machines, pass, left, fork } = world(20, 1);
    await pass(0);
    const gone = Array.from({ length: 50 }, () => fork(machines[0]!.limiter().acquire(Infinity)));
    machines[0]!.ask(1, 5);
    await pass(10);
    await Promise.all(gone.map((fiber) => Effect.runPromise(Fiber.interrupt(fiber))));
    await pass(1000);
    expect(left).toHaveLength(5);
    expect(machines[0]!.limiter().state().waiting).toBe(0);
    await stopAll(machines);
  });
});

describe("a client of a tenant", () => {
  it("asks by the limiter that it is given, and tells it of what is refused", () =>
    run(Effect.gen(function* () {
      const server = memory.make(() => 1e9);
      const limiter = yield* SharedRate.make({ values: server, tenant: "acme", rate: 20 });
      let asked = 0;
      const http = yield* Effect.provide(
        TenantClient.make(tenantAt(ORIGIN), { rate: 1000 }, limiter),
        Transport.fetch(() => Promise.resolve(asked++ === 0 ? refuse(429, { "retry-after": "3" }) : ok())),
      );
      const fiber = yield* Effect.fork(http.list(pageOf("mia")));
      // Promises of the values come without time passing.
      for (let n = 0; n < 100 && asked === 0; n++) {
        yield* Effect.promise(() => new Promise((resume) => setTimeout(resume, 1)));
        yield* TestClock.adjust(1);
      }
      yield* Effect.promise(() => new Promise((resume) => setTimeout(resume, 20)));
      expect(asked).toBe(1);
      expect(http.traffic()).toMatchObject({ rate: 10, refused: 1 });
      expect(JSON.parse((yield* Effect.promise(() => server.read("rate:acme"))).value!)).toMatchObject({
        rate: 10,
        ceiling: 20,
      });
      yield* Fiber.interrupt(fiber);
    })));
});
