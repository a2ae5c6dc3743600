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
import { ExamplesAnnotationId } from "effect/SchemaAST";
import { version } from "../../version.ts";
import * as Problem from "../Problem.ts";
import { COOKIE } from "../RequestGuard.ts";
import * as SessionFilters from "../../api/SessionFilters.ts";
import * as Formats from "../../format/Formats.ts";
import * as Batch from "../../session/Batch.ts";
import * as Job from "../jobs/Job.ts";
import * as MachinesView from "../machines/View.ts";

const Absent = Problem.schemaOf("not-found");
const Busy = Problem.schemaOf("busy");
const Conflict = Problem.schemaOf("conflict");
const Invalid = Problem.schemaOf("invalid-request");
const TenantFailure = Problem.schemaOf("tenant-failure");
const Unavailable = Problem.schemaOf("unavailable");

/** Says what a route is for, in a few words and in sentences. */
const about = (summary: string, description: string) => OpenApi.annotations({ summary, description });

/** Lets through what a route knows of: no other parameter, no parameter twice, and no body where none is read. */
export class Strict extends HttpApiMiddleware.Tag<Strict>()("Strict", { failure: Invalid }) {}

/** Lets through who may use the server. */
export class Authorization extends HttpApiMiddleware.Tag<Authorization>()("Authorization", {
  failure: Problem.schemaOf("unauthorized"),
  security: {
    bearer: HttpApiSecurity.bearer,
    cookie: HttpApiSecurity.apiKey({ in: "cookie", key: COOKIE }),
  },
}) {}

/** A body as it lies, with the beginning of one as an example. */
const Bytes = (contentType: string, description: string, example: string) =>
  HttpApiSchema.Uint8Array({ contentType }).annotations({
    description,
    jsonSchema: { type: "string", format: "binary", examples: [example] },
  });

const text = (contentType: string, description: string, example: string) =>
  HttpApiSchema.Text({ contentType }).annotations({ description, examples: [example] });

const one = Batch.make("u1", [
  {
    session_id: "s1",
    client_ids: ["app"],
    initiated_at: 1795500000,
    expires_at: 1795586400,
    last_updated: 1795500060,
  },
]);

/** The file of one session in a format, as far as it is text. */
const fileOf = (name: Formats.BuiltIn): string => {
  const encoder = Formats.make(name).make();
  const parts = [encoder.encode(one), encoder.finish()].map((bytes) => new TextDecoder().decode(bytes));
  return name === "parquet" ? "PAR1" : parts.join("");
};

const sessionsOf = <Name extends Formats.BuiltIn>(name: Name, contentType: string) =>
  HttpApiEndpoint.get(name, `/v1/users/:user_id/sessions.${name}`)
    .setPath(Schema.Struct({ user_id: Job.UserId }))
    .setUrlParams(Schema.Struct({
      ...SessionFilters.mapQuery(({ description }) =>
        Schema.optional(Schema.NonEmptyString).annotations({ description })
      ),
      page_size: Schema.optional(Schema.NumberFromString.pipe(Schema.compose(Job.PageSize))).annotations({
        description:
          "Sessions to ask the tenant for at a time. By default 100 at first, then as many as it gives, up to 1,000.",
      }),
      allow: Schema.optional(Schema.Literal("quarantined", "unverified", "quarantined,unverified"))
        .annotations({
          description:
            "Reasons to abort that are allowed. `quarantined` leaves out rows that fail the schema. " +
            "`unverified` ends a transfer of which something may be missing.",
        }),
    }))
    .addSuccess(
      Bytes(
        contentType,
        "The sessions. In HTTP/1.1 or later, a transfer that ends cleanly is complete.",
        fileOf(name),
      ),
    )
    .addError(Absent).addError(Busy).addError(TenantFailure).addError(Unavailable)
    .annotateContext(about(
      `Download a user's sessions as ${name}`,
      "Streams every active session of a user while it is read from the tenant.",
    ));

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

const [summary] = Job.Summary.ast.annotations[ExamplesAnnotationId] as ReadonlyArray<Job.Summary>;

