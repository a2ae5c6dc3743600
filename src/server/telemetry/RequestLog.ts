/**
 * Lines about requests: what is noted while one is answered, and written when its answer has ended.
 *
 * @module
 */
import * as HttpMethod from "@effect/platform/HttpMethod";
import * as HttpServerRequest from "@effect/platform/HttpServerRequest";
import * as Effect from "effect/Effect";
import type { OnEnd } from "../IdleTimeout.ts";
import * as Log from "./Log.ts";
import * as Trace from "./Trace.ts";

/** Fields of requests that are being answered. */
const notes = new WeakMap<Request, Log.Fields>();

const add = (more: Log.Fields) =>
  Effect.map(HttpServerRequest.HttpServerRequest, ({ source }) => {
    const request = source as Request;
    notes.set(request, { ...notes.get(request), ...more });
  });

/** Notes which route a request took. */
export const noteRoute = (route: string) => add({ route });

/** Notes why a request failed. */
export const note = (error: unknown) => add(Trace.about(error));

/** Routes that are asked every few seconds: their lines would hide all others. */
const probes: ReadonlySet<unknown> = new Set(["/health", "/ready", "/metrics"]);

/** Logs a request that has ended. Probes are logged only if they fail. */
export const request = (
  request: Request,
  { status, ended, bytes, seconds, error }: {
    readonly status: number;
    readonly ended: Parameters<OnEnd>[0];
    readonly bytes: number;
    readonly seconds: number;
    readonly error?: unknown;
  },
): Effect.Effect<void> => {
  const noted = notes.get(request);
  if (probes.has(noted?.route) && status < 400) return Effect.void;
  const log = ended === "aborted" || status >= 500 ? Log.warn : Log.info;
  return log("request", {
    method: HttpMethod.isHttpMethod(request.method) ? request.method : "other",
    ...noted,
    status,
    bytes,
    seconds,
    ended,
    ...(error !== undefined && Trace.about(error)),
  });
};
