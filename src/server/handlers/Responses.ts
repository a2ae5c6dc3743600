/**
 * Errors as answers: a status, how long to wait before trying again, and words.
 *
 * @module
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import type { ApiError, ApiErrorReason } from "../../api/ApiError.ts";
import type * as Api from "./Api.ts";
import type { JobError } from "../jobs/Jobs.ts";

/** Seconds to wait before trying again, where nothing says so. */
const AGAIN = 30;

/** Answer that a request can't be followed. */
export const invalid = (message: string) => json({ error: "Invalid", message }, 400);

/** Answer that a body did not come in time. The rest of it is not waited for. */
export const late = (message: string) =>
  HttpServerResponse.setHeader(json({ error: "Late", message }, 408), "connection", "close");

/** Answer with a problem, and with how long to wait before trying again. */
export const json = (answer: Api.Problem, status: number, again?: number) =>
  HttpServerResponse.unsafeJson(answer, {
    status,
    headers: { "cache-control": "no-store", ...(again !== undefined && { "retry-after": String(again) }) },
  });

/** Answer that as much is going on as is allowed. */
export const busy = (message: string) => json({ error: "Busy", message }, 429, AGAIN);

/** Answer that it can't be done now. */
export const unavailable = (message: string, again = AGAIN) =>
  json({ error: "Unavailable", message }, 503, again);

const refused: ReadonlySet<ApiErrorReason> = new Set(["InvalidRequest", "BadRequest", "Unprocessable"]);
const passing: ReadonlySet<ApiErrorReason> = new Set([
  ...["RateLimited", "UnknownHost", "Certificate", "Proxy", "Transport", "Timeout", "ServerError"] as const,
]);

/** Answer with what the tenant did. */
export const ofTenant = (error: ApiError) => {
  const { message } = error;
  if (refused.has(error.reason)) return invalid(message);
  if (passing.has(error.reason)) {
    return unavailable(message, error.retryAfter === undefined ? AGAIN : Math.ceil(error.retryAfter / 1000));
  }
  return json({ error: "TenantFailure", message }, 502);
};

/** Answer with why something can't be done with exports. */
export const ofJob = ({ reason, message }: JobError) => {
  if (reason === "Full") return busy(message);
  if (reason === "Unavailable") return unavailable(message);
  if (reason === "Absent") return json({ error: "Absent", message }, 404);
  return reason === "State" ? json({ error: "Conflict", message }, 409) : invalid(message);
};
