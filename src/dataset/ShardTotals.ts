/** Counts of a run in shards: the sums of those that were published. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Export from "../export/Export.ts";
import type { RunProgress } from "./Manifest.ts";

export type ShardTotals = Effect.Effect.Success<ReturnType<typeof make>>;

/** Names in a list; there are counts of all. */
const NAMED = 100;

const redeliveredOf = (one: RunProgress["redelivered"], other: RunProgress["redelivered"]) => {
  if (one === undefined || other === undefined) return one ?? other;
  const first = [...one.users.first, ...other.users.first].slice(0, NAMED);
  return {
    sessions: one.sessions + other.sessions,
    users: { count: one.users.count + other.users.count, first },
  };
};

const sumOf = (one: RunProgress, other: RunProgress): RunProgress => ({
  ...one,
  failed: [...one.failed, ...other.failed],
  progress: Export.sumOfProgress([one.progress, other.progress]),
  missing: [...one.missing, ...other.missing].slice(0, NAMED),
  unverified: [...one.unverified, ...other.unverified].slice(0, NAMED),
  redelivered: redeliveredOf(one.redelivered, other.redelivered),
  requests: one.requests + other.requests,
  retries: one.retries + other.retries,
});

/** Go on from what was published before; `shown` is kept up to date. */
export const make = (before: RunProgress, shown: Export.Progress) =>
  Effect.map(Clock.currentTimeMillis, (began) => {
    const tally = Export.noTally(Object.assign(shown, { before: { ...before.progress } }));
    let total: RunProgress = { ...before, position: 0, open: [] };
    const show = () => {
      const failed = total.failed.map(({ user_id, message }) => ({ userId: user_id, message }));
      Export.adopt(tally, [{ ...total, failed }]);
    };
    show();
    return {
      tally,
      failed: () => total.failed,
      /** Adds what an attempt at a shard has come to. */
      add: (its: RunProgress) => {
        total = sumOf(total, its);
        show();
      },
      progress: Effect.map(Clock.currentTimeMillis, (now) => ({
        ...total,
        seconds: before.seconds + (now - began) / 1000,
      })),
    };
  });