const Exports = HttpApiGroup.make("exports")
  .add(
    HttpApiEndpoint.post("start", "/v1/exports")
      .setPayload(Job.Description).addSuccess(Job.Summary, { status: 202 })
      .addError(Busy).addError(Unavailable).addError(Problem.schemaOf("request-timeout"))
      .addError(Problem.schemaOf("length-required")).addError(Problem.schemaOf("body-too-large"))
      .annotateContext(about(
        "Start an export",
        "Puts an export of many users into the queue. It is on the disk before its id is returned.",
      )),
  )
  .add(
    HttpApiEndpoint.get("list", "/v1/exports")
      .setUrlParams(Schema.Struct({
        limit: Schema.optional(Schema.NumberFromString.pipe(Schema.int(), Schema.between(1, 1000)))
          .annotations({ description: "The most exports to list. The default is 100." }),
        before: Schema.optional(Job.Id).annotations({ description: "List exports older than this one." }),
      }))
      .addSuccess(
        Schema.Array(Job.Summary).annotations({ description: "The exports.", examples: [[summary!]] }),
      ).addError(Unavailable)
      .annotateContext(about("List exports", "Lists exports, the latest first.")),
  )
  .add(
    HttpApiEndpoint.get("get", "/v1/exports/:id").setPath(ofExport)
      .addSuccess(Job.View).addError(Absent).addError(Unavailable)
      .annotateContext(about(
        "Show an export",
        "Shows what was asked for, the progress, the complete parts and, once it has ended, the report.",
      )),
  )
  .add(
    HttpApiEndpoint.get("events", "/v1/exports/:id/events").setPath(ofExport)
      .addSuccess(
        text("text/event-stream", "The events.", `event: export\ndata: ${JSON.stringify(summary)}\n\n`),
      )
      .addError(Absent).addError(Busy).addError(Unavailable)
      .annotateContext(about(
        "Watch an export",
        "Streams Server-Sent Events: the summary at once and after each change. The stream ends with the export.",
      )),
  )
  .add(
    HttpApiEndpoint.del("delete", "/v1/exports/:id").setPath(ofExport)
      .setUrlParams(Schema.Struct({
        expect: Schema.optional(Schema.Literal("open", "ended")).annotations({
          description:
            "`open` only stops an export, and `ended` only removes one. Otherwise the answer is 409.",
        }),
      }))
      .addSuccess(Job.Summary).addSuccess(
        HttpApiSchema.NoContent.annotations({ description: "The export and its files are removed." }),
      )
      .addError(Absent).addError(Conflict).addError(Unavailable)
      .annotateContext(about(
        "Stop or remove an export",
        "Stops an export that waits or runs, and keeps its complete parts. " +
          "Removes an export that has ended, with all its files.",
      )),
  )
  .add(
    HttpApiEndpoint.post("resume", "/v1/exports/:id/resume").setPath(ofExport)
      .addSuccess(Job.Summary, { status: 202 })
      .addError(Absent).addError(Conflict).addError(Busy).addError(Unavailable)
      .annotateContext(about(
        "Resume an export",
        "Continues an export that failed or was cancelled, or of which users failed.",
      )),
  )
  .add(
    HttpApiEndpoint.get("manifest", "/v1/exports/:id/manifest.json").setPath(ofExport)
      .addSuccess(
        Bytes("application/json", "The manifest of the dataset.", '{"version":2,"runs":[],"parts":[]}'),
      )
      .addError(Absent).addError(Unavailable)
      .annotateContext(about("Download the manifest", "Gives the manifest, which names all parts.")),
  )
  .add(
    HttpApiEndpoint.get("part", "/v1/exports/:id/:format/:name")
      .setPath(Schema.Struct({ ...ofExport.fields, format: Schema.String, name: Schema.String }))
      .addSuccess(Bytes("application/octet-stream", "The bytes of the part.", fileOf("csv")))
      .addError(Absent).addError(Busy).addError(Unavailable)
      .annotateContext(about("Download a part", "Gives a complete part of the dataset, by its path.")),
  )
  .middleware(Strict).middleware(Authorization)
  .annotateContext(OpenApi.annotations({
    description: "Exports of many users into the server's folder. They survive a restart of the server.",
  }));

const Machines = HttpApiGroup.make("machines", { topLevel: true })
  .add(
    HttpApiEndpoint.get("machines", "/v1/machines")
      .addSuccess(MachinesView.Machines).addError(Absent).addError(Unavailable)
      .annotateContext(about(
        "List workers and runs",
        "Lists the workers of the queue, and the runs on many machines that have not ended. " +
          "Answers 404 where the server knows of no queue.",
      )),
  )
  .middleware(Strict).middleware(Authorization)
  .annotateContext(OpenApi.annotations({
    description: "Runs whose shards many machines work on. Commands begin them; the server shows them.",
  }));

const State = Schema.Struct({ status: Schema.Literal("ok") }).annotations({
  identifier: "State",
  description: "OK.",
  examples: [{ status: "ok" }],
});

const Operations = HttpApiGroup.make("operations", { topLevel: true })
  .add(
    HttpApiEndpoint.get("health", "/health").addSuccess(State)
      .annotateContext(about("Tell whether the server is alive", "Answers as long as the server runs.")),
  )
  .add(
    HttpApiEndpoint.get("ready", "/ready").addSuccess(State).addError(Unavailable)
      .annotateContext(about(
        "Tell whether the server can work",
        "Answers 503 while the server stops, or while its folder can't be used.",
      )),
  )
  .add(
    HttpApiEndpoint.get("metrics", "/metrics")
      .addSuccess(text(
        "text/plain; version=0.0.4; charset=utf-8",
        "The metrics.",
        "# HELP monocloud_downloads Downloads under way.\n# TYPE monocloud_downloads gauge\nmonocloud_downloads 2\n",
      ))
      .middleware(Authorization)
      .annotateContext(about("Read metrics", "Gives counts and gauges in the text format of Prometheus.")),
  )
  .add(
    HttpApiEndpoint.post("signIn", "/v1/session").addSuccess(State).middleware(Authorization)
      .annotateContext(about(
        "Sign in",
        "Puts the token into a cookie, for the page. A server without a token sets none.",
      )),
  )
  .add(
    HttpApiEndpoint.del("signOut", "/v1/session").addSuccess(State)
      .annotateContext(about("Sign out", "Removes the cookie.")),
  )
  .middleware(Strict);

/** The routes, without the platform's own error for values that can't be decoded: that is a problem as well. */
const noRoutes = Object.assign(HttpApi.make("monocloud-sessions"), {
  errorSchema: Schema.Never,
}) as unknown as HttpApi.HttpApi<"monocloud-sessions", never, never>;

/** All routes. */
export class Api extends noRoutes.add(Sessions).add(Exports).add(Machines).add(Operations)
  .addError(Problem.schemaOf("forbidden")).addError(Problem.schemaOf("internal"))
  .annotateContext(OpenApi.annotations({
    title: "monocloud-sessions server",
    version,
    description: "Exports the user sessions of one MonoCloud tenant: streamed, or as datasets in a folder. " +
      "Every error is a problem document (RFC 9457).",
  })) {}
