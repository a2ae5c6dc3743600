/** The work of one process on one shard of a run: its users are walked into the table, as those of a run are. */
import * as Effect from "effect/Effect";
import type { ApiError } from "../api/ApiError.ts";
import type { TenantClient } from "../api/TenantClient.ts";
import * as Export from "../export/Export.ts";
import * as Attempt from "./Attempt.ts";
import { identityOf } from "./Preparation.ts";
import * as Report from "./Report.ts";
import type { ShardKey } from "./Shards.ts";
import type { SyncOptions } from "./SyncOptions.ts";
import * as SyncPlan from "./SyncPlan.ts";
import type * as SyncProgress from "./SyncProgress.ts";
import * as SyncWalk from "./SyncWalk.ts";
import type { TargetError } from "./Target.ts";

export interface ShardSyncOptions
  extends Omit<SyncOptions<never, never>, "users" | "byActivity" | "shards" | "history"> {
  readonly shard: ShardKey;
  /** True if the users come from the tenant's own list. */
  readonly areListed: boolean;
}

const work = (options: ShardSyncOptions, known: SyncWalk.Known) => (its: Attempt.Work) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { store, begun } = its;
      if (begun.isEnded) return;
      const { prune = false, progress = Export.noProgress(), areListed } = options;
      const standing = yield* SyncWalk.standingOf(its, known, { prune, progress, isShard: true });
      const { states, tally } = standing;
      const users = yield* Attempt.call(() => store.shardUsers());
      progress.usersTotal = users.length;
      const sizes = SyncPlan.sizesOf(options, yield* Attempt.call(() => store.meta()), prune);
      const left = users.filter((userId) => !states.isDone(userId));
      const walked = yield* SyncWalk.run({
        options,
        its,
        prune,
        areListed,
        sizes,
        ...standing,
        left,
        again: [],
        restore,
      });
      const result: SyncProgress.ShardResult = {
        progress: tally.progress,
        missing: tally.missing,
        unverified: tally.unverified,
        failed: tally.failed,
        pageSize: sizes.found(),
      };
      const unverifiedReasons = Report.unverifiedReasonsOf(Report.outcomeOf(tally, []));
      const last = yield* walked.checkpoint({
        end: { verified: unverifiedReasons.length === 0, unverifiedReasons },
      });
      yield* walked.finish({ ...last, standing: { ...last.standing, progress: result } });
    })
  );

/**
 * Work on a shard to its end, or go on with it where an earlier process was broken off. What it leaves is in the table when this
 * ends; a shard that has ended is left as it is.
 *
 * Fails with a `TargetError`, whose reason is `LeaseLost` where the run is over or another process has taken the shard since, with
 * an `ApiError` or an `ExportError`.
 */
export const run = (
  options: ShardSyncOptions,
): Effect.Effect<
  void,
  ApiError | TargetError | Export.ExportError,
  TenantClient
> => {
  const { shard, target, tenant, redaction, walk = {}, prune = false } = options;
  const identity = identityOf(tenant, walk, redaction);
  const asked = () => Effect.succeed({ kind: prune ? "prune" as const : "sync" as const, options: {} });
  return Attempt.during(
    target,
    { identity, history: false, isThere: true },
    asked,
    { ...options, shard },
    work(options, {}),
  );
};
