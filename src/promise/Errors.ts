/**
 * Errors that calls reject with, as plain types, and a guard for each. Wrong options are a `TypeError` or a `RangeError`.
 *
 * Guards go by the error's `_tag`, not by its class: they recognize the errors of every copy of this library.
 */
import type { ApiErrorReason } from "../api/ApiErrorReason.ts";
import type { QuarantinedRow } from "../plain/Session.ts";
import type { TargetFailure } from "../plain/Target.ts";

export type { ApiErrorReason } from "../api/ApiErrorReason.ts";
export type { TargetErrorReason } from "../plain/Target.ts";

/** The problem details of an error answer (RFC 9457). */
export interface ProblemDetails {
  readonly type: string | undefined;
  readonly title: string | undefined;
  readonly detail: string | undefined;
  readonly instance: string | undefined;
  /** The messages of a 422, each with its field or code. */
  readonly errors: ReadonlyArray<string>;
}

/** A request that failed for good. Its message says what to do, and never holds the key. */
export interface ApiError extends Error {
  readonly _tag: "ApiError";
  readonly reason: ApiErrorReason;
  readonly url: string;
  readonly userId?: string | undefined;
  readonly page?: number | undefined;
  /** The answer's status; absent if there was none, or if it was 200. */
  readonly status?: number | undefined;
  readonly problem?: ProblemDetails | undefined;
  readonly detail?: string | undefined;
  /** The pause that the tenant asked for, in milliseconds. */
  readonly retryAfter?: number | undefined;
  /** The number of times that the request was sent. */
  readonly attempts: number;
}

/** An export that can't go on, or that found what can't be meant. */
export interface ExportError extends Error {
  readonly _tag: "ExportError";
  /**
   * `InvalidRow`: a row failed the schema and `onInvalid` is `fail`. `TooManyQuarantined`: more did than `maxQuarantined`
   * allows. `NoSuchUsers`: the tenant knows none of the users. `Unverified`: something may be missing; what was found was
   * delivered.
   */
  readonly reason: "InvalidRow" | "TooManyQuarantined" | "NoSuchUsers" | "Unverified";
  readonly row?: QuarantinedRow | undefined;
}

/** A file that can't be opened, written or completed. */
export interface SinkError extends Error {
  readonly _tag: "SinkError";
  /** `Closed`: its reader has gone. */
  readonly reason: "Open" | "Write" | "Commit" | "Closed";
  /** The path, or the name of the output. */
  readonly path: string;
}

/** A dataset that can't be written, gone on with, or read. */
export interface DatasetError extends Error {
  readonly _tag: "DatasetError";
  /**
   * `Occupied`: the folder holds a run, or something else. `Locked`: another process writes there. `LeaseLost`: another
   * process has taken over. `Options`: it was begun with others. `Corrupt`: a file of it was changed. `Version`: a newer
   * version wrote it. `Absent`: there is none. `Shards`: some shards failed; the others are kept.
   */
  readonly reason:
    | "Occupied"
    | "Locked"
    | "LeaseLost"
    | "Options"
    | "Corrupt"
    | "Version"
    | "Absent"
    | "Shards";
  readonly path: string;
}

/** A domain or a key that can't be used. The message never holds the key. */
export interface TenantError extends Error {
  readonly _tag: "TenantError";
  /** `InsecureTransport`: plain http to a host that is not loopback. */
  readonly reason: "Domain" | "InsecureTransport" | "ApiKey";
}

/** A warehouse that can't be reached, or that does not take what it is given. */
export interface TargetError extends TargetFailure {}

const is = (tag: string, error: unknown): boolean =>
  error instanceof Error && (error as { readonly _tag?: unknown })._tag === tag;

/**
 * Tell whether a request to the tenant failed for good. Throws nothing.
 *
 * @example
 * ```ts
 * import { isApiError, sessions } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 *
 * const sandbox = make({ users: 1 });
 * try {
 *   await sessions({
 *     domain: "sandbox.example",
 *     apiKey: "another key".replace(" ", "-"),
 *     users: "all",
 *     fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 *   }).next();
 * } catch (error) {
 *   console.assert(isApiError(error) && error.reason === "Unauthorized");
 * }
 * ```
 */
export const isApiError = (error: unknown): error is ApiError => is("ApiError", error);

/** Tell whether an export could not go on, or found what can't be meant. Throws nothing. See {@link isApiError}. */
export const isExportError = (error: unknown): error is ExportError => is("ExportError", error);

/** Tell whether a file could not be opened, written or completed. Throws nothing. See {@link isApiError}. */
export const isSinkError = (error: unknown): error is SinkError => is("SinkError", error);

/** Tell whether a dataset could not be written, gone on with, or read. Throws nothing. See {@link isApiError}. */
export const isDatasetError = (error: unknown): error is DatasetError => is("DatasetError", error);

/** Tell whether a domain or a key can't be used. Throws nothing. See {@link isApiError}. */
export const isTenantError = (error: unknown): error is TenantError => is("TenantError", error);

/** Tell whether a warehouse could not be reached or written. Throws nothing. See {@link isApiError}. */
export const isTargetError = (error: unknown): error is TargetError => is("TargetError", error);

/** Cursors that can't be read, kept, or used for what is asked. */
export class CursorError extends Error {
  readonly _tag = "CursorError";
  /**
   * `Damaged`: it is no cursor that this library made. `Options`: it was made for other sessions, by `clientId` say. `File`:
   * the file of cursors can't be read or written.
   */
  readonly reason: "Damaged" | "Options" | "File";
  constructor(reason: CursorError["reason"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "CursorError";
    this.reason = reason;
  }
}

/** Tell whether cursors could not be read, kept or used. Throws nothing. See {@link isApiError}. */
export const isCursorError = (error: unknown): error is CursorError => is("CursorError", error);
