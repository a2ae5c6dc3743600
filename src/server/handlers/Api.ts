/**
 * The server's routes, of which its OpenAPI document is made.
 *
 * @module
 */
import * as HttpApi from "@effect/platform/HttpApi";
import * as HttpApiEndpoint from "@effect/platform/HttpApiEndpoint";
import * as HttpApiGroup from "@effect/platform/HttpApiGroup";
import * as HttpApiMiddleware from "@effect/platform/HttpApiMiddleware";
import * as HttpApiSchema from "@effect/platform/HttpApiSchema";
import * as HttpApiSecurity from "@effect/platform/HttpApiSecurity";
import * as OpenApi from "@effect/platform/OpenApi";
import * as Schema from "effect/Schema";
import { version } from "../../version.ts";
import { COOKIE } from "../RequestGuard.ts";
import * as SessionFilters from "../../api/SessionFilters.ts";
import * as Formats from "../../format/Formats.ts";
import * as Job from "../jobs/Job.ts";

const problem = <Name extends string>(name: Name, status: number, description: string) =>
  Schema.Struct({ error: Schema.Literal(name), message: Schema.String }).annotations({
    identifier: name,
    description,
    ...HttpApiSchema.annotations({ status }),
  });

/** Answers where something is not as the caller thinks. */
export const Invalid = problem("Invalid", 400, "The request can't be followed.");
export const Unauthorized = problem("Unauthorized", 401, "The token is missing or wrong.");
export const Absent = problem("Absent", 404, "There is no such user, export or file.");
export const Late = problem("Late", 408, "The body has not come in time.");
export const Conflict = problem("Conflict", 409, "The export's status does not allow this.");
export const Busy = problem("Busy", 429, "As much is going on as may: try again after Retry-After.");
export const TenantFailure = problem("TenantFailure", 502, "The tenant refuses the server, or fails.");
export const Unavailable = problem("Unavailable", 503, "The server, or the tenant, can't do it now.");

/** An answer of one of these kinds. */
export type Problem =
  | typeof Invalid.Type
  | typeof Unauthorized.Type
  | typeof Absent.Type
  | typeof Late.Type
  | typeof Conflict.Type
  | typeof Busy.Type
  | typeof TenantFailure.Type
  | typeof Unavailable.Type;

/** Lets through what a route knows of: no other parameter, no parameter twice, and no body where none is read. */
export class Strict extends HttpApiMiddleware.Tag<Strict>()("Strict", { failure: Invalid }) {}

/** Lets through who may use the server. */
export class Authorization extends HttpApiMiddleware.Tag<Authorization>()("Authorization", {
  failure: Unauthorized,
  security: {
    bearer: HttpApiSecurity.bearer,
    cookie: HttpApiSecurity.apiKey({ in: "cookie", key: COOKIE }),
  },
}) {}

const Bytes = (contentType: string, description: string) =>
  HttpApiSchema.Uint8Array({ contentType }).annotations({ description });

const text = (contentType: string) => HttpApiSchema.Text({ contentType });

const sessionsOf = <Name extends string>(name: Name, contentType: string) =>
  HttpApiEndpoint.get(name, `/v1/users/:user_id/sessions.${name}`)
    .setPath(Schema.Struct({ user_id: Job.UserId }))
    .setUrlParams(Schema.Struct({
      ...SessionFilters.mapQuery(({ description }) =>
        Schema.optional(Schema.NonEmptyString).annotations({ description })
      ),
      page_size: Schema.optional(Schema.NumberFromString.pipe(Schema.compose(Job.PageSize))).annotations({
        description: "How many sessions to ask the tenant for at a time, 100 if left out.",
      }),
      allow: Schema.optional(Schema.Literal("quarantined", "unverified", "quarantined,unverified"))
        .annotations({
          description:
            "What else the transfer would be aborted for: rows that are not sessions, which are then left out; a walk that is not " +
            "verified.",
        }),
    }))
    .addSuccess(
      Bytes(
        contentType,
        "The sessions, as they are walked. A transfer that ends cleanly, in HTTP/1.1 or later, is whole.",
      ),
    )
    .addError(Absent).addError(Invalid).addError(Busy).addError(TenantFailure).addError(Unavailable)
    .annotateContext(OpenApi.annotations({ description: `Every active session of a user, as ${name}.` }));

// One for each format: the type of each is that of all.
const [first, ...others] = Formats.builtInNames.map((name) =>
  sessionsOf(name, Formats.make(name).contentType)
);

