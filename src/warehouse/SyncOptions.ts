/** The options of a sync. */
import type * as Effect from "effect/Effect";
import type * as Export from "../export/Export.ts";
import type { Batch } from "../session/Batch.ts";
import type * as SessionSource from "../source/SessionSource.ts";
import type { FailedShard } from "../source/ShardPlan.ts";
import type { UserList } from "../source/UserList.ts";
import type * as WarehouseOptions from "./WarehouseOptions.ts";

/** Shards that are to be worked on. */
export interface ShardWork {
  readonly run: number;
  /** Beginning of the run, ISO 8601, UTC: with its number, that tells it from others. */
  readonly began: string;
  readonly prune: boolean;
  /** Shards that have not ended, in the order in which they are to begin. */
  readonly shards: ReadonlyArray<{ readonly shard: number; readonly users: number }>;
  /** Takes the progress of shards that are under way, each as a whole. */
  readonly show: (under: Iterable<Export.Progress>) => void;
}

/** Options of a run in shards. */
export interface ShardOptions<E = never> {
  /** Number of shards, at the most. A run that is gone on with keeps those it has. */
  readonly count: number;
  /**
   * Has processes elsewhere work on shards with `ShardSync.run`, each once at least. Resolves once all have ended or failed for
   * good; gives those that failed. Asked again for the same run, it goes on.
   */
  readonly dispatch: (work: ShardWork) => Effect.Effect<ReadonlyArray<FailedShard>, E>;
}

/** Options of `Sync.sync`. */
export interface SyncOptions<E, R> extends WarehouseOptions.WarehouseOptions {
  readonly users: UserList<E, R>;
  /** The tenant's origin, to record it and to keep tenants apart. */
  readonly tenant: string;
  /** Options of walks. What chooses sessions must stay the same from run to run. */
  readonly walk?: Omit<SessionSource.SessionSourceOptions, "onFailure" | "sort"> | undefined;
  /**
   * Reads every user's list to its end, brings in what the table lacks, and ends what it has and the tenant lists no more.
   * Nothing is said of users whose walk is not verified.
   *
   * @default {false}
   */
  readonly prune?: boolean | undefined;
  /**
   * Asks only users who were active since the last run, and every so many seconds (a day by default) all of them, with
   * {@link prune}: a sweep, which finds out whether activity can be gone by. Where it can't, all users are asked from then on.
   * Of all users.
   */
  readonly byActivity?: { readonly sweepEvery?: number | undefined } | undefined;
  /** Has users walked by processes elsewhere. Not by activity. */
  readonly shards?: ShardOptions<E> | undefined;
  /** Seconds, see {@link SessionSource.ChangesOptions}. @default {300} */
  readonly lookback?: number | undefined;
  /** Done to each batch before it is written. */
  readonly change?: ((batch: Batch) => Batch) | undefined;
  /** The policy that {@link change} follows, to record it: it must stay the same from run to run. */
  readonly redaction?: Readonly<Record<string, unknown>> | undefined;
  /** Limit of {@link Export.run}, over the whole run. */
  readonly maxQuarantined?: Export.MaxQuarantined | undefined;
  /** Kept up to date as the run goes on. */
  readonly progress?: Export.Progress | undefined;
}
