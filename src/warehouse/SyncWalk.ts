/** The walk of a sync: answers of the tenant go to the target, with a checkpoint now and then, until no user is left. */
import * as Cause from "effect/Cause";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import type { ApiError } from "../api/ApiError.ts";
import { TenantClient } from "../api/TenantClient.ts";
import * as Export from "../export/Export.ts";
import type { Batch } from "../session/Batch.ts";
import type { ByActivity } from "../source/activity/ByActivity.ts";
import type { PageSizes } from "../source/paging/PageSizes.ts";
import * as SessionSource from "../source/SessionSource.ts";
import * as Attempt from "./Attempt.ts";
import * as Commits from "./Commits.ts";
import type * as Store from "./Store.ts";
import type { SyncOptions } from "./SyncOptions.ts";
import * as SyncProgress from "./SyncProgress.ts";
import * as TableRows from "./TableRows.ts";
import type { TargetError } from "./Target.ts";
import * as UserStates from "./UserStates.ts";
import * as WarehouseOptions from "./WarehouseOptions.ts";

/** Users to walk, and all that is known of them. */
export interface Walk {
  readonly options: Omit<SyncOptions<never, never>, "users" | "byActivity" | "shards">;
  readonly its: Attempt.Work;
  readonly prune: boolean;
  /** True if the users come from the tenant's own list. */
  readonly areListed: boolean | undefined;
  readonly sizes: PageSizes;
  readonly activity?: ByActivity | undefined;
  readonly states: UserStates.UserStates;
  readonly tally: Export.Tally;
  readonly origin: SyncProgress.Origin;
  /** Users that are left, and those to ask once more for changes alone. */
  readonly left: ReadonlyArray<string>;
  readonly again: ReadonlyArray<string>;
  /** Lets work be interrupted that nothing rests on. */
  readonly restore: <A, E, R>(work: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>;
}

/** The end of a walk that was not broken off. */
export interface Walked {
  /** Gives a checkpoint of all that came since the last one. */
  readonly checkpoint: (
    more?: Pick<Store.Checkpoint, "end" | "also" | "plus">,
    others?: ReadonlyArray<Store.StagedUser>,
  ) => Effect.Effect<Store.Checkpoint>;
  /** Commits it, after those that are under way. */
  readonly finish: Commits.Commits["finish"];
  /** Commits all that came, and fails. */
  readonly breakOff: <A>(cause: Cause.Cause<A>) => Effect.Effect<never, A | TargetError>;
  /** Gives the size of pages that was found out. */
  readonly pageSize: () => number | undefined;
}

/** Ids of an answer that its rows do not tell: of rows that were quarantined or left out; empty text for a row without one. */
const otherIds = ({ observedIds = [] }: Batch, { sessions }: TableRows.Taken): ReadonlyArray<string> => {
  const told = new Set(sessions.map((values) => values[TableRows.idColumn]));
  return observedIds.map((id = "") => id).filter((id) => !told.has(id) && TableRows.isGood(id));
};

/** Knowledge of a process about its work, which outlasts a connection. */
export interface Known {
  origin?: SyncProgress.Origin;
}

/** Find out where a run or a shard stands; another process than the one before asks for every user of a run again. */
export const standingOf = (
  { store, begun }: Attempt.Work,
  known: Known,
  { prune, progress, isShard }: {
    readonly prune: boolean;
    readonly progress: Export.Progress;
    readonly isShard: boolean;
  },
) =>
  Effect.gen(function* () {
    const { traffic } = yield* TenantClient;
    const at = yield* Clock.currentTimeMillis;
    const cursors = yield* Attempt.call(() => store.cursors());
    const states = UserStates.make({ cursors, run: begun.run, prune, beganAt: at });
    const isOther = known.origin === undefined && !isShard;
    const origin = known.origin ??= {
      at,
      traffic: traffic(),
      standing: begun.standing,
      // A shard is as of when its run began: whoever is done with is done with.
      doneBefore: new Set(isShard ? [] : [...cursors.keys()].filter(states.isDone)),
    };
    return { states, origin, tally: SyncProgress.resume(begun.standing, isOther, progress) };
  });

/** Put an answer where the next checkpoint takes it from, and count it. */
const ingest = ({ options, prune, its: { store }, states, tally }: Walk, take: TableRows.TakeOptions) =>
(
  served: Batch,
) =>
  Effect.gen(function* () {
    const batch = options.change?.(served) ?? served;
    const taken = TableRows.ofBatch(batch, take);
    const others = prune ? otherIds(served, taken) : [];
    yield* Attempt.call(() => store.write(taken));
    if (others.length > 0) yield* Attempt.call(() => store.observe(batch.userId, others));
    Export.count(tally, batch);
    tally.progress.quarantined += taken.quarantined.length - batch.quarantined.length;
    states.touch(batch, served.observedIds !== undefined);
  });

/** Give the batches of all users. */
const batchesOf = (
  { options: { walk = {}, lookback }, prune, areListed, sizes, activity, states, left, again }: Walk,
): Stream.Stream<Batch, ApiError, TenantClient> => {
  const changes = (userIds: ReadonlyArray<string>, whole: boolean) =>
    SessionSource.changes(Stream.map(Stream.fromIterable(userIds), states.startOf), {
      ...walk,
      sizes,
      onFailure: "continue",
      areListed,
      lookback,
      whole,
      // What the table has is compared there: all that is listed goes to it.
      holds: whole ? () => "lacks" : undefined,
    });
  const batches = prune
    ? Stream.concat(changes(left, true), changes(again, false))
    : changes([...left, ...again], false);
  return activity === undefined ? batches : activity.watch(batches);
};

/** Walk all users. Where it is broken off, what came is committed, and it fails with what broke it off. */
export const run = (
  walk: Walk,
): Effect.Effect<Walked, ApiError | Export.ExportError | TargetError, TenantClient> =>
  Effect.gen(function* () {
    const { options, its: { store }, states, sizes, tally, origin, restore } = walk;
    const { deletes, checkpointRows, checkpointEvery, take } = WarehouseOptions.settle(options);
    const { traffic } = yield* TenantClient;
    const commits = Commits.make(store);
    let waitingSince: number | undefined;

    const checkpoint: Walked["checkpoint"] = (more = {}, others = []) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        waitingSince = undefined;
        return {
          at: new Date(now).toISOString(),
          users: [...states.flush(), ...others],
          deletes,
          standing: SyncProgress.standingOf(origin, tally, traffic(), now),
          ...more,
        };
      });
    const breakOff = <A>(cause: Cause.Cause<A>) =>
      Effect.zipRight(Effect.flatMap(checkpoint(), commits.finish), Effect.failCause(cause));
    const takeIn = ingest(walk, take);
    const broken = yield* Export.drain({
      source: batchesOf(walk),
      tally,
      maxQuarantined: options.maxQuarantined,
      restore,
      take: (batch) =>
        Effect.gen(function* () {
          yield* takeIn(batch);
          const now = yield* Clock.currentTimeMillis;
          waitingSince ??= now;
          const isDue = store.isDue(checkpointRows) || now - waitingSince >= checkpointEvery;
          if (isDue) yield* commits.begin(yield* checkpoint());
          yield* commits.check;
        }),
    });
    if (!Cause.isEmpty(broken)) return yield* breakOff(broken);
    return { checkpoint, finish: commits.finish, breakOff, pageSize: sizes.found };
  });
