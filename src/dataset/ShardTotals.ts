/** Counts of a run in shards: the sums of those that were published. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Struct from "effect/Struct";
import * as Export from "../export/Export.ts";
import type { RunProgress } from "./Manifest.ts";
import type { RunState } from "./RunState.ts";

export interface ShardTotals extends Pick<RunState, "tally" | "progress" | "failed"> {
  /** Add what an attempt at a shard has come to. */
  readonly add: (its: RunProgress) => void;
}

/** Names in a list; there are counts of all. */
const NAMED = 100;

const addRedelivered = (one: RunProgress["redelivered"], other: RunProgress["redelivered"]) => {
  if (one === undefined || other === undefined) return one ?? other;
  const first = [...one.users.first, ...other.users.first].slice(0, NAMED);
  return {
    sessions: one.sessions + other.sessions,
    users: { count: one.users.count + other.users.count, first },
  };
};

/** Go on from what was published before; `shown` is kept up to date. */
export const make = (before: RunProgress, shown: Export.Progress): Effect.Effect<ShardTotals> =>
  Effect.map(Clock.currentTimeMillis, (began): ShardTotals => {
    const tally: Export.Tally = {
      progress: Object.assign(shown, before.progress, { before: { ...before.progress } }),
      missing: [...before.missing],
      unverified: [...before.unverified],
      failed: [],
      walking: new Set(),
    };
    const failed = [...before.failed];
    let { redelivered, requests, retries } = before;
    const nameFailed = () => {
      const named = failed.slice(0, NAMED).map(({ user_id, message }) => ({ userId: user_id, message }));
      tally.failed.splice(0, Infinity, ...named);
    };
    const addNames = <A>(names: Array<A>, its: ReadonlyArray<A>) =>
      void names.push(...its.slice(0, Math.max(0, NAMED - names.length)));
    nameFailed();
    return {
      tally,
      failed: () => failed,
      add: (its) => {
        for (const name of Export.counted) tally.progress[name] += its.progress[name];
        addNames(tally.missing, its.missing);
        addNames(tally.unverified, its.unverified);
        failed.push(...its.failed);
        nameFailed();
        redelivered = addRedelivered(redelivered, its.redelivered);
        requests += its.requests;
        retries += its.retries;
      },
      progress: Effect.map(Clock.currentTimeMillis, (now) => ({
        position: 0,
        open: [],
        failed,
        progress: Struct.pick(tally.progress, ...Export.counted),
        missing: tally.missing,
        unverified: tally.unverified,
        ...(redelivered && { redelivered }),
        seconds: before.seconds + (now - began) / 1000,
        requests,
        retries,
      })),
    };
  });
