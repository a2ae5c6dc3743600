/** Plan of a sync, by what earlier runs have left in the target. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import type { ApiError } from "../api/ApiError.ts";
import type { TenantClient } from "../api/TenantClient.ts";
import { ActivityState } from "../source/activity/ActivityState.ts";
import * as ByActivity from "../source/activity/ByActivity.ts";
import type { PageSizes } from "../source/paging/PageSizes.ts";
import * as SessionSource from "../source/SessionSource.ts";
import type { UserList } from "../source/UserList.ts";
import * as Meta from "./Meta.ts";
import type { Store } from "./Store.ts";
import type { SyncOptions } from "./SyncOptions.ts";

export interface SyncPlan<E, R> {
  readonly users: UserList<E | ApiError, R | TenantClient>;
  readonly prune: boolean;
  readonly sizes: PageSizes;
  readonly activity: ByActivity.ByActivity | undefined;
  /** Writes what the run leaves to the next one, within a transaction. */
  readonly leave: (store: Store, pageSize: number | undefined) => Promise<void>;
}

const Activity = Schema.parseJson(ActivityState);

/** Make the sizes of pages, from those that an earlier run has found out; one that reads whole lists finds them out anew. */
export const sizesOf = (
  { walk = {} }: Pick<SyncOptions<never, never>, "walk">,
  meta: ReadonlyMap<string, string>,
  prune: boolean,
): PageSizes => {
  const known = prune ? NaN : Number(meta.get(Meta.keys.pageSize));
  return SessionSource.sizesOf(walk.pageSize, known > 0 ? known : undefined);
};

export const make = <E, R>(
  options: SyncOptions<E, R>,
  meta: ReadonlyMap<string, string>,
): Effect.Effect<SyncPlan<E, R>> =>
  Effect.gen(function* () {
    const { byActivity, lookback } = options;
    const found = meta.get(Meta.keys.activity);
    const state = found === undefined ? undefined : Schema.decodeSync(Activity)(found);
    const activity = byActivity && ByActivity.make({
      ...byActivity,
      state,
      now: yield* Clock.currentTimeMillis,
      lookback,
      sweep: options.prune,
    });
    // Before there is anything to compare it with, activity is only measured.
    const prune = options.prune === true || (activity?.isSweep === true && state !== undefined);
    const users: UserList<E | ApiError, R | TenantClient> = activity?.users ?? options.users;
    return {
      users,
      prune,
      sizes: sizesOf(options, meta, prune),
      activity,
      leave: async ({ getMeta, setMeta }, size) => {
        const next = activity?.state();
        if (size !== undefined) await setMeta(Meta.keys.pageSize, `${size}`);
        // Whoever has run since this one was planned knows better.
        if (next !== undefined && await getMeta(Meta.keys.activity) === found) {
          await setMeta(Meta.keys.activity, Schema.encodeSync(Activity)(next));
        }
      },
    };
  });
