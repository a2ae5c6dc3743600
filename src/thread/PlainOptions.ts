/**
 * What an export in a thread is told and what it reports, in types that name no library.
 *
 * @module
 */
import type { ThreadOptions } from "./AnyWorker.ts";

/** The name of a format. */
export type FormatName = "ndjson" | "csv" | "parquet";

/** A length of time: in milliseconds, or with its unit, such as `"30 seconds"`. */
export type Duration =
  | number
  | `${number} ${"milli" | "second" | "minute" | "hour" | "day"}`
  | `${number} ${"millis" | "seconds" | "minutes" | "hours" | "days"}`;

/** Which tenant, how to get in, and how requests to it are paced, timed and repeated. */
export interface TenantOptions {
  /** The host, with or without `https://`: `acme.eu.monocloud.com`. */
  readonly domain: string;
  /** Never printed, logged or put into an error. */
  readonly apiKey: string;
  /** The most requests a second, retries included, or `"auto"` to find out what the tenant allows. @default {20} */
  readonly rate?: number | "auto" | undefined;
  /** How many requests may leave at once after a pause. @default {Math.max(1, rate / 10)} */
  readonly burst?: number | undefined;
  /** How long one attempt may take, body included. @default {"30 seconds"} */
  readonly timeout?: Duration | undefined;
  /** How many times a request is sent before it fails. @default {Infinity} */
  readonly maxAttempts?: number | undefined;
  /** How long a request may take in all, its retries included. @default {"5 minutes"} */
  readonly maxElapsed?: Duration | undefined;
  /** The longest wait before the second attempt; it doubles with each attempt. @default {"500 millis"} */
  readonly baseDelay?: Duration | undefined;
  /** Where the doubling ends. @default {"30 seconds"} */
  readonly maxDelay?: Duration | undefined;
  /** The most bytes that the body of an answer may have. @default {67_108_864} */
  readonly maxBodyBytes?: number | undefined;
}

/** How lists of sessions are read. */
export interface WalkOptions {
  /** Only sessions in which this client took part. */
  readonly clientId?: string | undefined;
  /** The order to ask for. @default {"initiated_at:-1"} */
  readonly sort?: `${"session_id" | "initiated_at" | "expires_at" | "last_updated"}:${1 | -1}` | undefined;
  /** How many rows to ask for at a time. */
  readonly pageSize?: number | undefined;
  /** How many requests may be under way at once, or `"auto"` for as many as pay. @default {"auto"} */
  readonly concurrency?: number | "auto" | undefined;
  /** Whether the export goes on when the walk of a user fails. @default {"stop"} */
  readonly onFailure?: "stop" | "continue" | undefined;
}

/** What becomes of personal data, field by field. */
export interface RedactionPolicy {
  readonly ip?: "keep" | "truncate" | "hash" | "drop" | undefined;
  readonly user_agent?: "keep" | "hash" | "drop" | undefined;
  readonly location?: "keep" | "truncate" | "hash" | "drop" | undefined;
  /** @default {"drop"} */
  readonly session_key?: "keep" | "hash" | "drop" | undefined;
  /** Fields this version does not know. @default {"drop"} */
  readonly unknown?: "keep" | "drop" | undefined;
}

/** How far an export has come. */
export interface Progress {
  /** Users whose walk has ended, the missing and failed ones included. */
  readonly users: number;
  /** Users that the tenant does not know. */
  readonly missing: number;
  /** Users whose walk broke off. */
  readonly failed: number;
  readonly sessions: number;
  readonly rejected: number;
  /** Users whose walk is not verified. */
  readonly unverified: number;
  /** Bytes before any compression. */
  readonly encodedBytes: number;
  /** How many sessions the tenant says there are, of the users whose walks have begun. */
  readonly listed: number;
  /** How many users there are, once that is known. */
  readonly usersTotal?: number | undefined;
}

