/** The options of a run in shards. */
import type * as Effect from "effect/Effect";
import type * as Export from "../export/Export.ts";

export interface FailedShard {
  readonly shard: number;
  readonly message: string;
}

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
