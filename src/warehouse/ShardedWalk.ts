/**
 * The walk of a run in shards: users are dealt to shards in the target, processes elsewhere walk them, and what they have
 * counted becomes the run's.
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import { TenantClient } from "../api/TenantClient.ts";
import * as Export from "../export/Export.ts";
import * as ShardPlan from "../source/ShardPlan.ts";
import * as Attempt from "./Attempt.ts";
import { noCounts, sumOfCounts } from "./Checkpoint.ts";
import * as SyncProgress from "./SyncProgress.ts";
import type { ShardRow } from "./Shards.ts";
import type { ShardOptions } from "./SyncOptions.ts";
import type { Walk, Walked } from "./SyncWalk.ts";
import { TargetError } from "./Target.ts";

/** Rows of a page, for the number of requests that a user takes. */
const PAGE = 1000;

/** The error of shards that failed, which the next run of the same tries again. */
const failed = (target: string, all: number, shards: ReadonlyArray<ShardPlan.FailedShard>): TargetError => {
  const [first] = shards;
  const named = shards.slice(0, 3).map(({ shard, message }) => `shard ${shard}: ${message}`).join("; ");
  const more = shards.length > 3 ? `; and ${shards.length - 3} more` : "";
  return new TargetError({
    reason: "Shards",
    target,
    message: `${shards.length} of ${all} shards failed${first === undefined ? "" : `: ${named}${more}`}. ` +
      `What the others brought is kept: the same command tries these again`,
  });
};

/** Deal users to shards, unless an earlier process did. */
const plan = ({ its: { store, begun }, left, prune }: Walk, count: number) =>
  Effect.gen(function* () {
    const there = yield* Attempt.call(() => store.shards());
    if (there.length > 0) return there;
    const lengths = prune ? yield* Attempt.call(() => store.liveCounts()) : undefined;
    const weightOf = (userId: string) => 1 + Math.floor((lengths?.get(userId) ?? 0) / PAGE);
    yield* Attempt.call(() => store.plan(ShardPlan.deal(left, count, weightOf), begun.began));
    return yield* Attempt.call(() => store.shards());
  });

/** Have all users walked elsewhere. */
export const run = <E>(
  walk: Omit<Walk, "activity" | "again">,
  { count, dispatch }: ShardOptions<E>,
): Effect.Effect<Walked, TargetError | E, TenantClient> =>
  Effect.gen(function* () {
    const { options: { target, deletes = "soft" }, its: { store, begun }, tally, origin, restore, prune } =
      walk;
    const { traffic } = yield* TenantClient;
    const shards = yield* plan({ ...walk, again: [] }, count);
    const resultOf = ({ standing }: ShardRow) => standing.progress as SyncProgress.ShardResult;
    const ended = shards.filter(({ isEnded }) => isEnded).map((row) => resultOf(row).progress);
    const { usersTotal } = tally.progress;
    const show = (under: Iterable<Export.Progress>) =>
      void Object.assign(tally.progress, Export.sumOfProgress([...ended, ...under]), { usersTotal });
    show([]);
    const open = shards.filter(({ isEnded }) => !isEnded);
    const failures = open.length === 0 ? [] : yield* restore(dispatch({
      run: begun.run,
      began: begun.began,
      prune,
      shards: open.map(({ shard, usersTotal: users }) => ({ shard, users })),
      show,
    }));
    const rows = yield* Attempt.call(() => store.shards());
    const missing = rows.filter(({ isEnded }) => !isEnded).map(({ shard }): ShardPlan.FailedShard =>
      failures.find((failure) => failure.shard === shard) ?? { shard, message: "it has not ended" }
    );
    if (missing.length > 0) return yield* failed(target.name, rows.length, missing);

    const results = rows.map(resultOf);
    Export.adopt(tally, results);
    tally.progress.usersTotal = usersTotal;
    const counts = rows.map(({ counts }) => counts).reduce(sumOfCounts, noCounts);
    const sum = (key: "requests" | "retries") => rows.reduce((sum, { standing }) => sum + standing[key], 0);
    const sizes = results.flatMap(({ pageSize }) => pageSize ?? []);
    return {
      checkpoint: (more = {}, others = []) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const standing = SyncProgress.standingOf(origin, tally, traffic(), now);
          return {
            at: new Date(now).toISOString(),
            users: others,
            deletes,
            standing: {
              ...standing,
              requests: standing.requests + sum("requests"),
              retries: standing.retries + sum("retries"),
            },
            plus: counts,
            ...more,
            also: async () => {
              await more.also?.();
              await store.removeShards();
            },
          };
        }),
      finish: (checkpoint) => Attempt.call(() => store.commit(checkpoint)),
      breakOff: Effect.failCause,
      pageSize: () => sizes.length === 0 ? undefined : Math.max(...sizes),
    };
  });
