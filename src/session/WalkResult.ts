/** The rows that failed the schema and the end of a walk, as types that name no library. */

/** A row that is not a session by the schema, whole, with where it was found and what is wrong with it. */
export interface QuarantinedRow {
  readonly userId: string;
  /** The page it was served on, from 1, and the size of that page. */
  readonly page: number;
  readonly size: number;
  /** Its place on that page, from 0. */
  readonly index: number;
  /** The fields that are wrong: `expires_at`, `client_ids.0`; the empty text for the row as a whole. */
  readonly paths: ReadonlyArray<string>;
  /** The schema's own words. */
  readonly message: string;
  /** The row's JSON text as served. */
  readonly source: string;
  /** Set where `source` is not the row but what redaction has left of it. */
  readonly redacted?: true | undefined;
}

/** The end of one user's walk. */
export interface WalkEnd {
  /**
   * `missing`: the tenant knows no such user. `removed`: nor does it know this one any more, of whom sessions were
   * delivered. `failed`: the walk broke off.
   */
  readonly status: "complete" | "missing" | "removed" | "failed";
  /**
   * True if every session listed from the beginning of the walk to its end was delivered exactly once.
   * If not, `unverifiedReasons` says why.
   */
  readonly verified: boolean;
  readonly unverifiedReasons: ReadonlyArray<string>;
  /** The cursor from which the next run delivers only what has changed since, if the walk was one for changes. */
  readonly cursor?: unknown;
  /**
   * The latest `last_updated` of all sessions that the walk came upon, in seconds since the epoch; absent where there were none.
   * Only of a walk for changes.
   */
  readonly newest?: number | undefined;
  /** Why the walk broke off. */
  readonly message?: string | undefined;
}
