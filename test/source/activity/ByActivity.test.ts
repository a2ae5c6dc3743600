/** Runs by activity, round after round: what they ask, and what the place that sessions go to lacks after each. */
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import * as Batch from "../../../src/session/Batch.ts";
import { ActivityState } from "../../../src/source/activity/ActivityState.ts";
import * as ByActivity from "../../../src/source/activity/ByActivity.ts";
import * as SessionSource from "../../../src/source/SessionSource.ts";
import { isLong } from "../../size.ts";
import { type ActiveTenant, type Honesty, make } from "./activeTenant.ts";

/** A place that sessions go to, and what runs keep there. */
const makePlace = (tenant: ActiveTenant) => {
  const held = new Map<string, number>();
  const cursors = new Map<string, unknown>();
  let state: ActivityState | undefined;
  const isHeld = (id: string, time: number) => (held.get(id) ?? -1) >= time;

  const lacking = (upTo = Infinity) =>
    [...tenant.users.values()].flatMap(({ sessions }) => [...sessions.values()]).filter(
      ({ session_id, last_updated }) => last_updated <= upTo && !isHeld(session_id, last_updated),
    ).length;

  const run = async () => {
    const requestsBefore = tenant.requests();
    const lateBefore = state?.off === undefined && state !== undefined ? lacking(state.ran_at) : undefined;
    const activity = ByActivity.make({ state, now: tenant.now() * 1000, sweepEvery: day * 3600 });
    const isWhole = activity.isSweep && state !== undefined;
    let late = 0;
    const ids = await activity.users.ids.pipe(
      Stream.runCollect,
      Effect.provide(tenant.layer),
      Effect.withClock(tenant.clock),
      Effect.runPromise,
    );
    const starts = [...ids].map((userId) => ({ userId, cursor: cursors.get(userId) }));
    await activity.watch(SessionSource.changes(Stream.fromIterable(starts), {
      areListed: true,
      onFailure: "continue",
      whole: isWhole,
      holds: (_, id, time) => isHeld(id, time) ? "has" : "lacks",
    })).pipe(
      Stream.runForEach((batch) =>
        Effect.sync(() => {
          for (const { session_id, last_updated } of Batch.sessions(batch)) {
            if (last_updated <= (activity.lateUpTo ?? -Infinity)) late++;
            held.set(session_id, Math.max(held.get(session_id) ?? 0, last_updated));
          }
          if (batch.end?.cursor !== undefined) {
            cursors.set(batch.userId, JSON.parse(JSON.stringify(batch.end.cursor)));
          }
        })
      ),
      Effect.provide(tenant.layer),
      Effect.withClock(tenant.clock),
      Effect.runPromise,
    );
    const next = activity.state();
    state = next && Schema.decodeSync(ActivityState)(JSON.parse(JSON.stringify(next)));
    const requests = tenant.requests() - requestsBefore;
    return { ...activity.report(late), isSweep: activity.isSweep, requests, lateBefore, lacking: lacking() };
  };
  return { run, lacking, state: () => state };
};

/** Hours from one sweep to the next, and in all. */
const [day, rounds] = isLong ? [24, 200] : [6, 14];
const users = isLong ? 500 : 60;

const patience = { timeout: isLong ? 3_600_000 : 60_000 };

