/**
 * What the command says and how it exits when it can't do what was asked.
 *
 * @module
 */
import * as Data from "effect/Data";
import type { ApiErrorReason } from "../tenant/ApiError.ts";

/** The exit codes, each with its meaning; from 64 on they are those of BSD's `sysexits`. */
export const exitCodes = {
  /** Done, and all of it is there. */
  done: 0,
  /** Done, but users were unknown to the tenant or rows were put aside: the report says which. */
  incomplete: 3,
  /** Done, but for some users it is not certain that nothing was missed: the report says for whom, and why. */
  unverified: 4,
  /** The command line or the environment is wrong. */
  usage: 64,
  /** A row is not a session, and `--on-invalid fail` was given. */
  data: 65,
  /** The tenant knows none of the users, or the list of users can't be read. */
  noInput: 66,
  /** The tenant can't be reached, fails, or limits the rate for longer than the patience given. */
  unavailable: 69,
  /** A fault of ours. */
  internal: 70,
  /** A file or folder can't be created. */
  cannotCreate: 73,
  /** Writing failed: a full disk, say. */
  io: 74,
  /** The tenant answers something that is not the documented API. */
  protocol: 76,
  /** The key is refused, or may not do this. */
  noPermission: 77,
  /** Whoever read standard output has gone, as with `| head`: as if by SIGPIPE. */
  readerGone: 141,
} as const;

/** The command line, the environment or a file named there is not as it must be. */
export class UsageError extends Data.TaggedError("UsageError")<{
  readonly message: string;
  readonly code?: "usage" | "noInput" | undefined;
}> {}

const apiCodes: Readonly<Record<ApiErrorReason, keyof typeof exitCodes>> = {
  InvalidRequest: "usage",
  BadRequest: "protocol",
  Unauthorized: "noPermission",
  PaymentRequired: "noPermission",
  Forbidden: "noPermission",
  NotFound: "noInput",
  Conflict: "protocol",
  Unprocessable: "protocol",
  RateLimited: "unavailable",
  ServerError: "unavailable",
  Redirect: "protocol",
  UnexpectedStatus: "protocol",
  Transport: "unavailable",
  Timeout: "unavailable",
  ContentType: "protocol",
  Body: "protocol",
};

const outputCodes = { Open: "cannotCreate", Write: "io", Commit: "io", Closed: "readerGone" } as const;

const exportCodes = { InvalidRow: "data", NoSuchUsers: "noInput" } as const;

/** The exit code for a failure of any kind the command knows; undefined for those it does not. */
export const codeOf = (error: unknown): number | undefined => {
  const { _tag, reason, code } = (error ?? {}) as {
    readonly _tag?: string;
    readonly reason?: string;
    code?: string;
  };
  const table: Readonly<Record<string, Readonly<Record<string, keyof typeof exitCodes>>>> = {
    ApiError: apiCodes,
    OutputError: outputCodes,
    ExportError: exportCodes,
    DirectoryError: { Occupied: "cannotCreate" },
    TenantError: { Domain: "usage", InsecureTransport: "usage", ApiKey: "usage" },
  };
  const name = _tag === "UsageError" ? (code ?? "usage") : table[_tag ?? ""]?.[reason ?? ""];
  return name === undefined ? undefined : exitCodes[name as keyof typeof exitCodes];
};