/** What is written, and what becomes of rows that are no sessions. */
export interface ContentOptions {
  readonly csv?: {
    /** Whether text that a spreadsheet may run as a formula gets a `'` in front. @default {true} */
    readonly escapeFormulas?: boolean;
  } | undefined;
  readonly parquet?: {
    /** Rows in a row group, which is what the encoder holds. @default {10_000} */
    readonly rowGroupRows?: number;
    /** How pages are compressed. @default {"snappy"} */
    readonly codec?: "snappy" | "uncompressed";
  } | undefined;
  readonly redact?: {
    readonly policy: RedactionPolicy;
    /** Keys the hashes. */
    readonly secret?: string | undefined;
  } | undefined;
  /** What to do with a row that is not a session. A stream has no place for such rows: there, the default is `fail`. */
  readonly onInvalid?: "quarantine" | "fail" | undefined;
  /** The most rows that may be put aside: so many, or so many of a hundred. */
  readonly maxRejected?: { readonly count: number } | { readonly percent: number } | undefined;
  /** Told how far the export has come, when it has come further. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/** Whose sessions, of which tenant, how to ask for them and how to write them. */
export interface OffThreadOptions extends TenantOptions, WalkOptions, ThreadOptions, ContentOptions {
  /** User ids, each once, or `"all"` for every user of the tenant. Read to the end before the thread begins. */
  readonly users: Iterable<string> | AsyncIterable<string> | "all";
  /** Ends the work: what it was for rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** A list that can't be verified, and why. */
export interface Unverified {
  /** Whose sessions; undefined for the list of users itself. */
  readonly userId: string | undefined;
  /** Why something may be missing; why the walk broke off. */
  readonly reasons: ReadonlyArray<string>;
}

/** The handling of an export that can't be verified. */
export interface UnverifiedOptions {
  /** Lets it end, where it would fail after its last byte. @default {false} */
  readonly allowUnverified?: boolean | undefined;
  /** Told of each list that can't be verified, whether that is allowed or not. */
  readonly onUnverified?: ((list: Unverified) => void) | undefined;
}

/** Where an export goes. */
export interface ExportSessionsOptions extends OffThreadOptions {
  /** Paths of files, whose names say their format: `.ndjson`, `.csv` or `.parquet`, the first two also with `.gz`. */
  readonly out: string | ReadonlyArray<string>;
  /** Where rows that are not sessions go, as NDJSON. @default {the first path, and `.rejected.ndjson`} */
  readonly rejected?: string | undefined;
}

/** All are counted, the first hundred are named. */
export interface Some<A> {
  readonly count: number;
  readonly first: ReadonlyArray<A>;
}

/** A complete file. */
export interface ExportedFile {
  readonly name: string;
  /** The name of its format, or `rejected`. */
  readonly format: string;
  readonly rows: number;
  readonly bytes: number;
  /** In lower-case hexadecimal. */
  readonly sha256?: string | undefined;
  /** The lowest and the highest `initiated_at` in it, in seconds since the epoch; absent if there is none. */
  readonly initiatedAt?: { readonly min: number; readonly max: number } | undefined;
}

/** What an export did. */
export interface Report {
  readonly users: number;
  readonly sessions: number;
  readonly rejected: number;
  /** Of all files, as they lie. */
  readonly bytes: number;
  readonly seconds: number;
  /** Whether nothing is missing and nothing repeated. */
  readonly verified: boolean;
  /** Users that the tenant does not know. */
  readonly missing: Some<string>;
  /** Users whose sessions are not verified, and why. */
  readonly unverified: Some<{ readonly userId: string; readonly doubts: ReadonlyArray<string> }>;
  /** Users whose walk broke off, and why. */
  readonly failed: Some<{ readonly userId: string; readonly message: string }>;
  readonly files: ReadonlyArray<ExportedFile>;
  /** Why not every user of the tenant may have been named, for `"all"`; empty if all were. */
  readonly userDoubts: ReadonlyArray<string>;
}

/** An error of an export. Its message says what to do. */
export interface ExportFailure extends Error {
  readonly _tag: "ApiError" | "ExportError" | "SinkError" | "TenantError" | "ThreadError";
  readonly reason: string;
}
