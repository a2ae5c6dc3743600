/**
 * The HTTP worker for `deno serve`, and whatever else serves a module's default export.
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
import * as Access from "./Access.ts";
import * as Arrival from "./Arrival.ts";
import * as Config from "./Config.ts";
import * as Worker from "./Worker.ts";

const leave = (message: string): never => {
  process.stderr.write(`Error: ${message}\n`);
  process.exit(2);
};

const loaded = Effect.runSync(Effect.either(Config.load));
const settings = Either.isRight(loaded) ? loaded.right : leave(loaded.left.message);
const worker = await Effect.runPromise(Worker.make(settings));

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  // A second signal ends it at once, which is as safe as a kill.
  process.once(signal, () => void worker.stop().then(() => process.exit(0)));
}

export default {
  fetch: (request: Request, info?: Arrival.RequestInfo): Promise<Response> =>
    worker.fetch(request, Arrival.ofInfo(info)),
  onListen: ({ hostname, port }: { readonly hostname: string; readonly port: number }): void => {
    if (settings.token === undefined && !Access.isLoopback(hostname)) leave(Access.needsToken(hostname));
    process.stderr.write(
      `Listening on http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}\n`,
    );
  },
};
