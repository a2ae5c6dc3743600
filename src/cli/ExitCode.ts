/**
 * What the command says and how it exits when it can't do what was asked.
 *
 * @module
 */
import * as Data from "effect/Data";
import type { ApiErrorReason } from "../api/ApiError.ts";

/** The exit codes, each with its meaning; from 64 on they are those of BSD's `sysexits` and of shells. */
export const exitCodes = {
  /** Done, and all of it is there. */
  done: 0,
  /** The command line, the environment or the list of users is wrong. */
  usage: 2,
  /** The tenant refuses the key, or what it may do: 401, 402, 403. */
  refused: 3,
  /**
   * Done, but users were unknown to the tenant, rows were quarantined, or it is not certain that nothing was missed: the
   * report says which, and why.
   */
  incomplete: 4,
  /** A row is not a session under `--on-invalid fail`, more are not than `--max-quarantined`, or `verify` found something wrong. */
  data: 65,
  /** The tenant knows none of the users. */
  noInput: 66,
  /** A fault of ours. */
  internal: 70,
  /** A file or folder can't be created. */
  cannotCreate: 73,
  /** Writing failed: a full disk, say. */
  io: 74,
  /**
   * Interrupted, out of patience with a tenant that can't be reached, fails or limits the rate for too long, or another
   * process writes to the folder: run again.
   */
  again: 75,
  /** The tenant answers something that is not the documented API. */
  protocol: 76,
  /** Whoever read standard output has gone, as with `| head`: as if by SIGPIPE. */
  readerGone: 141,
} as const;

/** The command line, the environment or a file named there is not as it must be. */
export class UsageError extends Data.TaggedError("UsageError")<{
  readonly message: string;
}> {}

const apiCodes: Readonly<Record<ApiErrorReason, keyof typeof exitCodes>> = {
  InvalidRequest: "usage",
  BadRequest: "protocol",
  Unauthorized: "refused",
  PaymentRequired: "refused",
  Forbidden: "refused",
  NotFound: "noInput",
  Conflict: "protocol",
  Unprocessable: "protocol",
  RateLimited: "again",
  ServerError: "again",
  Redirect: "protocol",
  NotModified: "protocol",
  UnexpectedStatus: "protocol",
  UnknownHost: "again",
  Certificate: "again",
  Proxy: "again",
  Transport: "again",
  Timeout: "again",
  WebPage: "protocol",
  ContentType: "protocol",
  TooLarge: "protocol",
  Body: "protocol",
};

const outputCodes = { Open: "cannotCreate", Write: "io", Commit: "io", Closed: "readerGone" } as const;

const exportCodes = {
  InvalidRow: "data",
  TooManyQuarantined: "data",
  NoSuchUsers: "noInput",
  Unverified: "incomplete",
} as const;

/** The exit code for a failure of any kind the command knows; undefined for those it does not. */
export const codeOf = (error: unknown): number | undefined => {
  const { _tag, reason } = (error ?? {}) as { readonly _tag?: string; readonly reason?: string };
  const table: Readonly<Record<string, Readonly<Record<string, keyof typeof exitCodes>>>> = {
    ApiError: apiCodes,
    SinkError: outputCodes,
    ExportError: exportCodes,
    DatasetError: {
      Occupied: "cannotCreate",
      Locked: "again",
      LeaseLost: "again",
      Options: "usage",
      Corrupt: "data",
      Version: "usage",
      Absent: "usage",
    },
    TenantError: { Domain: "usage", InsecureTransport: "usage", ApiKey: "usage" },
  };
  const name = _tag === "UsageError" ? "usage" : table[_tag ?? ""]?.[reason ?? ""];
  return name === undefined ? undefined : exitCodes[name as keyof typeof exitCodes];
};
