/**
 * Requests by undici, the client beneath Node's `fetch`, without what `fetch` puts on top of it: a third of the CPU time a
 * request. For Node; needs the package `undici`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { gunzip } from "node:zlib";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { Agent, type Dispatcher } from "undici";
import { type Headers, Transport } from "./Transport.ts";

const joined = (chunks: ReadonlyArray<Buffer>): Buffer =>
  chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);

const flat = (headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>): Headers => {
  const found: Record<string, string | undefined> = {};
  for (const name in headers) {
    const value = headers[name];
    found[name] = typeof value === "object" ? value.join(", ") : value;
  }
  return found;
};

const interrupted = () => new Error("The request was interrupted");

/** A dispatcher of undici's, a proxy's for example. */
export const ofDispatcher = (dispatcher: Dispatcher): typeof Transport.Service => ({
  get: (url, headers, onHead) =>
    Effect.async<Uint8Array, unknown>((resume) => {
      const at = url.indexOf("/", url.indexOf("://") + 3);
      let controller: Dispatcher.DispatchController | undefined;
      let isOver = false;
      let chunks: Array<Buffer> = [];
      let isCompressed = false;
      const fail = (cause: unknown) => resume(Effect.fail(cause));
      dispatcher.dispatch({
        origin: url.slice(0, at),
        path: url.slice(at),
        method: "GET",
        headers: { ...headers, "accept-encoding": "gzip" },
        // The policy has limits of its own.
        headersTimeout: 0,
        bodyTimeout: 0,
      }, {
        onRequestStart: (its) => {
          controller = its;
          chunks = [];
          if (isOver) its.abort(interrupted());
        },
        onResponseStart: (_, status, headers) => {
          // What only announces the answer is none.
          if (status < 200) return;
          isCompressed = headers["content-encoding"] === "gzip";
          onHead(status, flat(headers));
        },
        onResponseData: (_, chunk) => void chunks.push(chunk),
        onResponseEnd: () => {
          const body = joined(chunks);
          if (!isCompressed) return resume(Effect.succeed(body));
          gunzip(body, (error, plain) => error === null ? resume(Effect.succeed(plain)) : fail(error));
        },
        onResponseError: (_, error) => fail(error),
      });
      return Effect.sync(() => {
        isOver = true;
        controller?.abort(interrupted());
      });
    }),
});

/**
 * Connections of undici's own, as many as there are requests at once, closed with the scope.
 *
 * @example
 * ```ts
 * import { HttpPolicy, SessionsApi } from "monocloud-sessions";
 * import { make, serve } from "monocloud-sessions/sandbox";
 * import * as Undici from "monocloud-sessions/undici";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 *
 * const sandbox = make({ users: 1 });
 * const server = await serve(sandbox);
 * const [userId = ""] = sandbox.userIds();
 * const tenant = HttpPolicy.connect({ domain: server.url, apiKey: sandbox.key }).pipe(Layer.provide(Undici.layer));
 * const page = await Effect.runPromise(Effect.provide(SessionsApi.page(userId, { page: 1, size: 5 }), tenant));
 * console.assert(page.rows.length <= 5);
 * await server.close();
 * ```
 */
export const layer: Layer.Layer<Transport> = Layer.scoped(
  Transport,
  Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => new Agent({ pipelining: 1 })),
      // What is under way has been interrupted by now: there is nothing to wait for.
      (agent) => Effect.promise(() => agent.destroy()),
    ),
    ofDispatcher,
  ),
);
