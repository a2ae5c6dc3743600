/** The values that a run and its checkpoints are made of. */

/** What became of sessions that were merged. */
export type Merged = Pick<Counts, "inserted" | "updated" | "unchanged">;

/** Counts of a run, by their columns. */
export type Counts = Readonly<typeof noCounts>;

export const noCounts = {
  inserted: 0,
  updated: 0,
  unchanged: 0,
  ended_sessions: 0,
  quarantined: 0,
  replaced_texts: 0,
};

export const sumOfCounts = (one: Counts, other: Counts): Counts =>
  Object.fromEntries(
    Object.keys(noCounts).map((key) => [key, one[key as keyof Counts] + other[key as keyof Counts]]),
  ) as unknown as Counts;

/** What a process says of a run: counts are of the whole run. */
export interface Standing {
  readonly users: number;
  readonly sessions: number;
  readonly requests: number;
  readonly retries: number;
  readonly seconds: number;
  /** What the next process needs. */
  readonly progress: unknown;
}

export type RunKind = "sync" | "prune" | "load";

export interface Asked {
  readonly kind: RunKind;
  /** What the run was asked for: one that was broken off is gone on with by one that asks for the same. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** A run that this process works on. */
export interface Begun {
  readonly run: number;
  readonly epoch: number;
  /** When it began, ISO 8601, UTC. */
  readonly began: string;
  readonly counts: Counts;
  /** What an earlier process of it said. */
  readonly standing: Standing;
  /** True if it ended by a commit of this process whose answer was lost: there is nothing left to do. */
  readonly isEnded: boolean;
}

export interface StoredCursor {
  readonly userId: string;
  readonly cursor: string | null;
  /** State of a walk that has not ended. */
  readonly state: string | null;
  /** The last run that is done with the user; 0 if none is. */
  readonly run: number;
}

/** What is known of a user's list after a walk that reads it whole. */
export type Listed = "open" | "whole" | "gone" | "";

export interface StagedUser extends StoredCursor {
  readonly listed: Listed;
}

export interface Checkpoint {
  readonly at: string;
  readonly users: ReadonlyArray<StagedUser>;
  readonly deletes: "soft" | "hard";
  readonly standing: Standing;
  /** Done in the same transaction, before rows are merged. */
  readonly also?: (() => Promise<void>) | undefined;
  /** Counts to add to those of the run: what its shards did. */
  readonly plus?: Counts | undefined;
  /** Set with the last one. Of a shard, what {@link Standing.progress} says stays. */
  readonly end?: {
    readonly verified: boolean;
    readonly unverifiedReasons: ReadonlyArray<string>;
  } | undefined;
}
