/** Sessions as plain types, for callers that do not write Effect. */
import type { WalkEnd as WalkResultEnd } from "../session/WalkResult.ts";

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

export type { QuarantinedRow } from "../session/WalkResult.ts";

/** The end of one user's walk. Its cursor is what a cursor holds. */
export type WalkEnd = Omit<WalkResultEnd, "cursor">;
