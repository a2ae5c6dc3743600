/**
 * Handlers of the routes.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Redacted from "effect/Redacted";
import * as SessionFilters from "../../api/SessionFilters.ts";
import * as Formats from "../../format/Formats.ts";
import * as Machines from "../machines/Machines.ts";
import * as MachinesView from "../machines/View.ts";
import * as RequestGuard from "../RequestGuard.ts";
import * as Problem from "../Problem.ts";
import { answering, ofTenant, type Shutdown, stopping } from "./Responses.ts";
import * as Api from "./Api.ts";
import * as Body from "./Body.ts";
import type { Settings } from "../Settings.ts";
import * as Download from "./Download.ts";
import * as Events from "../jobs/Events.ts";
import { Jobs } from "../jobs/Jobs.ts";
import * as RequestLog from "../telemetry/RequestLog.ts";
import * as Metrics from "../telemetry/Metrics.ts";
import * as Trace from "../telemetry/Trace.ts";
import * as Operations from "./Operations.ts";
import * as Strict from "./Strict.ts";

/** Longest part of a file's name that an id takes: file systems allow 255 bytes for the whole. */
const LONGEST_ID = 200;

/** Give the name of a user's download, by which the files of two users differ, but for ids that are longer. */
const nameFor = (userId: string, extension: string): string =>
  `sessions-${encodeURIComponent(userId).slice(0, LONGEST_ID)}.${extension}`;

/** Headers by which nobody in between changes, keeps or guesses at a body. */
const untouched = { "cache-control": "no-store, no-transform", "x-content-type-options": "nosniff" };

/** Tell whether gzip is welcome: `gzip`, `*`, but not `gzip;q=0`. */
export const acceptsGzip = (header: string | undefined): boolean => {
  const choices = (header ?? "").split(",").map((choice) => choice.trim().toLowerCase().split(/\s*;\s*q=/));
  const weight = (name: string) => choices.find(([coding]) => coding === name)?.[1];
  const has = (name: string) => choices.some(([coding]) => coding === name);
  return has("gzip") ? Number(weight("gzip") ?? 1) > 0 : has("*") && Number(weight("*") ?? 1) > 0;
};

/** Begin a download, unless as many as are allowed are under way. */
const ifThereIsRoom =
  ({ downloads }: Settings, shutdown: Shutdown) => <A, E, R>(download: Effect.Effect<A, E, R>) =>
    Effect.flatMap(
      Metrics.Metrics,
      (metrics): Effect.Effect<A | HttpServerResponse.HttpServerResponse, E, R> => {
        if (shutdown.isStopping) return Effect.succeed(stopping);
        return metrics.downloads() < downloads ? download : Effect.succeed(
          Problem.answer("busy", `${downloads} downloads are under way, and no more may be`),
        );
      },
    );

/** The router takes HEAD for GET. */
const onlyGet = Problem.answer(
  "method-not-allowed",
  "What sessions there are is known only by walking them: use GET",
  { allow: "GET" },
);

const tenantFailure = ({ message }: { readonly message: string }) =>
  Effect.succeed(Problem.answer("tenant-failure", message));

const sessions = (settings: Settings, shutdown: Shutdown) =>
  HttpApiBuilder.group(Api.Api, "sessions", (handlers) => {
    const download = (name: Formats.BuiltIn) =>
    (
      { path: { user_id }, urlParams: { page_size, allow, ...query }, request }: {
        readonly path: { readonly user_id: string };
        readonly urlParams: SessionFilters.FilterQuery & {
          readonly page_size?: number | undefined;
          readonly allow?: string | undefined;
        };
        readonly request: HttpServerRequest.HttpServerRequest;
      },
    ) =>
      request.method === "HEAD" ? Effect.succeed(onlyGet) : Effect.gen(function* () {
        const format = Formats.make(name);
        const gzip = format.gzip && acceptsGzip(request.headers["accept-encoding"]);
        const bytes = yield* Download.sessions({
          userId: user_id,
          format,
          gzip,
          filters: SessionFilters.fromQuery(query),
          pageSize: page_size,
          allow: new Set(allow?.split(",")),
        });
        return HttpServerResponse.raw(bytes, {
          headers: {
            ...untouched,
            "content-type": format.contentType,
            "content-disposition": `attachment; filename="${nameFor(user_id, format.extension)}"`,
            vary: "accept-encoding",
            ...(gzip && { "content-encoding": "gzip" }),
          },
        });
      }).pipe(
        Trace.within(request.headers),
        ifThereIsRoom(settings, shutdown),
        Effect.tapError(RequestLog.note),
        Effect.catchTags({
          ApiError: (error) => Effect.succeed(ofTenant(error)),
          ExportError: (error) =>
            error.reason === "NoSuchUsers"
              ? Effect.succeed(Problem.answer("not-found", error.message))
              : tenantFailure(error),
          UnverifiedError: tenantFailure,
          SinkError: ({ message }) => Effect.succeed(Problem.answer("unavailable", message)),
        }),
      );
    const [first, ...others] = Formats.builtInNames;
    // The endpoints have one type, so the first handler counts for all of them by their types.
    return others.reduce(
      (handled, name) => (handled as unknown as typeof handlers).handle(name, download(name)),
      handlers.handle(first!, download(first!)),
    );
  });

