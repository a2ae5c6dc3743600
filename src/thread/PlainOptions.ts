/** Options and reports of an export in a thread, in types that name no library. */
import type { Progress, ProgressOptions } from "../plain/Report.ts";
import type {
  EncodingOptions,
  TenantOptions,
  TransformOptions,
  WalkOptions,
} from "../plain/SessionsOptions.ts";
import type { ThreadOptions } from "./AnyWorker.ts";

export type { ExportedFile, Progress, Report, Sample } from "../plain/Report.ts";
export type { Duration, Redaction, Unverified, UnverifiedOptions } from "../plain/SessionsOptions.ts";

export type { BuiltIn as FormatName } from "../format/FormatNames.ts";

/** Options for what is written, and for rows that are no sessions. */
export interface ContentOptions
  extends ProgressOptions<Progress>, EncodingOptions, Pick<TransformOptions, "redact"> {}

/** Whose sessions, of which tenant, how to ask for them and how to write them. */
export interface OffThreadOptions
  extends Omit<TenantOptions, "fetch">, WalkOptions, ThreadOptions, ContentOptions {
  /** User ids, each once, or `"all"` for every user of the tenant. Read to the end before the thread begins. */
  readonly users: Iterable<string> | AsyncIterable<string> | "all";
  /** Ends the work: what it was for rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of an export to files. */
export interface ExportSessionsOptions extends OffThreadOptions {
  /** Paths of files, whose names say their format: `.ndjson`, `.csv` or `.parquet`, the first two also with `.gz`. */
  readonly out: string | ReadonlyArray<string>;
  /** The file for rows that are not sessions, as NDJSON. @default {the first path, and `.quarantine.ndjson`} */
  readonly quarantine?: string | undefined;
}

/** An error of an export. Its message says what to do. */
export interface ExportFailure extends Error {
  readonly _tag: "ApiError" | "ExportError" | "SinkError" | "TenantError" | "ThreadError";
  readonly reason: string;
}
