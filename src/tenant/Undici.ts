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

/** The most bytes that are set aside for a body before it has come. */
const MOST_AT_ONCE = 1 << 24;

/** Gathers a body. Where its length is told beforehand each chunk is let go as it comes. */
const gather = (length: number) => {
  let whole = Number.isSafeInteger(length) && length <= MOST_AT_ONCE
    ? Buffer.allocUnsafeSlow(length)
    : undefined;
  const chunks: Array<Buffer> = [];
  let at = 0;
  return {
    add: (chunk: Buffer) => {
      if (whole !== undefined && at + chunk.length <= whole.length) chunk.copy(whole, at);
      else {
        if (whole !== undefined) chunks.push(whole.subarray(0, at));
        whole = undefined;
        chunks.push(chunk);
      }
      at += chunk.length;
    },
    body: () => whole === undefined ? Buffer.concat(chunks) : whole.subarray(0, at),
  };
};

const flat = (headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>): Headers => {
  const found: Record<string, string | undefined> = {};
  for (const name in headers) {
    const value = headers[name];
    found[name] = typeof value === "object" ? value.join(", ") : value;
  }
  return found;
};

/** A dispatcher of undici's, a proxy's for example. */
export const ofDispatcher = (dispatcher: Dispatcher): typeof Transport.Service => ({
  get: (url, headers, onHead, signal) =>
    Effect.async<Uint8Array, unknown>((resume) => {
      const at = url.indexOf("/", url.indexOf("://") + 3);
      let controller: Dispatcher.DispatchController | undefined;
      let body = gather(NaN);
      let isCompressed = false;
      // Before it has a connection there is nothing to abort.
      const onAbort = () =>
        controller === undefined ? end(Effect.fail(signal.reason)) : controller.abort(signal.reason);
      const end = (exit: Effect.Effect<Uint8Array, unknown>) => {
        signal.removeEventListener("abort", onAbort);
        resume(exit);
      };
      signal.addEventListener("abort", onAbort);
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
          if (signal.aborted) its.abort(signal.reason);
        },
        onResponseStart: (_, status, headers) => {
          // What only announces the answer is none.
          if (status < 200) return;
          isCompressed = headers["content-encoding"] === "gzip";
          body = gather(Number(headers["content-length"] ?? NaN));
          onHead(status, flat(headers));
        },
        onResponseData: (_, chunk) => body.add(chunk),
        onResponseEnd: () => {
          const bytes = body.body();
          if (!isCompressed) return end(Effect.succeed(bytes));
          gunzip(bytes, (error, plain) => end(error === null ? Effect.succeed(plain) : Effect.fail(error)));
        },
        onResponseError: (_, error) => end(Effect.fail(error)),
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
