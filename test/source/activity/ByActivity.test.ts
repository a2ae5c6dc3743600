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
    const activity = ByActivity.make({
      state,
      now: tenant.clock.unsafeCurrentTimeMillis(),
      sweepEvery: day * 3600,
    });
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
  return {
    run,
    lacking,
    state: () => state,
    /** Changes what the next run goes by. */
    adjust: (change: Partial<ActivityState>) => void (state = { ...state!, ...change }),
  };
};

/** Hours from one sweep to the next, and in all. */
const [day, rounds] = isLong ? [24, 200] : [6, 14];
const users = isLong ? 500 : 60;

const patience = { timeout: isLong ? 3_600_000 : 120_000 };

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
    // So many that the user is on no page that is read.
    for (let left = 15; left > 0; left--) tenant.create();
    tenant.pass(3600, 0);
    await run();
    expect(state()?.inactive).toContain(user_id);
    // By now nothing else tells of the user.
    const { sessions } = tenant.users.get(user_id)!;
    sessions.set("S", { session_id: "S", initiated_at: tenant.now() - 9, last_updated: tenant.now() - 9 });
    expect(await run()).toMatchObject({ lacking: 0, isSweep: false });
    tenant.users.delete(user_id);
    for (let hour = 0; hour < 2; hour++) await run();
    expect(state()!.inactive).not.toContain(user_id);
    expect(state()!.again).toEqual([]);
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

  it.each<Honesty>(["honest", "lagging"])(
    "a sweep of a busy tenant tells of no contradiction: %s",
    async (honesty) => {
      for (let round = 0; round < (isLong ? 1000 : 20); round++) {
        const tenant = make({ users: 12, seed: round + 1, honesty });
        const { run, state } = makePlace(tenant);
        tenant.beforeEach(() => void (tenant.draw() < 0.7 && tenant.stir()));
        await run();
        tenant.pass(86_400, 10);
        const { isSweep, off } = await run();
        expect([round, isSweep, off, state()?.off]).toEqual([round, true, undefined, undefined]);
      }
    },
  );
});

const firstOf = ({ users }: ActiveTenant) =>
  [...users.values()].find(({ last_activity }) => last_activity !== null)!;

/** Changes a session of a user at a time, of which the list says another, from another time on. */
const changeAs = (tenant: ActiveTenant, time: number, activity: number, shownAt: number) => {
  const user = firstOf(tenant);
  const [session] = user.sessions.values();
  session!.last_updated = time;
  tenant.show(user, activity, shownAt);
};

const refusal = (status: number) =>
  Response.json({ status }, { status, headers: { "content-type": "application/problem+json" } });

