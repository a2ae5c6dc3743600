/**
 * What can go wrong, as answers: a status, how long to wait before trying again, and words.
 *
 * @module
 */
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import type { ApiError, ApiErrorReason } from "../../api/ApiError.ts";
import type * as Api from "./Api.ts";
import type { JobError } from "../jobs/Jobs.ts";

/** How long to wait before trying again, in seconds, where nothing says so. */
const AGAIN = 30;

/** It can't be followed. */
export const invalid = (message: string) => json({ error: "Invalid", message }, 400);

/** It did not come in time. What is left of it is not waited for. */
export const late = (message: string) =>
  HttpServerResponse.setHeader(json({ error: "Late", message }, 408), "connection", "close");

/** What can be seen of a failure as an answer, with how long to wait before trying again. */
export const json = (answer: Api.Problem, status: number, again?: number) =>
  HttpServerResponse.unsafeJson(answer, {
    status,
    headers: { "cache-control": "no-store", ...(again !== undefined && { "retry-after": String(again) }) },
  });

/** As much is going on as may. */
export const busy = (message: string) => json({ error: "Busy", message }, 429, AGAIN);

/** It can't be done now. */
export const unavailable = (message: string, again = AGAIN) =>
  json({ error: "Unavailable", message }, 503, again);

const refused: ReadonlySet<ApiErrorReason> = new Set(["InvalidRequest", "BadRequest", "Unprocessable"]);
const passing: ReadonlySet<ApiErrorReason> = new Set([
  ...["RateLimited", "UnknownHost", "Certificate", "Proxy", "Transport", "Timeout", "ServerError"] as const,
]);

/** What the tenant did, as an answer. */
export const ofTenant = (error: ApiError) => {
  const { message } = error;
  if (refused.has(error.reason)) return invalid(message);
  if (passing.has(error.reason)) {
    return unavailable(message, error.retryAfter === undefined ? AGAIN : Math.ceil(error.retryAfter / 1000));
  }
  return json({ error: "TenantFailure", message }, 502);
};

/** Why something can't be done with exports, as an answer. */
export const ofJob = ({ reason, message }: JobError) => {
  if (reason === "Full") return busy(message);
  if (reason === "Unavailable") return unavailable(message);
  if (reason === "Absent") return json({ error: "Absent", message }, 404);
  return reason === "State" ? json({ error: "Conflict", message }, 409) : invalid(message);
};
