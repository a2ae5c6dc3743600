/** Messages and exit codes of the command when it can't do what was asked. */
import * as Data from "effect/Data";
import type { ApiErrorReason } from "../api/ApiError.ts";
import type { TargetError } from "../warehouse/Target.ts";

/** The exit codes; from 64 on they are those of BSD's `sysexits` and of shells. */
export const exitCodes = {
  done: 0,
  usage: 2,
  refused: 3,
  incomplete: 4,
  data: 65,
  noInput: 66,
  internal: 70,
  cannotCreate: 73,
  io: 74,
  again: 75,
  protocol: 76,
  denied: 77,
  readerGone: 141,
} as const;

export type ExitName = keyof typeof exitCodes;

/** Meanings of the exit codes, as help says them. */
export const exitCodeTexts: Readonly<Record<ExitName, string>> = {
  done: "Done, and all of it is there.",
  usage: "The command line, the environment or the list of users is wrong.",
  refused: "The tenant refuses the key, or what it may do (401, 402, 403).",
  incomplete:
    "Done, but users named by you are unknown to the tenant, rows were quarantined, or it is not verified " +
    "that nothing was missed; the report says which, and why.",
  data:
    "A row is not a session and --on-invalid fail was given, there are more of them than --max-quarantined, or " +
    "verify found something wrong.",
  noInput: "The tenant knows none of the users.",
  internal: "A fault of this program.",
  cannotCreate: "A file or folder can't be created.",
  io: "Writing failed: a full disk, say, or a statement that the database refused.",
  again:
    "Interrupted, another process writes there, shards of a run failed, or the tenant, the database or the queue " +
    "can't be reached, fails or limits the rate for longer than --max-elapsed: run it again.",
  protocol: "Something other than the documented API answered.",
  denied: "The database refuses the login, or a right is missing.",
  readerGone: "Whoever read standard output has gone, as with | head.",
};

/** The command line, the environment or a file named there is not as it must be. */
export class UsageError extends Data.TaggedError("UsageError")<{
  readonly message: string;
}> {}

/** Make the error of a command line, an environment or a file that is not as it must be. */
export const usageError = (message: string): UsageError => new UsageError({ message });

const apiCodes: Readonly<Record<ApiErrorReason, ExitName>> = {
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

const targetCodes: Readonly<Record<TargetError["reason"], ExitName>> = {
  Unreachable: "again",
  UnknownHost: "again",
  Insecure: "usage",
  Exists: "again",
  Busy: "again",
  Locked: "again",
  LeaseLost: "again",
  Denied: "denied",
  Foreign: "usage",
  Options: "usage",
  Shards: "again",
  Full: "io",
  Missing: "usage",
  Statement: "io",
};

/** The exit code for a failure of any kind the command knows; undefined for those it does not. */
export const codeOf = (error: unknown): number | undefined => {
  const { _tag, reason } = (error ?? {}) as { readonly _tag?: string; readonly reason?: string };
  const table: Readonly<Record<string, Readonly<Record<string, ExitName>>>> = {
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
      Shards: "again",
    },
    TargetError: targetCodes,
    QueueError: { Missing: "usage", Failed: "again" },
    TenantError: { Domain: "usage", InsecureTransport: "usage", ApiKey: "usage" },
  };
  const name = _tag === "UsageError" || _tag === "NameError" ? "usage" : table[_tag ?? ""]?.[reason ?? ""];
  return name === undefined ? undefined : exitCodes[name as ExitName];
};

const snakeCase = (name: string): string => name.replace(/(?<!^)[A-Z]/g, "_$&").toLowerCase();

/** Give what `--json` prints of a failure. */
export const failureOf = (error: unknown) => {
  const exit_code = codeOf(error) ?? exitCodes.internal;
  const { reason, message } = error as { readonly reason?: unknown; readonly message: string };
  const name = exit_code === exitCodes.internal ? "internal" : typeof reason === "string" ? reason : "usage";
  return { error: { reason: snakeCase(name), message, exit_code } };
};

/** The object that `--json` prints of an interruption. */
export const interrupted = {
  error: {
    reason: "interrupted",
    message: "Interrupted before the work was done: run it again",
    exit_code: exitCodes.again,
  },
};
