/** Plan of a sync, by what earlier runs have left in the target. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import * as Stream from "effect/Stream";
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
  /** Lists them, once, whatever becomes of the connection. */
  readonly ids: Effect.Effect<ReadonlyArray<string>, E | ApiError, R | TenantClient>;
  readonly prune: boolean;
  readonly sizes: PageSizes;
  readonly activity: ByActivity.ByActivity | undefined;
  /** Writes what the run leaves to the next one, within a transaction. */
  readonly leave: (store: Store, pageSize: number | undefined) => Promise<void>;
}

const Activity = Schema.parseJson(ActivityState);

/** Keep what an effect gives. One that fails or is interrupted is done anew. */
const once = <A, E, R>(work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => {
  let done: { readonly value: A } | undefined;
  const keep = Effect.map(work, (value) => {
    done = { value };
    return value;
  });
  return Effect.suspend(() => done === undefined ? keep : Effect.succeed(done.value));
};

export const make = <E, R>(
  options: SyncOptions<E, R>,
  meta: ReadonlyMap<string, string>,
): Effect.Effect<SyncPlan<E, R>> =>
  Effect.gen(function* () {
    const { walk = {}, byActivity, lookback } = options;
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
    // A run that reads whole lists finds out anew what the tenant gives.
    const known = prune ? NaN : Number(meta.get(Meta.keys.pageSize));
    const sizes = SessionSource.sizesOf(walk.pageSize, known > 0 ? known : undefined);
    return {
      users,
      ids: once(Effect.map(Stream.runCollect(users.ids), (chunk) => [...new Set(chunk)])),
      prune,
      sizes,
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
