/**
 * Sessions as plain types, for callers that do not write Effect.
 *
 * @module
 */

/** The client's surroundings when the session was last used. Each field is a text, null or absent. */
export interface SessionMetadata {
  readonly country?: string | null | undefined;
  readonly region?: string | null | undefined;
  readonly city?: string | null | undefined;
  /** Degrees north, as text: `"34.043238"`. */
  readonly latitude?: string | null | undefined;
  /** Degrees east, as text: `"-118.250918"`. */
  readonly longitude?: string | null | undefined;
  readonly ip_address?: string | null | undefined;
  readonly user_agent?: string | null | undefined;
}

/** An active session of a user, as the tenant serves it. Fields this version does not know are kept on the value. */
export interface Session {
  readonly session_id: string;
  readonly session_key?: string | null | undefined;
  readonly client_ids: ReadonlyArray<string>;
  /** Seconds since the epoch. */
  readonly initiated_at: number;
  /** Seconds since the epoch. */
  readonly expires_at: number;
  /** Seconds since the epoch. */
  readonly last_updated: number;
  readonly last_metadata?: SessionMetadata | null | undefined;
}

/** A session, with the user it belongs to. */
export interface UserSession extends Session {
  readonly user_id: string;
}

/** A row that is no session by the schema, whole, with its place and its flaws. */
export interface Rejected {
  readonly userId: string;
  /** The page it was served on, from 1. */
  readonly page: number;
  /** The size of that page. */
  readonly size: number;
  /** Its place on that page, from 0. */
  readonly index: number;
  /** The fields that are wrong: `expires_at`, `client_ids.0`; the empty text for the row as a whole. */
  readonly paths: ReadonlyArray<string>;
  /** The schema's own words. */
  readonly message: string;
  /** The row's JSON text as served. */
  readonly source: string;
  /** True where `source` is what redaction has left of the row. */
  readonly redacted?: true | undefined;
}

/** The end of one user's walk. */
export interface WalkEnd {
  /**
   * `complete`: the list was read to its end. `missing`: the tenant knows no such user. `removed`: the user was removed
   * while its list was read. `failed`: the walk broke off.
   */
  readonly status: "complete" | "missing" | "removed" | "failed";
  /** Whether every session listed from beginning to end was delivered exactly once. If not, `doubts` says why. */
  readonly verified: boolean;
  readonly doubts: ReadonlyArray<string>;
  /** Why the walk broke off. */
  readonly message?: string | undefined;
}
