/** The options of a run into a dataset. */
import type * as Effect from "effect/Effect";
import type * as Export from "../export/Export.ts";
import type { Choice } from "../format/Formats.ts";
import type { Batch } from "../session/Batch.ts";
import type * as SessionSource from "../source/SessionSource.ts";
import type { SinkError } from "../sink/Sink.ts";
import type { FailedShard } from "../source/ShardPlan.ts";
import type { UserList } from "../source/UserList.ts";
import type { DatasetError } from "./DatasetError.ts";

/** A shard that is still to be walked, by {@link ShardRun.run}, in any process that has the folder. */
export interface OpenShard {
  /** From 1. */
  readonly shard: number;
  /** Names it to whoever runs it: `00002-1f3a5b7d/0007`. */
  readonly id: string;
  readonly users: number;
  readonly weight: number;
}

/**
 * Makes what an attempt has brought part of the dataset, if it is the first of its shard that is. An attempt that can't be
 * published fails this alone; where the dataset can't be written, the run fails as well.
 */
export type Publish = (
  shard: number,
  attempt: string,
) => Effect.Effect<void, DatasetError | SinkError | Export.ExportError>;

/** Options of a run whose users are walked in shards. */
export interface ShardsOptions<E, R> {
  /** The number of shards, 9999 at most; fewer if there are fewer users. A run that is gone on with keeps what it has. */
  readonly count: number;
  /**
   * Has all of these shards run, the heaviest first, each until an attempt has come to its end or no other is to be made. Calls
   * `publish` for each that has, the sooner the better; gives those that have not. One that is named nowhere counts as failed.
   */
  readonly dispatch: (
    shards: ReadonlyArray<OpenShard>,
    publish: Publish,
  ) => Effect.Effect<ReadonlyArray<FailedShard>, E | DatasetError | SinkError | Export.ExportError, R>;
  /**
   * Tells how much there is to walk of a user, against others. One who is more than the share of a shard gets a shard alone.
   *
   * @default {1, as is anything that is not above 0}
   */
  readonly weightOf?: ((userId: string) => number) | undefined;
}

/** Options of an export into a dataset. */
export interface DatasetOptions<E, R> {
  /** The folder; created if need be. */
  readonly root: string;
  readonly formats: ReadonlyArray<Choice>;
  readonly users: UserList<E, R>;
  /** The tenant's origin, to record it and to keep tenants apart. */
  readonly tenant: string;
  /**
   * `resume` goes on with what an earlier process could not finish, its failed users included; `new` insists on a folder
   * without a run.
   *
   * @default {"new"}
   */
  readonly mode?: "new" | "resume" | undefined;
  /**
   * Adds to a folder with a finished run what has changed since, for each user since its cursor or, if given, since a time in
   * seconds since the epoch: all of that then, what is there already as well. A folder without a run gets a first one; after
   * one from a time on, `"since-last"` delivers what is older. Not with a `sort`.
   */
  readonly changes?: "since-last" | { readonly since: number } | undefined;
  /**
   * With `"since-last"`: reads every user's list to its end, delivers all that the dataset lacks, has in an older version or
   * has said to have ended, and writes down which sessions of the dataset the tenant lists no more, as parts of their own in
   * `tombstones/`. Nothing is said of users whose walk is not verified, or not of this run alone; nor by a first run.
   *
   * @default {false}
   */
  readonly prune?: boolean | undefined;
  /**
   * Asks only users who were active since the last run, and every so many seconds (a day by default) all of them, with
   * `prune`: a sweep, which finds out whether activity can be gone by. Where it can't, all users are asked from then on. With
   * `"since-last"`, of all users.
   */
  readonly byActivity?: { readonly sweepEvery?: number | undefined } | undefined;
  /**
   * Has users walked by many processes, of many machines that share the folder. A run that was begun in shards is gone on with in
   * shards. Not with `byActivity`; `partRows`, `partBytes` and `change` are those of each shard.
   */
  readonly shards?: ShardsOptions<E, R> | undefined;
  /** Seconds, see {@link SessionSource.ChangesOptions}. @default {300} */
  readonly lookback?: number | undefined;
  /** Options of walks. `sort` and what chooses sessions must stay the same from run to run. */
  readonly walk?: Omit<SessionSource.SessionSourceOptions, "onFailure"> | undefined;
  /** Further options that must stay the same within a run, for the caller's own sake: recorded, and compared. */
  readonly options?: Readonly<Record<string, unknown>> | undefined;
  readonly onInvalid?: Export.ExportOptions<E, R>["onInvalid"];
  /** Limit of {@link Export.run}, over the whole run. What has come is kept, and a run that may quarantine more goes on from there. */
  readonly maxQuarantined?: Export.MaxQuarantined | undefined;
  /** Parts are completed once they hold so many sessions. @default {500_000} */
  readonly partRows?: number | undefined;
  /** Or once one of them has so many bytes, before any compression on the way. @default {536_870_912, 512 MiB} */
  readonly partBytes?: number | undefined;
  /** Done to each batch before it is encoded. */
  readonly change?: ((batch: Batch) => Batch) | undefined;
  /** Kept up to date as the run goes on. */
  readonly progress?: Export.Progress | undefined;
}
