/** Reports of calls, as plain types. */

/** The progress of an export. */
export interface Progress {
  /** Users whose walk has ended, the missing and failed ones included. */
  readonly users: number;
  /** Users that the tenant does not know. */
  readonly missing: number;
  /** Users whose walk broke off. */
  readonly failed: number;
  readonly sessions: number;
  /** Rows that failed the schema. */
  readonly quarantined: number;
  /** Users whose walk can't be verified. */
  readonly unverified: number;
  /** Before any compression on the way. */
  readonly encodedBytes: number;
  /** The number of sessions that the tenant says there are, summed over the users whose walks have begun. */
  readonly listed: number;
  /** The number of users, once that is known. */
  readonly usersTotal?: number | undefined;
}

/** A listener to work on files. */
export interface ProgressOptions<A> {
  /** Told how far the work has come, every quarter of a second and at its end. If it throws, the work rejects with that. */
  readonly onProgress?: ((progress: A) => void) | undefined;
}

/** A count of all, and the first few by name. */
export interface Sample<A> {
  readonly count: number;
  /** At most 100. */
  readonly first: ReadonlyArray<A>;
}

/** A user whose walk can't be verified, and why. */
export interface UnverifiedUser {
  readonly userId: string;
  readonly unverifiedReasons: ReadonlyArray<string>;
}

/** A user whose walk broke off, and why. */
export interface FailedUser {
  readonly userId: string;
  readonly message: string;
}

/** The earliest and the latest time, in seconds since the epoch, both included. */
export interface TimeRange {
  readonly min: number;
  readonly max: number;
}

/** A complete file. */
export interface ExportedFile {
  /** Its path. */
  readonly name: string;
  /** The name of its format; `quarantine` is the file of rows that failed the schema. */
  readonly format: string;
  readonly rows: number;
  readonly bytes: number;
  /** Digest of the bytes, in lower-case hexadecimal. */
  readonly sha256?: string | undefined;
  /** The range of `initiated_at`; absent if there are no sessions. */
  readonly initiatedAt?: TimeRange | undefined;
}

/** The outcome of an export, wherever it went. */
export interface Outcome {
  readonly users: number;
  readonly sessions: number;
  /** Rows that failed the schema. */
  readonly quarantined: number;
  /** Bytes of all files, as they lie. */
  readonly bytes: number;
  /** At work; what lay between an interruption and the next start does not count. */
  readonly seconds: number;
  /** True if every session listed from beginning to end was delivered exactly once. */
  readonly verified: boolean;
  /** Users that the tenant does not know. */
  readonly missing: Sample<string>;
  readonly unverified: Sample<UnverifiedUser>;
  readonly failed: Sample<FailedUser>;
  /** Reasons why not every user of the tenant may have been named, for `"all"`; empty if all were. */
  readonly userListUnverifiedReasons: ReadonlyArray<string>;
}

/** The report of an export to files or a stream. */
export interface Report extends Outcome {
  readonly files: ReadonlyArray<ExportedFile>;
}

/** A complete file of a dataset, as its manifest names it. */
export interface Part {
  /** From the dataset's folder, with `/`. */
  readonly path: string;
  /**
   * Its format; or `quarantine`: rows that failed the schema, `tombstones`: what the tenant lists no more, `cursors`,
   * `observed`: what the next run has to know.
   */
  readonly format: string;
  /** Parts of one number hold the same rows. */
  readonly part: number;
  /** The run that wrote it. */
  readonly run: number;
  readonly rows: number;
  readonly bytes: number;
  readonly sha256: string;
  readonly initiated_at?: TimeRange | undefined;
  readonly columns?: ReadonlyArray<string> | undefined;
}

/** Report of a run by activity. */
export interface ActivityReport {
  /** Users that were asked. */
  readonly asked: number;
  /** Users of the tenant, where it counts them. */
  readonly of?: number | undefined;
  /** When all users were last asked, ISO 8601, UTC. */
  readonly swept_at: string;
  /** The reason why activity is not gone by. */
  readonly off?: string | undefined;
  /** Sessions that a sweep brought though they are older than the run before, which should have brought them. */
  readonly late?: number | undefined;
}

