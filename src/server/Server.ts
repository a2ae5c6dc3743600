/**
 * The HTTP server: exports over HTTP, as a handler that any server of web standards can carry.
 *
 * @module
 */
import * as HttpApiBuilder from "@effect/platform/HttpApiBuilder";
import * as HttpApp from "@effect/platform/HttpApp";
import * as HttpMiddleware from "@effect/platform/HttpMiddleware";
import * as HttpServer from "@effect/platform/HttpServer";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import * as Runtime from "effect/Runtime";
import * as Scope from "effect/Scope";
import * as TenantClient from "../api/TenantClient.ts";
import * as Platform from "../api/transport/Platform.ts";
import type * as Transport from "../api/transport/Transport.ts";
import type { Arrival } from "./Arrival.ts";
import * as RequestGuard from "./RequestGuard.ts";
import * as Problem from "./Problem.ts";
import type { Settings } from "./Settings.ts";
import * as Docs from "./page/Docs.ts";
import * as Handlers from "./handlers/Handlers.ts";
import type { Shutdown } from "./handlers/Responses.ts";
import * as Router from "./handlers/Router.ts";
import * as Headers from "./Headers.ts";
import * as Jobs from "./jobs/Jobs.ts";
import * as Machines from "./machines/Machines.ts";
import * as Log from "./telemetry/Log.ts";
import * as RequestLog from "./telemetry/RequestLog.ts";
import * as Metrics from "./telemetry/Metrics.ts";
import * as Tracing from "./telemetry/Tracing.ts";
import * as Page from "./page/Page.ts";
import * as IdleTimeout from "./IdleTimeout.ts";

/** A server that is at work. */
export interface Server {
  /** Answers a request, given what the server knows of it: without `version`, HTTP/1.0 gets bodies that may look whole. */
  readonly fetch: (request: Request, arrival: Arrival) => Promise<Response>;
  /**
   * Takes on nothing more, lets downloads end for as long as the settings say, their last bytes included where
   * {@link Arrival.sent} tells of them, and checkpoints exports, which the next server goes on with. What is left of downloads
   * is broken off.
   */
  readonly stop: () => Promise<void>;
}

/** Lines where the settings say, and not in spans as well. */
const logging = ({ log }: Settings) => Layer.merge(Log.layer(log), Logger.remove(Logger.tracerLogger));

/** A span of the server's own would carry the paths of requests, and with them the ids of users. */
const noServerSpans = Layer.scopedDiscard(
  Effect.locallyScoped(HttpMiddleware.currentTracerDisabledWhen, () => true),
);

const everything = (
  settings: Settings,
  shutdown: Shutdown,
  transport: Layer.Layer<Transport.Transport>,
) => {
  const routes = Layer.mergeAll(Page.layer(settings), Docs.layer).pipe(
    Layer.provideMerge(Handlers.layer(settings, shutdown)),
    Layer.provideMerge(HttpApiBuilder.Router.Live),
    Layer.provideMerge(HttpServer.layerContext),
  );
  const tenant = TenantClient.layerOf(settings.tenant, { rate: settings.rate }).pipe(
    Layer.provide(Metrics.counted),
    Layer.provide(transport),
  );
  return routes.pipe(
    Layer.provide(Jobs.layer(settings)),
    Layer.provide(Machines.layer(settings)),
    Layer.provide(tenant),
    Layer.provideMerge(Metrics.layer),
    Layer.provideMerge(Layer.mergeAll(Tracing.layer(settings.telemetry), logging(settings), noServerSpans)),
  );
};

/** Milliseconds between two looks at the downloads that have to end before a stop. */
const LOOK = 50;

/** The status of an answer that nobody waits for any more. */
const LEFT = 499;

const lengthOf = ({ headers }: Response): number | undefined => {
  const length = headers.get("content-length");
  return length === null ? undefined : Number(length);
};

/** The most bytes of an answer that is short, which the system takes at once. */
const SHORT = 1 << 14;

/**
 * Tell whether an answer is handed over as it is. A download is not, however short: it counts until it has been read. Nor is
 * anything made a stream without need: Deno (2.9.6) never closes the connection of one that is sent while a request's body is read.
 */
const isShort = (response: Response): boolean =>
  (lengthOf(response) ?? Infinity) <= SHORT && !response.headers.has("content-disposition");

/**
 * Replace the bytes of a long answer by a stream of them, which drops them when it is cancelled. A request's fiber, and with it the
 * answer, is kept for as long as its connection is open.
 */
const streamed = (response: HttpServerResponse.HttpServerResponse) => {
  const { status, headers, cookies, body } = response;
  return body._tag === "Uint8Array" && body.body.length > SHORT
    ? HttpServerResponse.raw(IdleTimeout.streamOf(body.body as Uint8Array<ArrayBuffer>), {
      status,
      headers,
      cookies,
    })
    : response;
};

/**
 * Begins a server. Exports that an earlier one left unfinished in its folder are taken up at once.
 *
 * Memory: for each download a page and what its encoder holds, for each export what {@link Dataset.run} holds, and about
 * 1 kB for each export in the folder.
 */
export const make = (
  settings: Settings,
  transport: Layer.Layer<Transport.Transport> = Platform.transport,
): Effect.Effect<Server> =>
  Effect.gen(function* () {
    const scope = yield* Scope.make();
    const shutdown: Shutdown = { isStopping: false, streams: new Set() };
    const runtime = yield* Scope.extend(Layer.toRuntime(everything(settings, shutdown, transport)), scope);
    const app = Effect.map(yield* Effect.provide(Router.app, runtime), streamed);
    const handle = HttpApp.toWebHandlerRuntime(runtime)(app);
    const { downloads } = Context.get(runtime.context, Metrics.Metrics);
    let unsent = 0;
    const open = new Set<() => void>();
    return {
      fetch: async (request, arrival) => {
        const began = performance.now();
        if (arrival.sent !== undefined) {
          unsent++;
          const end = () => void unsent--;
          arrival.sent.then(end, end);
        }
        const refusal = RequestGuard.refusalOf(request, arrival, settings.token !== undefined);
        const response = refusal === undefined
          ? await handle(request)
          : HttpServerResponse.toWeb(Problem.respond(refusal));
        Headers.complete(response);
        const { status } = response;
        const length = lengthOf(response);
        const onEnd: IdleTimeout.OnEnd = (ended, bytes, error) => {
          const seconds = Math.round(performance.now() - began) / 1000;
          Runtime.runSync(runtime)(RequestLog.request(request, { status, ended, bytes, seconds, error }));
        };
        // To look at the body of a short one would make a stream of it.
        if (isShort(response) || response.body === null) {
          onEnd(status === LEFT ? "client_closed" : "done", request.method === "HEAD" ? 0 : length ?? 0);
          return response;
        }
        const limits = { seconds: settings.idleSeconds, length, open, onEnd };
        return new Response(IdleTimeout.withIdleTimeout(response.body, limits), response);
      },
      stop: async () => {
        if (shutdown.isStopping) return;
        shutdown.isStopping = true;
        for (const end of shutdown.streams) end();
        const limit = Date.now() + settings.graceSeconds * 1000;
        while (downloads() + unsent > 0 && Date.now() < limit) {
          await new Promise((resume) => setTimeout(resume, LOOK));
        }
        for (const breakOff of open) breakOff();
        await Effect.runPromise(Scope.close(scope, Exit.void));
      },
    };
  });
