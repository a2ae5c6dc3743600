/**
 * The HTTP server for `deno serve`, and whatever else serves a module's default export.
 *
 * **What Deno does not bound.** `Deno.serve` limits neither connections nor the time in which one sends its request, and can't be
 * told to close one: whoever sends nothing, or reads nothing, keeps a socket until they leave. All that follows on a request
 * is bounded here. Where strangers can connect, put a proxy before it, or use `monocloud-sessions serve`, on either runtime.
 *
 * ```sh
 * deno serve --host 127.0.0.1 --port 8080 --allow-net=HOST --allow-env=NAMES --allow-read=FOLDER --allow-write=FOLDER src/server/serve.ts
 * ```
 *
 * @module
 */
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as RequestGuard from "./RequestGuard.ts";
import * as Arrival from "./Arrival.ts";
import * as Settings from "./Settings.ts";
import * as Server from "./Server.ts";
import * as Log from "./telemetry/Log.ts";

const leave = (message: string): never => {
  process.stderr.write(`Error: ${message}\n`);
  process.exit(2);
};

const loaded = Effect.runSync(Effect.either(Settings.load));
const settings = Either.isRight(loaded) ? loaded.right : leave(loaded.left.message);
const server = await Effect.runPromise(Server.make(settings));

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // A second signal ends it at once, which is as safe as a kill.
  process.once(signal, () => void server.stop().then(() => process.exit(0)));
}

export default {
  fetch: (request: Request, info?: Arrival.RequestInfo): Promise<Response> =>
    server.fetch(request, Arrival.ofInfo(info)),
  onListen: ({ hostname, port }: { readonly hostname: string; readonly port: number }): void => {
    if (settings.token === undefined && !RequestGuard.isLoopback(hostname)) {
      leave(RequestGuard.needsToken(hostname));
    }
    Log.sayListening(
      settings.log,
      `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`,
    );
  },
};
