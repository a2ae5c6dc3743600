/**
 * The program of `monocloud-sessions serve`.
 *
 * @module
 */
import type { Socket } from "node:net";
import process from "node:process";
import * as Effect from "effect/Effect";
import type { NodeServerResponse, ServerRequest } from "srvx";
import { serve } from "srvx/node";
import type { Arrival } from "../../server/Arrival.ts";
import * as Problem from "../../server/Problem.ts";
import * as RequestGuard from "../../server/RequestGuard.ts";
import * as Server from "../../server/Server.ts";
import * as ServerSettings from "../../server/Settings.ts";
import * as Log from "../../server/telemetry/Log.ts";
import { exitCodes, UsageError } from "../ExitCode.ts";
import type { Args } from "../options/ServeFlags.ts";

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
const refuse = ({ code = "" }: { readonly code?: string }, socket: Socket): void => {
  if (!socket.writable || (closing.get(socket)?.size ?? 0) > 0) return void socket.destroy();
  socket.write(Problem.raw(...unreadable[code] ?? ["invalid-request", "It is no request of HTTP/1.1"]));
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

/** Run until told to stop; where it listens is told on standard error. */
export const run = ({ host, port, log }: Args) =>
  Effect.scoped(Effect.gen(function* () {
    const loaded = yield* Effect.mapError(
      ServerSettings.load,
      ({ message }) => new UsageError({ message }),
    );
    const settings = { ...loaded, log: log ?? loaded.log };
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
          http!.on("clientError", refuse);
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
  }));
