/**
 * `monocloud-sessions serve`.
 *
 * @module
 */
import type { Socket } from "node:net";
import process from "node:process";
import * as Effect from "effect/Effect";
import type { NodeServerResponse, ServerRequest } from "srvx";
import type { Arrival } from "../../server/Arrival.ts";
import type * as Problem from "../../server/Problem.ts";
import * as ServerSettings from "../../server/Settings.ts";
import * as Log from "../../server/telemetry/Log.ts";
import { exitCodes, UsageError } from "../ExitCode.ts";
import * as Command from "../options/Command.ts";
import * as Flag from "../options/Flag.ts";
import * as Read from "../options/Read.ts";

const flags = {
  host: Flag.value({
    name: "host",
    placeholder: "ADDRESS",
    text: "Where to listen. Elsewhere than on loopback WORKER_TOKEN is needed.",
    byDefault: "127.0.0.1",
    read: (text) => text,
    must: "an address",
  }),
  port: Flag.value({
    name: "port",
    placeholder: "N",
    text: "The port to listen on; 0 for any free one.",
    byDefault: "8080",
    ...Read.whole(0, 65_535),
  }),
};

const log = Flag.optional<typeof Log.forms[number]>({
  name: "log",
  placeholder: "FORM",
  text: "Form of the lines about requests and exports: text, json or off.",
  byDefault: "WORKER_LOG, or text",
  words: Log.forms,
  read: (text) => Log.forms.find((form) => form === text),
  must: Log.forms.join(" or "),
});

/** Connections that there may be at once. One more is closed as soon as it is opened. */
const CONNECTIONS = 4096;

/** Limits on what a connection may send before it is a request, and on how long it may take, in bytes and milliseconds. */
const limits = ({ requestSeconds }: ServerSettings.Settings) => ({
  maxHeaderSize: 16_384,
  // The guard refuses it, with an answer that says so.
  requireHostHeader: false,
  headersTimeout: Math.min(10_000, requestSeconds * 1000),
  // Whoever waits for a body gives up first, with an answer.
  requestTimeout: requestSeconds * 1000 + 2000,
  keepAliveTimeout: 60_000,
  connectionsCheckingInterval: 1000,
});

/** Callbacks for the close of each open connection. */
const closing = new WeakMap<Socket, Set<() => void>>();

/**
 * Done when an answer has been handed over, or its connection is closed. An answer that has not had its turn by then, for more
 * was asked for at once, never says so itself.
 */
const whenSent = (socket: Socket, answer: NodeServerResponse): Promise<void> =>
  new Promise((resolve) => {
    let waiting = closing.get(socket);
    if (waiting === undefined) {
      const all = waiting = new Set<() => void>();
      closing.set(socket, all);
      socket.once("close", () => all.forEach((end) => end()));
    }
    waiting.add(resolve);
    answer.once("close", () => {
      closing.get(socket)?.delete(resolve);
      resolve();
    });
  });

/** Reasons of Node why it can't read a request, where they have a kind of their own. */
const unreadable: Readonly<Record<string, readonly [Problem.Kind, string]>> = {
  HPE_HEADER_OVERFLOW: ["headers-too-large", "Headers may have 16384 bytes: send shorter ones"],
  ERR_HTTP_REQUEST_TIMEOUT: ["request-timeout", "The request has not come in time: send it faster"],
};

/** Answers where Node can't read a request, unless an answer is under way there. */
const refuse =
  ({ raw }: typeof Problem) => ({ code = "" }: { readonly code?: string }, socket: Socket): void => {
    if (!socket.writable || (closing.get(socket)?.size ?? 0) > 0) return void socket.destroy();
    socket.write(raw(...unreadable[code] ?? ["invalid-request", "It is no request of HTTP/1.1"]));
    socket.destroySoon();
  };

const arrivalOf = ({ ip, runtime }: ServerRequest, { idleSeconds }: ServerSettings.Settings): Arrival => {
  const { req, res } = runtime!.node!;
  // The last bytes of an answer are the system's to send: they wait for their reader no longer than the others.
  res!.once("prefinish", () => res!.setTimeout(idleSeconds * 1000));
  return {
    from: ip,
    version: req.httpVersion,
    sent: whenSent(req.socket, res!),
  };
};

/** The command. It runs until it is told to stop; where it listens is told on standard error. */
export const command = Command.make({
  name: "serve",
  summary:
    "Serve exports over HTTP, with a page and an API. The environment sets it up: see help environment.",
  groups: [{ title: "Where to listen", flags }, { title: "What to log", flags: { log } }],
  examples: [["serve --port 8080", "With MONOCLOUD_DOMAIN, MONOCLOUD_API_KEY and WORKER_FOLDER set"]],
}, ({ host, port, log }) =>
  Effect.scoped(Effect.gen(function* () {
    const loaded = yield* Effect.mapError(
      ServerSettings.load,
      ({ message }) => new UsageError({ message }),
    );
    const settings = { ...loaded, log: log ?? loaded.log };
    // Loaded here: no other command has a use for them.
    const [{ serve }, Problem, RequestGuard, Server] = yield* Effect.promise(() =>
      Promise.all([
        import("srvx/node"),
        import("../../server/Problem.ts"),
        import("../../server/RequestGuard.ts"),
        import("../../server/Server.ts"),
      ])
    );
    if (settings.token === undefined && !RequestGuard.isLoopback(host)) {
      return yield* Effect.fail(new UsageError({ message: RequestGuard.needsToken(host) }));
    }
    const handler = yield* Server.make(settings);
    const server = yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: async () => {
          const server = serve({
            fetch: (request) => handler.fetch(request, arrivalOf(request, settings)),
            hostname: host,
            port,
            node: limits(settings),
            silent: true,
            gracefulShutdown: false,
          });
          const { server: http } = server.node!;
          http!.maxConnections = CONNECTIONS;
          http!.on("clientError", refuse(Problem));
          // What else is expected than to go on is nothing to refuse a request for.
          http!.on("checkExpectation", (asked, answer) => http!.emit("request", asked, answer));
          return await server.ready();
        },
        catch: (error) =>
          new UsageError({
            message: `Cannot listen on ${host}, port ${port}: ${(error as Error).message}`,
          }),
      }),
      (server) =>
        Effect.promise(async () => {
          await handler.stop();
          // Those that are still there have had their time.
          await server.close(true);
          process.exitCode = exitCodes.done;
        }),
    );
    yield* Effect.sync(() => Log.sayListening(settings.log, server.url!));
    yield* Effect.never;
  })));