const exports = (settings: Settings, shutdown: Shutdown) =>
  HttpApiBuilder.group(
    Api.Api,
    "exports",
    (handlers) =>
      Effect.map(Jobs, (jobs) => {
        const description = Body.reader(settings.requestSeconds);
        const file = ({ method }: HttpServerRequest.HttpServerRequest, id: string, path: string) =>
          answering(Effect.gen(function* () {
            const file = yield* jobs.file(id, path);
            const headers = {
              ...untouched,
              "content-type": path.endsWith(".json") ? "application/json" : "application/octet-stream",
              "content-length": String(file.bytes),
              "content-disposition": `attachment; filename="${file.name}"`,
            };
            if (method === "HEAD") return HttpServerResponse.empty({ status: 200, headers });
            const sent = Effect.map(
              Download.file(file),
              (bytes) => HttpServerResponse.raw(bytes, { headers }),
            );
            return yield* sent.pipe(ifThereIsRoom(settings, shutdown));
          }));
        const open = <A, R>(work: Effect.Effect<A, never, R>) =>
          Effect.suspend((): Effect.Effect<A | HttpServerResponse.HttpServerResponse, never, R> =>
            shutdown.isStopping ? Effect.succeed(stopping) : work
          );
        return handlers
          .handleRaw("start", ({ request }) =>
            open(Effect.matchEffect(description(request), {
              onFailure: (problem) => Effect.succeed(Problem.respond(problem)),
              onSuccess: (description) => answering(jobs.start(description)),
            })).pipe(Trace.within(request.headers)))
          .handle("list", ({ urlParams: { limit = 100, before } }) => answering(jobs.list({ limit, before })))
          .handle("get", ({ path }) => answering(jobs.get(path.id)))
          .handle("events", ({ path, request }) =>
            answering(Effect.map(jobs.events(path.id), (watch) => {
              const headers = { ...untouched, "content-type": "text/event-stream" };
              if (request.method === "HEAD") return HttpServerResponse.empty({ status: 200, headers });
              return shutdown.streams.size < settings.streams
                ? HttpServerResponse.raw(Events.stream(watch, shutdown.streams), { headers })
                : Problem.answer(
                  "busy",
                  `${settings.streams} streams of events are open, and no more may be`,
                );
            })))
          .handle("delete", ({ path, urlParams }) =>
            answering(jobs.delete(path.id, urlParams.expect)).pipe(
              Effect.map((summary) => summary ?? HttpServerResponse.empty({ status: 204 })),
            ))
          .handle("resume", ({ path }) => open(answering(jobs.resume(path.id))))
          .handle("manifest", ({ path, request }) => file(request, path.id, "manifest.json"))
          .handle("part", ({ path, request }) => file(request, path.id, `${path.format}/${path.name}`));
      }),
  );

/** Tell of workers and runs at the queue. */
const machines = HttpApiBuilder.group(
  Api.Api,
  "machines",
  (handlers) =>
    Effect.map(Machines.Machines, (look) =>
      handlers.handle("machines", () => {
        if (look === undefined) {
          return Effect.succeed(Problem.answer("not-found", "There is no queue here: set MONOCLOUD_QUEUE"));
        }
        return look.pipe(
          Effect.map(({ workers, runs }) => MachinesView.of(workers, runs)),
          Effect.tapError(RequestLog.note),
          Effect.catchAll(({ message }) => Effect.succeed(Problem.answer("unavailable", message))),
        );
      })),
);

const authorization = ({ token }: Settings) =>
  Layer.sync(Api.Authorization, () => {
    const isToken = token === undefined ? () => true : RequestGuard.isToken(token);
    const check = (given: Redacted.Redacted) =>
      isToken(Redacted.value(given))
        ? Effect.void
        : Effect.fail(Problem.make("unauthorized", "Send the server's token: Authorization: Bearer TOKEN"));
    return { bearer: check, cookie: check };
  });

/** All routes, carried out. */
export const layer = (settings: Settings, shutdown: Shutdown) =>
  HttpApiBuilder.api(Api.Api).pipe(
    Layer.provide([
      sessions(settings, shutdown),
      exports(settings, shutdown),
      machines,
      Operations.layer(settings, shutdown),
    ]),
    Layer.provide([Strict.layer, authorization(settings)]),
  );