describe("what is known from one run to the next", () => {
  it("looks back twice: for activity that is older than the change, and for what is shown late", async () => {
    const tenant = make({ users: 20, seed: 21 });
    const { run, lacking } = makePlace(tenant);
    await run();
    tenant.pass(3600, 0);
    const [, other] = [...tenant.users.values()];
    other!.last_activity = tenant.now();
    changeAs(tenant, tenant.now() - 280, tenant.now() - 570, tenant.now() + 10);
    await run();
    expect(lacking()).toBe(1);
    tenant.pass(3600, 0);
    expect((await run()).asked).toBeLessThan(10);
    expect(lacking()).toBe(0);
  });

  it("is no later than the time that has come, whoever says so", async () => {
    const tenant = make({ users: 20, seed: 22 });
    const { run, lacking, state } = makePlace(tenant);
    firstOf(tenant).last_activity = tenant.now() + 30 * 86_400;
    await run();
    expect(state()!.at).toBeLessThanOrEqual(tenant.now());
    // By a clock that is a month ahead, so far that the tenant's is not believed.
    tenant.setClock(30 * 86_400);
    await run();
    expect(state()!.at).toBeGreaterThan(tenant.now() + 86_400);
    tenant.setClock(0);
    for (let hour = 0; hour < 3; hour++) {
      tenant.pass(3600, 5);
      await run();
      const { at, swept_at } = state()!;
      expect([hour, lacking(), at <= tenant.now(), swept_at <= tenant.now()]).toEqual([hour, 0, true, true]);
    }
  });

  it("is not gone by where the list can't be had, or is not verified", async () => {
    const tenant = make({ users: 60, seed: 23, maxSize: 20 });
    const { run, state } = makePlace(tenant);
    await run();
    const { at } = state()!;
    tenant.pass(3600, 5);
    tenant.beforeEach((url) => url.search.includes("last_activity") ? refusal(422) : undefined);
    expect(await run()).toMatchObject({ asked: 60, lacking: 0 });
    tenant.beforeEach(() => {});
    // Nobody knows where in the list they stand.
    for (const user of [...tenant.users.values()].slice(0, 3)) Object.assign(user, { creation_time: "then" });
    tenant.pass(3600, 5);
    expect(await run()).toMatchObject({ asked: 60, lacking: 0 });
    expect(state()!.at).toBeGreaterThanOrEqual(at);
    // Nor does a sweep count of which some users may not know.
    const { swept_at } = state()!;
    tenant.pass(day * 3600, 0);
    expect((await run()).isSweep).toBe(true);
    expect(state()!.swept_at).toBe(swept_at);
  });

  it("is mended by a run that finds it ahead of the time", async () => {
    const tenant = make({ users: 20, seed: 26 });
    const { run, state, adjust } = makePlace(tenant);
    await run();
    adjust({ at: tenant.now() + 10 * 86_400 });
    tenant.pass(3600, 5);
    expect(await run()).toMatchObject({ isSweep: false, asked: 20, lacking: 0 });
    expect(state()!.at).toBeLessThanOrEqual(tenant.now());
  });

  it("asks once more for whoever was not there, and then no more", async () => {
    const tenant = make({ users: 20, seed: 24 });
    const { run, lacking, state } = makePlace(tenant);
    await run();
    tenant.pass(3600, 0);
    const user = firstOf(tenant);
    changeAs(tenant, tenant.now() - 60, tenant.now() - 60, 0);
    tenant.beforeEach((url) => url.pathname.includes(user.user_id) ? refusal(404) : undefined);
    await run();
    expect([lacking(), state()!.again]).toEqual([1, [user.user_id]]);
    tenant.beforeEach(() => {});
    tenant.pass(7200, 0);
    await run();
    expect([lacking(), state()!.again]).toEqual([0, []]);
    tenant.beforeEach((url) => url.pathname.includes(user.user_id) ? refusal(404) : undefined);
    user.last_activity = tenant.now();
    await run();
    expect(state()!.again).toEqual([user.user_id]);
    await run();
    expect(state()!.again).toEqual([]);
  });

  it("is not told by sessions that are none, or are yet to come; nor where one user can't be read", async () => {
    const tenant = make({ users: 20, seed: 25 });
    const { run, state } = makePlace(tenant);
    const [one, other, third] = [...tenant.users.values()];
    const at = tenant.now();
    one!.sessions.set("bad", { session_id: "bad", initiated_at: -1, last_updated: at - 100 });
    other!.sessions.set("soon", { session_id: "soon", initiated_at: at, last_updated: at + 86_400 });
    expect((await run()).off).toBeUndefined();
    third!.sessions.set("new", { session_id: "new", initiated_at: at - 900, last_updated: at - 900 });
    third!.last_activity = at - 86_400;
    tenant.beforeEach((url) => url.pathname.endsWith(third!.user_id) ? refusal(403) : undefined);
    tenant.pass(day * 3600, 0);
    expect((await run()).off).toContain("403");
    expect(state()!.off).toContain("403");
  });
});

/** Seeds of which the first sweep has something to see. */
const seeds = { missed: [3, 4, 5], late: [7, 8], null: [1] };

describe("where activity lies", patience, () => {
  it.each(["missed", "late", "null"] as const)(
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
