/**
 * The options that calls share, as plain types.
 *
 * @module
 */
import type { SessionFilters } from "../api/SessionFilters.ts";
import type { Policy } from "../session/RedactionFields.ts";
import type { Session } from "./Session.ts";

/** A length of time: milliseconds, or a text such as `"30 seconds"`. */
export type Duration =
  | number
  | `${number} ${
    | "milli"
    | "millis"
    | "second"
    | "seconds"
    | "minute"
    | "minutes"
    | "hour"
    | "hours"
    | "day"
    | "days"}`;

/** The tenant, and how requests to it are paced, timed and repeated. */
export interface TenantOptions {
  /** The host, with or without `https://`: `acme.eu.monocloud.com`. Plain http is for loopback addresses alone. */
  readonly domain: string;
  /** Never printed, logged or put into an error. */
  readonly apiKey: string;
  /**
   * The most requests a second, retries included. With `"auto"` the rate begins at 20, grows until the tenant answers 429,
   * and stays just below what it allows.
   *
   * @default {20}
   */
  readonly rate?: number | "auto" | undefined;
  /** Requests that may leave at once after a pause. @default {a tenth of the rate, with "auto" a hundredth} */
  readonly burst?: number | undefined;
  /** Time limit of one attempt, body included. @default {"30 seconds"} */
  readonly timeout?: Duration | undefined;
  /** Most attempts of a request. @default {Infinity} */
  readonly maxAttempts?: number | undefined;
  /** Time limit of a request, retries included. @default {"5 minutes"} */
  readonly maxElapsed?: Duration | undefined;
  /** The longest wait before the second attempt; it doubles with each attempt. @default {"500 millis"} */
  readonly baseDelay?: Duration | undefined;
  /** Longest delay: the doubling ends there. @default {"30 seconds"} */
  readonly maxDelay?: Duration | undefined;
  /** The most bytes that the body of an answer may have. @default {67_108_864} */
  readonly maxBodyBytes?: number | undefined;
  /** Makes the requests. @default {globalThis.fetch} */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/** The order of sessions within a user: a key, and 1 for ascending or -1 for descending. */
export type Sort = `${"session_id" | "initiated_at" | "expires_at" | "last_updated"}:${1 | -1}`;

/** Options of walks: the sessions to read, and the way to read them. */
export interface WalkOptions extends SessionFilters {
  /**
   * The order within each user. Left out, sessions come newest first. While lists are read, `expires_at` and `last_updated`
   * change: a walk in their order can't be verified.
   */
  readonly sort?: Sort | undefined;
  /** Sessions a page, from 10. The tenant may give fewer. @default {100} */
  readonly pageSize?: number | undefined;
  /** Most requests under way at once. As many pages are held in memory. @default {"auto"} */
  readonly concurrency?: number | "auto" | undefined;
  /**
   * Fate of the others when the walk of one user fails: all fail, or they go on and that user ends as `failed`.
   *
   * @default {"stop"}
   */
  readonly onFailure?: "stop" | "continue" | undefined;
}

export type { Policy as RedactionPolicy } from "../session/RedactionFields.ts";

/** A policy, and the secret that hashes are keyed with. */
export interface Redaction {
  readonly policy: Policy;
  /** Needed for `hash`: 32 bytes or more. The same value has the same hash under one secret. */
  readonly secret?: string | undefined;
}

/** Changes to sessions before anyone gets them: `filter` first, then `map`, then `redact`. */
export interface TransformOptions {
  /** Keeps the sessions for which it returns true. Not async. */
  readonly filter?: ((session: Session, userId: string) => boolean) | undefined;
  /**
   * Replaces each session. Not async. What it returns must be a session; more fields than a session's are welcome. Make
   * another object: the one given is not to be changed.
   */
  readonly map?: ((session: Session, userId: string) => Session) | undefined;
  /** Takes out personal data, or makes it unreadable. Comes last, so nothing that `map` adds escapes it. */
  readonly redact?: Redaction | undefined;
}

/** Whose sessions, of which tenant, and how to ask for them. */
export interface SessionsOptions extends TenantOptions, WalkOptions, TransformOptions {
  /** User ids, each once, or `"all"` for every user of the tenant. */
  readonly users: Iterable<string> | AsyncIterable<string> | "all";
  /** Only sessions that changed at or after this time, by the tenant's clock. Not with `sort`. */
  readonly since?: Date | undefined;
  /** Ends the work: what it was for rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A list that can't be verified, and why. */
export interface Unverified {
  /** Whose sessions; undefined for the list of users itself. */
  readonly userId: string | undefined;
  /** Why something may be missing, or why the walk broke off. */
  readonly reasons: ReadonlyArray<string>;
}

/** Options for what may be missing. */
export interface UnverifiedOptions {
  /**
   * Lets it end. Left out, it fails with an `ExportError` of the reason `Unverified`, once all that was found is delivered.
   *
   * @default {false}
   */
  readonly allowUnverified?: boolean | undefined;
  /** Told of each list that can't be verified, whether that is allowed or not. */
  readonly onUnverified?: ((list: Unverified) => void) | undefined;
}

export type { FormatChoice } from "../format/FormatNames.ts";

/** Options of CSV. */
export interface CsvOptions {
  /** Puts a `'` before text that a spreadsheet may run as a formula. @default {true} */
  readonly escapeFormulas?: boolean;
}

/** Options of Parquet. */
export interface ParquetOptions {
  /** Rows in a row group, which is what the encoder holds. @default {10_000} */
  readonly rowGroupRows?: number;
  /** @default {"snappy"} */
  readonly codec?: "snappy" | "uncompressed";
}

/** The most rows that may be quarantined: so many, or so many of a hundred. */
export type MaxQuarantined = { readonly count: number } | { readonly percent: number };

/** Options of encoding, and of rows that are no sessions. */
export interface EncodingOptions {
  readonly csv?: CsvOptions | undefined;
  readonly parquet?: ParquetOptions | undefined;
  /**
   * Action for a row that fails the schema: `quarantine` it, whole, or `fail`. A stream has no place for such rows:
   * there, `quarantine` leaves them out.
   *
   * @default {"quarantine", for a stream "fail"}
   */
  readonly onInvalid?: "quarantine" | "fail" | undefined;
  /** Limit of rows that fail the schema: beyond it the run fails. @default {any number} */
  readonly maxQuarantined?: MaxQuarantined | undefined;
}
