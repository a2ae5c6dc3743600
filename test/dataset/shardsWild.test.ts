/**
 * Runs in shards by workers that are interrupted, doubled, held and late, and by coordinators that are broken off: what comes of
 * it is the tenant, each session once, whatever a worker does when its run is over.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import { expect, it } from "vitest";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import { keysOf } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { isLong } from "../size.ts";
import { draws } from "../source/paging/histories.ts";
import {
  attemptOf,
  besideParts,
  contentsOf,
  type Dispatch,
  holding,
  shardedOf,
  treeOf,
  until,
} from "./sharding.ts";
import { witness } from "./witness.ts";
import { exportInto, type Options, present, problemsOf } from "./written.ts";

interface Late {
  readonly done: Promise<Exit.Exit<unknown, { readonly _tag: string; readonly reason?: unknown }>>;
  readonly release: () => void;
}

const outcomes: Record<string, number> = {};

const count = (what: string) => void (outcomes[what] = (outcomes[what] ?? 0) + 1);

/** Hands shards to workers that do anything that a machine may do to them. */
const wild = (sandbox: Sandbox, root: string, draw: () => number, late: Array<Late>): Dispatch => {
  const formats = {
    partRows: 10 + Math.floor(draw() * 40),
    walk: { concurrency: 1 + Math.floor(draw() * 3), pageSize: 10 },
  };
  const attempt = (id: string, from = sandbox) => attemptOf(from, root, id, formats);
  return (shards, publish) =>
    Effect.as(
      Effect.forEach(shards, ({ shard, id }) =>
        Effect.gen(function* () {
          const published = Effect.flatMap(
            attempt(id),
            (report) => Effect.as(publish(shard, report.attempt), report),
          );
          while (draw() < 0.6) {
            const kind = Math.floor(draw() * 3);
            if (kind === 0) {
              // Interrupted at any moment, as by a signal.
              const fiber = yield* Effect.fork(attempt(id));
              yield* Effect.sleep(draw() * 60);
              const exit = yield* Fiber.interrupt(fiber);
              count(Exit.isSuccess(exit) ? "ended before it was interrupted" : "interrupted");
            } else if (kind === 1) {
              // Two at once, which both want to be published.
              const [one, other] = yield* Effect.all([published, published], { concurrency: 2 });
              count(one.attempt === other.attempt ? "doubled, one of them" : "doubled, both");
              yield* publish(shard, other.attempt);
              return;
            } else {
              const { held, release } = holding(sandbox, Math.floor(draw() * 6));
              const fiber = Effect.runFork(attempt(id, held));
              late.push({ done: Effect.runPromise(Fiber.await(fiber)), release });
              yield* Effect.sleep(draw() * 30);
            }
          }
          yield* published;
        }), { concurrency: 2 }),
      [],
    ).pipe(Effect.orDie);
};

const change = (sandbox: Sandbox, draw: () => number) => {
  for (const userId of sandbox.userIds()) {
    for (let left = Math.floor(draw() * 6); left > 0; left--) {
      const sessions = [...sandbox.sessions(userId)];
      const any = sessions[Math.floor(draw() * sessions.length)];
      if (any === undefined || draw() < 0.4) sandbox.add(userId);
      else if (draw() < 0.5) sandbox.update(userId, any.session_id);
      else sandbox.remove(userId, any.session_id);
    }
  }
};

it("whatever happens to workers and to who hands shards out, each session is there once", async () => {
  for (let seed = 1; seed <= (isLong ? 80 : 2); seed++) {
    const draw = draws(seed);
    const sandbox = make({ users: 8, sessionsPerUser: { mean: 25 }, seed, faults: { latencyMs: 2 } });
    const root = join(await newFolder(), "data");
    const look = witness(root);
    for (
      const more of [{ changes: "since-last" }, { changes: "since-last", prune: true }] as Array<Options>
    ) {
      const late: Array<Late> = [];
      const shards = 1 + Math.floor(draw() * 6);
      const going = (dispatch: Dispatch) => shardedOf(sandbox, root, shards, more, dispatch);
      for (let tries = Math.floor(draw() * 3); tries > 0; tries--) {
        let isTime = false;
        const timer = setTimeout(() => isTime = true, 40 + draw() * 400);
        const exit = await until(going(wild(sandbox, root, draw, late)), () => isTime);
        clearTimeout(timer);
        count(Exit.isSuccess(exit) ? "a run that ended" : "a run that was broken off");
        if (Exit.isFailure(exit)) expect(Cause.isInterrupted(exit.cause), JSON.stringify(exit)).toBe(true);
        await look();
        if ((await readdir(root)).includes("journal.ndjson")) expect(await problemsOf(root)).toEqual([]);
      }
      await Effect.runPromise(going(wild(sandbox, root, draw, late)));
      await look();
      const before = await treeOf(root);
      for (const { release } of late) release();
      for (const { done } of late) {
        const exit = await done;
        const error = Exit.isFailure(exit)
          ? Cause.squash(exit.cause) as { _tag?: string; reason?: string }
          : undefined;
        count(`late: ${error === undefined ? "done" : `${error._tag} ${error.reason}`}`);
        // It may have ended before the run did; else it is told that there is nothing to do any more.
        if (error !== undefined) {
          expect(error, String(error)).toMatchObject({ _tag: "DatasetError", reason: "Absent" });
        }
      }
      expect(await treeOf(root)).toEqual(before);
      expect(await problemsOf(root), `seed ${seed}`).toEqual([]);
      expect(await besideParts(root)).toEqual(["manifest.json"]);
      const [ndjson, csv, parquet] = await contentsOf(root);
      expect([csv, parquet]).toEqual([ndjson, ndjson]);
      expect(await present(root), `seed ${seed}`).toEqual(
        more.prune ? keysOf(sandbox) : expect.arrayContaining(keysOf(sandbox)),
      );
      change(sandbox, draw);
    }
    // Runs that were broken off when they had ended are followed by others; each is whole.
    await exportInto(sandbox, root, { changes: "since-last", prune: true, mode: "resume" });
    expect(await present(root)).toEqual(keysOf(sandbox));
  }
  process.stdout.write(`${JSON.stringify(outcomes)}\n`);
}, 900_000);
