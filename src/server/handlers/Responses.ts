/**
 * Errors as answers: which kind of problem each is, and how long to wait before trying again.
 *
 * @module
 */
import { HttpApiDecodeError } from "@effect/platform/HttpApiError";
import type * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import { clientAbortFiberId, RouteNotFound } from "@effect/platform/HttpServerError";
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as HashSet from "effect/HashSet";
import type * as ParseResult from "effect/ParseResult";
import type { ApiError, ApiErrorReason } from "../../api/ApiError.ts";
import type { DatasetError } from "../../dataset/Layout.ts";
import type { SinkError } from "../../sink/Sink.ts";
import { JobError } from "../jobs/JobError.ts";
import * as Problem from "../Problem.ts";
import * as RequestLog from "../telemetry/RequestLog.ts";

/** A stop of the server, if one is under way, and what it has to end. */
export interface Shutdown {
  isStopping: boolean;
  /** Streams of events that are open: each is ended by a call. */
  readonly streams: Set<() => void>;
}

export const stopping = Problem.answer("unavailable", "The server is stopping");

const refused: ReadonlySet<ApiErrorReason> = new Set(["InvalidRequest", "BadRequest", "Unprocessable"]);
const passing: ReadonlySet<ApiErrorReason> = new Set([
  ...["RateLimited", "UnknownHost", "Certificate", "Proxy", "Transport", "Timeout", "ServerError"] as const,
]);

/** Answers with what the tenant did. */
export const ofTenant = ({ reason, message, retryAfter }: ApiError) => {
  if (refused.has(reason)) return Problem.answer("invalid-request", message);
  if (!passing.has(reason)) return Problem.answer("tenant-failure", message);
  const headers = retryAfter === undefined ? {} : { "retry-after": String(Math.ceil(retryAfter / 1000)) };
  return Problem.answer("unavailable", message, headers);
};

const ofJob = {
  Absent: "not-found",
  Full: "busy",
  Invalid: "invalid-request",
  State: "conflict",
  Unavailable: "unavailable",
} as const satisfies Record<JobError["reason"], Problem.Kind>;

/** Answers for what can go wrong with exports. A folder that can't be written or read is the server's own fault. */
export const answering = <A, R>(work: Effect.Effect<A, JobError | SinkError | DatasetError, R>) =>
  Effect.catchAll(
    work,
    (error) =>
      error instanceof JobError
        ? Effect.succeed(Problem.answer(ofJob[error.reason], error.message))
        : Effect.as(RequestLog.note(error), Problem.answer("unavailable", error.message)),
  );

/** The most of a text that is quoted. */
const QUOTED = 300;

/** Says what is wrong with a value: the first flaw of each of three members. */
export const wordsOf = (issues: ReadonlyArray<Pick<ParseResult.ArrayFormatterIssue, "path" | "message">>) => {
  const flaws = new Map<string, string>();
  for (const { path, message } of issues) {
    const name = path.length === 0 ? "it" : path.map(String).join(".");
    flaws.set(name, flaws.get(name) ?? `${name}: ${message.slice(0, QUOTED)}`);
  }
  return [...flaws.values()].slice(0, 3).join("; ");
};

/** Answers for whatever else can go wrong with a request. What nobody expected is told of in the log alone. */
export const ofCause = (
  cause: Cause.Cause<unknown>,
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> => {
  if (HashSet.has(Cause.interruptors(cause), clientAbortFiberId)) {
    return Effect.failCause(cause as Cause.Cause<never>);
  }
  if (Cause.isInterruptedOnly(cause)) {
    return Effect.succeed(stopping);
  }
  const error = Cause.squash(cause);
  if (Problem.is(error)) return Effect.succeed(Problem.respond(error));
  if (error instanceof HttpApiDecodeError) {
    const flaw = `The request can't be followed: ${wordsOf(error.issues)}`;
    return Effect.succeed(Problem.answer("invalid-request", flaw));
  }
  if (error instanceof RouteNotFound) {
    const [path = ""] = error.request.url.split("?");
    return Effect.succeed(Problem.answer("not-found", `There is nothing at ${path.slice(0, QUOTED)}`));
  }
  return Effect.as(
    RequestLog.note(error),
    Problem.answer("internal", "The server has a fault: its log names it"),
  );
};
