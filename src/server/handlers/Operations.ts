/**
 * Handlers of what is about the server itself: its health, its metrics, and the cookie of its page.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as Effect from "effect/Effect";
import { TenantClient } from "../../api/TenantClient.ts";
import { Jobs } from "../jobs/Jobs.ts";
import * as Families from "../machines/Families.ts";
import * as Machines from "../machines/Machines.ts";
import * as Problem from "../Problem.ts";
import * as RequestGuard from "../RequestGuard.ts";
import type { Settings } from "../Settings.ts";
import * as Metrics from "../telemetry/Metrics.ts";
import * as Api from "./Api.ts";
import { type Shutdown, stopping } from "./Responses.ts";

/** The handlers of what is about the server itself. */
export const layer = (settings: Settings, shutdown: Shutdown) =>
  HttpApiBuilder.group(Api.Api, "operations", (handlers) =>
    Effect.gen(function* () {
      const [jobs, tenant, metrics, look] = yield* Effect.all([
        Jobs,
        TenantClient,
        Metrics.Metrics,
        Machines.Machines,
      ]);
      // The server's own metrics are there whatever becomes of the queue.
      const ofMachines = look === undefined
        ? Effect.succeed([])
        : Effect.match(look, { onSuccess: Families.of, onFailure: () => Families.unreachable });
      const ok = { status: "ok" as const };
      const cookie = (value: string, rest: string, { headers }: HttpServerRequest.HttpServerRequest) =>
        HttpServerResponse.unsafeJson(ok, {
          headers: {
            // A token may hold what ends a value; whoever reads the cookie decodes it.
            "set-cookie": `${RequestGuard.COOKIE}=${
              encodeURIComponent(value)
            }; HttpOnly; SameSite=Strict; Path=/${rest}${
              headers["x-forwarded-proto"] === "https" ? "; Secure" : ""
            }`,
            "cache-control": "no-store",
          },
        });
      return handlers
        .handle("health", () => Effect.succeed(ok))
        .handle("ready", () => {
          if (shutdown.isStopping) return Effect.succeed(stopping);
          const reason = jobs.unavailableReason();
          return Effect.succeed(reason === undefined ? ok : Problem.answer("unavailable", reason));
        })
        .handle("metrics", () => {
          const { retries, waiting, rate, heldUntil } = tenant.traffic();
          return Effect.map(ofMachines, (families) =>
            metrics.render([
              Metrics.family(
                "counter",
                "monocloud_tenant_retries_total",
                "Requests to the tenant that were sent again.",
                retries,
              ),
              Metrics.family(
                "gauge",
                "monocloud_tenant_queued_requests",
                "Requests to the tenant that wait for the rate limit.",
                waiting,
              ),
              Metrics.family(
                "gauge",
                "monocloud_tenant_rate",
                "Requests a second that the rate limit allows now.",
                rate,
              ),
              Metrics.family(
                "gauge",
                "monocloud_tenant_held_seconds",
                "Seconds left of the pause that the tenant asked for.",
                Math.max(0, (heldUntil - Date.now()) / 1000),
              ),
              Metrics.family(
                "gauge",
                "monocloud_event_streams",
                "Event streams that are open.",
                shutdown.streams.size,
              ),
              Metrics.family(
                "gauge",
                "monocloud_exports",
                "Exports by status.",
                Object.entries(jobs.counts()).map(([status, count]) => [
                  Metrics.label("status", status),
                  count,
                ]),
              ),
              ...families,
            ]));
        })
        .handle("signIn", ({ request }) => {
          const bearer = /^Bearer (\S+)$/i.exec(request.headers["authorization"] ?? "")?.[1];
          return Effect.succeed(
            settings.token === undefined || bearer === undefined ? ok : cookie(bearer, "", request),
          );
        })
        .handle("signOut", ({ request }) => Effect.succeed(cookie("", "; Max-Age=0", request)));
    }));
