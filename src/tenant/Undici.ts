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

/** Gathers a body. Where its length was told beforehand, each chunk is let go as it comes. */
const gather = (length: number) => {
  const chunks: Array<Buffer> = [];
  let whole: Buffer | undefined;
  let at = 0;
  return {
    add: (chunk: Buffer): void => {
      if (at === 0 && chunk.length < length && length <= MOST_AT_ONCE) whole = Buffer.allocUnsafeSlow(length);
      if (whole === undefined) chunks.push(chunk);
      else chunk.copy(whole, at);
      at += chunk.length;
    },
    /** Undefined if it has another length than was told: undici sees to that, not every dispatcher in front of it. */
    body: (): Buffer | undefined =>
      whole === undefined
        ? chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)
        : at === length
        ? whole
        : undefined,
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
  get: (url, headers, onHead, whenAborted) =>
    Effect.async<Uint8Array, unknown>((resume) => {
      const at = url.indexOf("/", url.indexOf("://") + 3);
      let controller: Dispatcher.DispatchController | undefined;
      let body = gather(NaN);
      let isCompressed = false;
      let aborted: Error | undefined;
      whenAborted((reason) => {
        aborted = reason;
        controller?.abort(reason);
        // Before it has a connection there is nothing to abort, and between two tries of a dispatcher that retries.
        resume(Effect.fail(reason));
      });
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
          if (aborted !== undefined) its.abort(aborted);
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
          if (bytes === undefined) {
            return resume(Effect.fail(new Error("the body is not as long as was told")));
          }
          if (!isCompressed) return resume(Effect.succeed(bytes));
          gunzip(
            bytes,
            (error, plain) => resume(error === null ? Effect.succeed(plain) : Effect.fail(error)),
          );
        },
        onResponseError: (_, error) => resume(Effect.fail(error)),
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