describe("where activity is honest", patience, () => {
  it.each(["first", "last"] as const)("nothing is missing after any round, with nulls %s", async (nulls) => {
    const tenant = make({ users, seed: 5, idle: 0.2, nulls });
    const { run } = makePlace(tenant);
    let sweeps = 0;
    for (let round = 0; round < rounds; round++) {
      const { isSweep, lacking, off, late } = await run();
      if (isSweep) sweeps++;
      expect([round, lacking, off, late]).toEqual([round, 0, undefined, 0]);
      if (tenant.draw() < 0.3) tenant.create();
      tenant.pass(3600, 1 + Math.floor(tenant.draw() * users / 20));
    }
    expect(sweeps).toBe(Math.ceil(rounds / day));
  });

  it("whoever could not be read is asked again, though nothing happens any more", async () => {
    const tenant = make({ users: 40, seed: 9 });
    const { run, state, lacking } = makePlace(tenant);
    await run();
    tenant.pass(3600, 20);
    for (const [at, userId] of [...tenant.users.keys()].entries()) if (at % 3 > 0) tenant.failing.add(userId);
    await run();
    expect(lacking()).toBeGreaterThan(3);
    for (let hour = 0; hour < 3; hour++) {
      tenant.pass(3600, 0);
      if (hour === 1) tenant.failing.clear();
      await run();
    }
    expect([lacking(), state()?.again]).toEqual([0, []]);
  });

  it("users who come without being active are found by when they were created", async () => {
    const tenant = make({ users: 40, seed: 9 });
    const { run, state } = makePlace(tenant);
    await run();
    const { user_id } = tenant.create();
    tenant.pass(3600, 0);
    await run();
    expect(state()?.inactive).toEqual([user_id]);
    tenant.pass(7200, 0);
    // Asked in each run, whatever the list says.
    expect((await run()).asked).toBeGreaterThanOrEqual(1);
  });

  it("a run costs what changed", async () => {
    const tenant = make({ users: isLong ? 5000 : 500, seed: 7 });
    const { run } = makePlace(tenant);
    const first = await run();
    tenant.pass(3600, tenant.users.size / 100);
    const hourly = await run();
    console.log(
      `${tenant.users.size} users, 1 % changed: ${hourly.requests} requests for ${hourly.asked} users, all: ${first.requests}`,
    );
    expect(hourly.lacking).toBe(0);
    expect(hourly.requests).toBeLessThan(tenant.users.size / 50 + 50);
  });

  it("a sweep of a busy tenant tells of no contradiction", async () => {
    for (let round = 0; round < (isLong ? 1000 : 20); round++) {
      const tenant = make({ users: 12, seed: round + 1 });
      const { run, state } = makePlace(tenant);
      tenant.beforeEach(() => tenant.draw() < 0.7 && tenant.stir());
      await run();
      tenant.pass(86_400, 10);
      const { isSweep, off } = await run();
      expect([round, isSweep, off, state()?.off]).toEqual([round, true, undefined, undefined]);
    }
  });
});

/** Of these, the first sweep has something to see. */
const seeds = { honest: [], missed: [3, 4, 5], late: [7, 8], null: [1] } satisfies Record<
  Honesty,
  Array<number>
>;

describe("where activity lies", patience, () => {
  it.each<Honesty>(["missed", "late", "null"])(
    "by what is %s, the first sweep says so, and after it nothing is missing",
    async (honesty) => {
      let lateInAll = 0;
      for (const seed of isLong ? [1] : seeds[honesty]) {
        const tenant = make({ users, seed, honesty });
        const { run, state } = makePlace(tenant);
        for (let round = 0; round < (isLong ? rounds : day + 2); round++) {
          const { isSweep, off, late, lacking, lateBefore, requests } = await run();
          if (isSweep && lateBefore !== undefined) {
            expect([seed, round, late]).toEqual([seed, round, lateBefore]);
            lateInAll += lateBefore;
          }
          expect([seed, round, isSweep]).toEqual([seed, round, round % day === 0]);
          if (round >= day) {
            expect([seed, round, lacking]).toEqual([seed, round, 0]);
            expect(off).toMatch(/^a session of user-\d+ changed at .*, and the user was (last|never) active/);
            expect(state()?.off).toBe(off);
            expect(requests).toBeGreaterThanOrEqual(tenant.users.size);
          }
          tenant.pass(3600, 1 + Math.floor(isLong ? users / 5 : users));
        }
        console.log(`${honesty}, seed ${seed}: ${lateInAll} sessions came late; ${state()?.off}`);
      }
      // Who has no activity is asked in each run.
      expect(lateInAll > 0).toBe(honesty !== "null");
    },
  );
});