/** A shard of a run in shards, and the attempt at it that counts. */
export interface ShardReport {
  /** From 1. */
  readonly shard: number;
  readonly attempt: string;
  readonly users: number;
  readonly sessions: number;
}

/** The report of a run into a dataset, over all processes that worked on it. */
export interface DatasetReport extends Outcome {
  /** From 1. */
  readonly run: number;
  /**
   * `full`: every session. `changes`: what changed since the last run. `retry`: the users that had failed. `replay`: rows
   * that had been quarantined.
   */
  readonly kind: "full" | "retry" | "changes" | "replay";
  /** ISO 8601. */
  readonly began: string;
  /** ISO 8601. */
  readonly ended: string;
  readonly requests: number;
  readonly retries: number;
  /** Tombstones of a run that prunes: over so many users, sessions that are gone, and sessions that are listed again. */
  readonly tombstones?: { readonly users: number; readonly gone: number; readonly again: number } | undefined;
  /** Sessions that may be in earlier runs as they are; absent if none may. */
  readonly redelivered?: { readonly sessions: number; readonly users: Sample<string> } | undefined;
  /** Set of a run by activity. */
  readonly by_activity?: ActivityReport | undefined;
  /** Set of a run in shards. */
  readonly shards?: ReadonlyArray<ShardReport> | undefined;
  readonly files: ReadonlyArray<Part>;
  /** True if there was nothing to do. */
  readonly wasFinished: boolean;
}

/** Something in a dataset that is not as it was written. */
export interface Problem {
  /** The file, from the dataset's folder, with `/`. */
  readonly path: string;
  /** In words that go on from the path: `has 99 rows, not 100`. */
  readonly problem: string;
}

/** The report of a verification: what it read, and what is wrong with it. */
export interface VerifyReport {
  /** Files. */
  readonly parts: number;
  /** Sessions, each counted once, however many formats hold it. */
  readonly sessions: number;
  /** Rows of all files. */
  readonly rows: number;
  /** Bytes of all files. */
  readonly bytes: number;
  /** True if there is a run that has not finished. Its parts so far were verified as well. */
  readonly unfinished: boolean;
  /** Empty if all is well. */
  readonly problems: ReadonlyArray<Problem>;
}

/** The progress of a verification. */
export interface VerifyProgress {
  readonly parts: number;
  readonly partsTotal: number;
  readonly rows: number;
  readonly rowsTotal: number;
}

/** The report of a replay: what became of the rows that had been quarantined. */
export interface ReplayReport {
  /** Rows that had been quarantined. */
  readonly rows: number;
  /** Rows of these that are sessions of the dataset now. */
  readonly sessions: number;
  /** The ones that are sessions, and that the dataset had already. */
  readonly known: number;
  /** The ones that stay quarantined. */
  readonly quarantined: number;
  /** Rows of those of which redaction has left too little to tell. */
  readonly redacted: number;
  /** The new parts; none if no row passed. */
  readonly files: ReadonlyArray<Part>;
}

/** The progress of a replay. */
export interface ReplayProgress {
  readonly rows: number;
  readonly rowsTotal: number;
}

/** The report of a run into a warehouse, over all processes that worked on it. */
export interface WarehouseReport extends Omit<Outcome, "bytes"> {
  /** The target's name, without a password. */
  readonly target: string;
  /** From 1. */
  readonly run: number;
  /** `sync`: what changed. `prune`: whole lists, and what has ended. `load`: an exported folder. */
  readonly kind: "sync" | "prune" | "load";
  /** ISO 8601. */
  readonly began: string;
  /** Sessions that were not there. */
  readonly inserted: number;
  /** Sessions of which a newer version came, or that are listed again. */
  readonly updated: number;
  /** Sessions that were there as they are, or in a newer version. */
  readonly unchanged: number;
  /** Sessions found no longer listed. */
  readonly ended: number;
  /** Texts of which something was replaced by U+FFFD. */
  readonly replacedTexts: number;
  readonly requests: number;
  readonly retries: number;
  /** Set of a run by activity. */
  readonly by_activity?: ActivityReport | undefined;
}

/** The progress of a load. */
export interface LoadProgress {
  readonly rows: number;
  readonly rowsTotal: number;
}