const Sessions = others.reduce(
  (group, endpoint) => group.add(endpoint),
  HttpApiGroup.make("sessions").add(first!),
)
  .middleware(Strict).middleware(Authorization)
  .annotateContext(OpenApi.annotations({ description: "Sessions of one user, streamed." }));

const ofExport = Schema.Struct({ id: Job.Id });

const Exports = HttpApiGroup.make("exports")
  .add(
    HttpApiEndpoint.post("start", "/v1/exports")
      .setPayload(Job.Description).addSuccess(Job.Summary, { status: 202 })
      .addError(Invalid).addError(Late).addError(Busy).addError(Unavailable),
  )
  .add(
    HttpApiEndpoint.get("list", "/v1/exports")
      .setUrlParams(Schema.Struct({
        limit: Schema.optionalWith(Schema.NumberFromString.pipe(Schema.int(), Schema.between(1, 1000)), {
          default: () => 100,
        }),
        before: Schema.optional(Job.Id),
      }))
      .addSuccess(Schema.Array(Job.Summary)).addError(Unavailable),
  )
  .add(
    HttpApiEndpoint.get("get", "/v1/exports/:id").setPath(ofExport)
      .addSuccess(Job.View).addError(Absent).addError(Unavailable),
  )
  .add(
    HttpApiEndpoint.get("events", "/v1/exports/:id/events").setPath(ofExport)
      .addSuccess(text("text/event-stream")).addError(Absent).addError(Busy).addError(Unavailable),
  )
  .add(
    HttpApiEndpoint.del("cancel", "/v1/exports/:id").setPath(ofExport)
      .addSuccess(Job.Summary).addError(Absent).addError(Conflict).addError(Unavailable),
  )
  .add(
    HttpApiEndpoint.post("resume", "/v1/exports/:id/resume").setPath(ofExport)
      .addSuccess(Job.Summary, { status: 202 })
      .addError(Absent).addError(Conflict).addError(Busy).addError(Unavailable),
  )
  .add(
    HttpApiEndpoint.get("manifest", "/v1/exports/:id/manifest.json").setPath(ofExport)
      .addSuccess(Bytes("application/json", "The manifest of the dataset.")).addError(Absent).addError(
        Unavailable,
      ),
  )
  .add(
    HttpApiEndpoint.get("part", "/v1/exports/:id/:format/:name")
      .setPath(Schema.Struct({ ...ofExport.fields, format: Schema.String, name: Schema.String }))
      .addSuccess(Bytes("application/octet-stream", "A part of the dataset, as its manifest names it."))
      .addError(Absent).addError(Unavailable),
  )
  .middleware(Strict).middleware(Authorization)
  .annotateContext(OpenApi.annotations({
    description: "Exports of many users into the server's folder. They survive a restart of the server.",
  }));

const State = Schema.Struct({ status: Schema.Literal("ok") });

const Operations = HttpApiGroup.make("operations", { topLevel: true })
  .add(
    HttpApiEndpoint.get("health", "/health").addSuccess(State)
      .annotateContext(OpenApi.annotations({ description: "The server is alive." })),
  )
  .add(
    HttpApiEndpoint.get("ready", "/ready").addSuccess(State).addError(Unavailable)
      .annotateContext(OpenApi.annotations({ description: "The server can do what it is asked for." })),
  )
  .add(
    HttpApiEndpoint.get("metrics", "/metrics").addSuccess(text("text/plain; version=0.0.4; charset=utf-8"))
      .middleware(Authorization)
      .annotateContext(OpenApi.annotations({ description: "What it counts, as Prometheus text." })),
  )
  .add(
    HttpApiEndpoint.post("signIn", "/v1/session").addSuccess(State).middleware(Authorization)
      .annotateContext(OpenApi.annotations({
        description:
          "Puts the token that is sent into a cookie, for the page. Without a token it only says that none is wanted.",
      })),
  )
  .add(
    HttpApiEndpoint.del("signOut", "/v1/session").addSuccess(State)
      .annotateContext(OpenApi.annotations({ description: "Removes the cookie." })),
  )
  .middleware(Strict);

/** All routes. */
export class Api extends HttpApi.make("monocloud-sessions").add(Sessions).add(Exports).add(Operations)
  .annotateContext(OpenApi.annotations({
    title: "monocloud-sessions server",
    version,
    description: "Exports user sessions of one MonoCloud tenant: streamed, or as datasets in a folder.",
  })) {}
