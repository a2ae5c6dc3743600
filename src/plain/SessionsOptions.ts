/** The options that calls share, as plain types. */
import type { RequestOptions } from "../api/RequestOptions.ts";
import type { SessionFilters } from "../api/SessionFilters.ts";
import type { Sort } from "../api/Sort.ts";
import type { FormatOptions } from "../format/FormatOptions.ts";
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
export interface TenantOptions extends RequestOptions<Duration> {
  /** The host, with or without `https://`: `acme.eu.monocloud.com`. Plain http is for loopback addresses alone. */
  readonly domain: string;
  /** Never printed, logged or put into an error. */
  readonly apiKey: string;
  /** Makes the requests. @default {globalThis.fetch} */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

export type { Sort } from "../api/Sort.ts";

/** Options of walks: the sessions to read, and the way to read them. */
export interface WalkOptions extends SessionFilters {
  /**
   * The order within each user. Left out, sessions come newest first, by a walk that verifies its result. So it can for
   * `initiated_at` and `session_id`; `expires_at` and `last_updated` change while the list is read, and a session whose key
   * changes meanwhile may be missing: such a walk is never verified.
   */
  readonly sort?: Sort | undefined;
  /**
   * Sessions a page; the tenant may give fewer. From 10; pages below 50 overlap badly, at the price of more requests. Up to
   * twice as many are asked for where no smaller pages overlap: where many sessions share a second. With `"auto"` it is 100
   * for a user's first page, and for the others as many as the tenant gives and answers within 5 s and 8 MiB, up to 1,000.
   *
   * @default {"auto"}
   */
  readonly pageSize?: number | "auto" | undefined;
  /**
   * The number of requests that may be under way at once: that many users are walked side by side, and when fewer are left,
   * several pages of one user are asked for at once. As many pages are held in memory, and a few more. With `"auto"` it
   * begins with 8, grows while answers come faster for it and none of them is a 429, and never beyond 256 or pages of 32,768
   * sessions.
   *
   * @default {"auto"}
   */
  readonly concurrency?: number | "auto" | undefined;
  /**
   * The fate of the others when the walk of one user fails, though the tenant does not refuse the key: all fail, or they go
   * on, and that user ends as `failed`. After three such failures in a row, with no answer in between, all fail anyway: then
   * it is the tenant.
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
  /**
   * Takes out personal data, or makes it unreadable. Session keys and fields that this version does not know are dropped as
   * well, unless the policy keeps them. Comes last, so nothing that `map` adds escapes it.
   */
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

/** Options of runs that add what has changed since the last one. Into a folder, they go with `sinceLast`. */
export interface ActivityOptions {
  /**
   * Asks only users who were active since the last run. The list of users tells, latest activity first, so a run costs what
   * changed. Of `users: "all"`. Activity may not tell all, so every `sweepEvery` all users are asked, with `prune`, and
   * each one's newest session is compared with the activity. At the first contradiction all users are asked from then on.
   *
   * @default {false}
   */
  readonly byActivity?: boolean | undefined;
  /** Time from one run that asks all users to the next; with `byActivity`. @default {"24 hours"} */
  readonly sweepEvery?: Duration | undefined;
  /** The time below the last run that is read once more, for changes that showed late. @default {"5 minutes"} */
  readonly lookback?: Duration | undefined;
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

export type { CsvOptions, ParquetOptions } from "../format/FormatOptions.ts";

/**
 * The most rows that may be quarantined: so many, or so many of a hundred. A share is judged once 1,000 rows have come, and
 * at the end.
 */
export type MaxQuarantined = { readonly count: number } | { readonly percent: number };

/** Options of encoding, and of rows that are no sessions. */
export interface EncodingOptions extends FormatOptions {
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
