/** Rounds of random changes, each followed by a run: what tests of every target share. */
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import { expect } from "vitest";
import { make, type SandboxOptions } from "../../src/sandbox/mod.ts";
import type { Target } from "../../src/warehouse/Target.ts";
import { draws } from "../source/paging/histories.ts";
import { expectNothingMissing, expectRows, hiding, listedBy, rowsOf, syncOf } from "./tables.ts";

/** A tenant that changes from hour to hour, and what a table must have of it after a run. */
export const changing = (seed: number, options: SandboxOptions = {}) => {
  const draw = draws(seed);
  let clock = 1_700_000_000;
  const sandbox = make({
    users: 12,
    sessionsPerUser: 40,
    seed,
    until: clock,
    now: () => clock,
    faults: { latencyMs: 1 },
    ...options,
  });
  const tenant = hiding(sandbox);
  const userIds = [...sandbox.userIds()];
  const pick = <A>(list: ReadonlyArray<A>): A | undefined => list[Math.floor(draw() * list.length)];
  const change = () => {
    const userId = pick(userIds)!;
    const any = pick([...sandbox.sessions(userId)]);
    const kind = draw();
    if (any === undefined || kind < 0.3) sandbox.add(userId);
    // Shown late: it bears a time that runs have passed.
    else if (kind < 0.35) sandbox.add(userId, { initiated_at: clock - 90_000, last_updated: clock - 90_000 });
    else if (kind < 0.6) sandbox.update(userId, any.session_id);
    else if (kind < 0.95) sandbox.remove(userId, any.session_id);
    else if (!tenant.hidden.delete(userId)) tenant.hidden.add(userId);
  };
  const late = new Set<string>();
  const listed = () => listedBy(sandbox, (userId) => !tenant.hidden.has(userId));
  return {
    draw,
    sandbox,
    tenant,
    /** Lets an hour pass, in which so many things happen. */
    passHour: (changes: number) => {
      clock += 3600;
      const before = new Set(listed());
      for (let left = changes; left > 0; left--) change();
      for (const row of listedBy(sandbox)) {
        if (!before.has(row) && Number(JSON.parse(row)[6]) < clock - 3600) late.add(row);
      }
    },
    /** Expects the table to equal the tenant after a prune; else to lack nothing but what was shown late. */
    expectTable: async (target: Target, prune: boolean) => {
      const rows = await rowsOf(target);
      if (prune) {
        expectRows(rows, listed());
        // Only a prune brings what was shown late.
        late.clear();
      } else expectNothingMissing(rows, listed().filter((row) => !late.has(row)));
    },
  };
};

export interface RoundsOptions {
  readonly target: Target;
  readonly seed: number;
  readonly rounds: number;
  /** A prune every so many rounds. */
  readonly pruneEvery: number;
}

/** Go through the rounds, some of which are interrupted. Gives how many interruptions there were. */
export const goThrough = async ({ target, seed, rounds, pruneEvery }: RoundsOptions): Promise<number> => {
  const { draw, tenant, passHour, expectTable } = changing(seed);
  let breaks = 0;
  for (let round = 0; round < rounds; round++) {
    const prune = round > 0 && round % pruneEvery === 0;
    for (let tries = 0, isDone = false; !isDone; tries++) {
      const broken = Effect.runSync(Deferred.make<void>());
      // Interrupted while so many answers have come.
      let left = draw() < 0.4 && tries < 3 ? Math.ceil(draw() * 30) : Infinity;
      const fetch = async (request: Request) => {
        const answer = await tenant.fetch(request);
        if (--left === 0) Effect.runSync(Deferred.succeed(broken, undefined));
        return answer;
      };
      const fiber = Effect.runFork(syncOf({ ...tenant, fetch }, target, {
        prune,
        checkpointRows: 1 + Math.floor(draw() * 200),
        walk: { pageSize: 10, concurrency: 1 + Math.floor(draw() * 6) },
        // One that is interrupted while its database says nothing for two seconds, as on a busy machine, keeps its lease.
        lease: "10 seconds",
        wait: "1 minute",
      }));
      Effect.runFork(Effect.zipRight(Deferred.await(broken), Fiber.interrupt(fiber)));
      const exit = await Effect.runPromise(Fiber.await(fiber));
      isDone = Exit.isSuccess(exit);
      if (!isDone) breaks++;
      if (!isDone && !Exit.isInterrupted(exit)) throw new Error(String(exit));
      if (Exit.isSuccess(exit)) expect(exit.value).toMatchObject({ verified: true, failed: { count: 0 } });
    }
    await expectTable(target, prune);
    passHour(Math.floor(draw() * 30));
  }
  return breaks;
};
