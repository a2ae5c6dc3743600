/**
 * Requests by undici, the client beneath Node's `fetch`, without what `fetch` puts on top of it: a third of the CPU time a
 * request. For Node; needs the package `undici`.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Transform } from "node:stream";
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from "node:zlib";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { Agent, buildConnector, type Dispatcher, EnvHttpProxyAgent, Pool } from "undici";
import * as ContentEncoding from "./ContentEncoding.ts";
import * as Proxy from "./Proxy.ts";
import { ProxyError, ProxyNameError } from "./ProxyError.ts";
import { type Headers, type Receiver, Transport } from "./Transport.ts";

/** The most bytes that are set aside for a body before it has come. Memory that nothing is written to costs nothing. */
const MOST_AT_ONCE = 1 << 26;

/** Gathers a body. Where its length was told beforehand, each chunk is let go as it comes. */
class Body {
  readonly #length: number;
  readonly #chunks: Array<Buffer> = [];
  #whole: Buffer | undefined;
  #at = 0;
  constructor(length: number) {
    this.#length = length;
  }
  /** Adds a chunk; gives how many bytes there are now. */
  add(chunk: Buffer): number {
    const length = this.#length;
    const at = this.#at;
    this.#at += chunk.length;
    if (at === 0 && chunk.length < length && length <= MOST_AT_ONCE) {
      this.#whole = Buffer.allocUnsafeSlow(length);
    } else if (this.#at > length && this.#whole !== undefined) {
      this.#chunks.push(this.#whole.subarray(0, at));
      this.#whole = undefined;
    }
    if (this.#whole === undefined) this.#chunks.push(chunk);
    else chunk.copy(this.#whole, at);
    return this.#at;
  }
  /** Tells whether it is as long as was told: undici sees to that, not every dispatcher in front of it. */
  isWhole(): boolean {
    return Number.isNaN(this.#length) || this.#at === this.#length;
  }
  bytes(): Buffer {
    if (this.#whole !== undefined) return this.#whole.subarray(0, this.#at);
    return this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
  }
}

const flat = (headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>): Headers => {
  const found: Record<string, string | undefined> = {};
  for (const name in headers) {
    const value = headers[name];
    found[name] = typeof value === "object" ? value.join(", ") : value;
  }
  return found;
};

/** The decoder of each coding. */
const unpackers: Readonly<Record<string, (bytes: Buffer) => Transform>> = {
  gzip: () => createGunzip({ chunkSize: CHUNK }),
  "x-gzip": () => createGunzip({ chunkSize: CHUNK }),
  deflate: (bytes) =>
    ContentEncoding.isZlib(bytes)
      ? createInflate({ chunkSize: CHUNK })
      : createInflateRaw({ chunkSize: CHUNK }),
  br: () => createBrotliDecompress({ chunkSize: CHUNK }),
};

/** The bytes that are unpacked at a time. */
const CHUNK = 1 << 16;

/** The most codings that are undone, one after the other. */
const MOST_CODINGS = 3;

/** Undoes one coding; gives what ends it early. */
const unpack = (
  packed: Buffer,
  coding: string,
  onGrowth: Receiver["onGrowth"],
  done: (error: Error | undefined, bytes: Buffer) => void,
): () => void => {
  const stream = unpackers[coding]!(packed);
  // The end of gzip says how long it is, if it is of one piece.
  const isGzip = coding === "gzip" || coding === "x-gzip";
  const body = new Body(isGzip && packed.length >= 4 ? packed.readUInt32LE(packed.length - 4) : NaN);
  const fail = (error: Error) => {
    stream.destroy();
    done(error, packed);
  };
  stream.on("data", (chunk: Buffer) => {
    try {
      const wait = onGrowth(body.add(chunk));
      if (wait === undefined) return;
      stream.pause();
      wait.then(() => stream.resume(), fail);
    } catch (error) {
      fail(error as Error);
    }
  });
  stream.on("error", fail);
  stream.on("end", () => done(undefined, body.bytes()));
  stream.end(packed);
  return () => stream.destroy();
};

/** Makes a transport of a dispatcher of undici's, a proxy's for example. */
export const ofDispatcher = (dispatcher: Dispatcher): typeof Transport.Service => ({
  get: (url, headers, { whenAborted, onHead, onGrowth }) =>
    Effect.async<Uint8Array, unknown>((resume) => {
      const at = url.indexOf("/", url.indexOf("://") + 3);
      let controller: Dispatcher.DispatchController | undefined;
      let body = new Body(NaN);
      let codings: ReadonlyArray<string> = [];
      let aborted: Error | undefined;
      let endUnpacking: (() => void) | undefined;
      const abort = (reason: Error) => {
        aborted = reason;
        controller?.abort(reason);
        endUnpacking?.();
        // Before it has a connection there is nothing to abort, and between two tries of a dispatcher that retries.
        resume(Effect.fail(reason));
      };
      whenAborted(abort);
      const finish = (bytes: Buffer, still: ReadonlyArray<string>): void => {
        const coding = still.at(-1);
        if (aborted !== undefined) return;
        if (coding === undefined) return resume(Effect.succeed(bytes));
        endUnpacking = unpack(bytes, coding, onGrowth, (error, plain) =>
          error === undefined ? finish(plain, still.slice(0, -1)) : resume(Effect.fail(error)));
      };
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
          if (aborted !== undefined) {
            its.abort(aborted);
          }
        },
        onResponseStart: (_, status, headers) => {
          // What only announces the answer is none.
          if (status < 200) {
            return;
          }
          const found = flat(headers);
          codings = ContentEncoding.codingsOf(found["content-encoding"]);
          body = new Body(Number(found["content-length"] ?? NaN));
          onHead(status, found);
        },
        onResponseData: (its, chunk) => {
          try {
            const wait = onGrowth(body.add(chunk));
            if (wait === undefined) {
              return;
            }
            its.pause();
            wait.then(() =>
              its.resume(), abort);
          } catch (error) {
            abort(error as Error);
          }
        },
        onResponseEnd: () => {
          if (!body.isWhole()) {
            return resume(Effect.fail(new Error("the body is not as long as was told")));
          }
          const bytes = body.bytes();
          const areKnown = codings.length <= MOST_CODINGS && codings.every((coding) =>
            Object.hasOwn(unpackers, coding)
          );
          finish(bytes, areKnown && bytes.length > 0 ? codings : []);
        },
        onResponseError: (_, error) =>
          resume(Effect.fail(error)),
      });
    }),
});

/** A function that connects to a place, or says why not. */
type Connect = ReturnType<typeof buildConnector>;

/** Makes a connector whose failures name the proxy that it connects to. */
const connectorTo = (proxy: Proxy.Named): Connect => {
  const connect = buildConnector({});
  return (options, done) =>
    connect(
      options,
      (error, socket) =>
        error === null
          ? done(null, socket)
          : done(new ProxyError(`${proxy.text} can't be reached`, { cause: error }), null),
    );
};

/** The words of undici where a proxy refuses to connect, or wants a password. */
const refused = /^Proxy (?:response|Authentication Required) \((\d+)\)/;

const namingProxy = (transport: typeof Transport.Service, proxy: Proxy.Named): typeof Transport.Service => ({
  get: (url, headers, receiver) =>
    Effect.mapError(transport.get(url, headers, receiver), (error) => {
      const status = error instanceof Error ? Number(refused.exec(error.message)?.[1]) : NaN;
      return Number.isNaN(status) ? error : new ProxyError(`${proxy.text} answered ${status}`, { status });
    }),
});

/** Makes a transport that reaches nothing, and says why. */
const failing = (error: unknown): typeof Transport.Service => ({ get: () => Effect.fail(error) });

/** Makes an agent for proxies, those that undici knows to go past included. */
const through = (http: Proxy.Named | undefined, https: Proxy.Named | undefined): EnvHttpProxyAgent => {
  const pool = (origin: URL, options: object) => {
    const named = [https, http].find((proxy) => proxy?.origin === origin.origin);
    return new Pool(origin, { ...options, ...(named && { connect: connectorTo(named) }) });
  };
  return new EnvHttpProxyAgent({
    // Empty, or undici would read them itself.
    httpProxy: http?.url ?? "",
    httpsProxy: https?.url ?? "",
    pipelining: 1,
    // As other programs do: plain HTTP is asked of the proxy, and only what is encrypted goes through a tunnel.
    proxyTunnel: false,
    clientFactory: pool,
    factory: (origin, options) => pool(new URL(origin), options),
  });
};

/** Makes a transport by way of the proxies that the environment names, if it names any. */
const fromEnvironment = (): {
  readonly agents: ReadonlyArray<Dispatcher>;
  readonly transport: typeof Transport.Service;
} => {
  const { http, https = http } = Proxy.fromEnvironment();
  const direct = new Agent({ pipelining: 1 });
  if (http === undefined && https === undefined) return { agents: [direct], transport: ofDispatcher(direct) };
  const usable = (proxy: typeof http) => proxy instanceof ProxyNameError ? undefined : proxy;
  const agent = through(usable(http), usable(https));
  /** Gives the transport for requests of one kind. */
  const by = (proxy: typeof http) =>
    proxy instanceof ProxyNameError
      ? failing(proxy)
      : proxy === undefined
      ? ofDispatcher(direct)
      : namingProxy(ofDispatcher(agent), proxy);
  // Plain HTTP is for loopback alone, and must not leave the machine by a proxy.
  const isAway = http !== undefined && !(http instanceof ProxyNameError) && !http.isLoopback;
  const [plain, encrypted] = [isAway ? ofDispatcher(direct) : by(http), by(https)];
  return {
    agents: [direct, agent],
    transport: {
      get: (url, headers, receiver) =>
        (url.startsWith("https:") ? encrypted : plain).get(url, headers, receiver),
    },
  };
};

/**
 * Connections of undici's own, as many as there are requests at once, closed with the scope. They go through the proxies
 * that `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name, in upper or lower case.
 *
 * @example
 * ```ts
 * import { Batch, SessionSource, TenantClient } from "monocloud-sessions";
 * import { make, serve } from "monocloud-sessions/sandbox";
 * import * as Undici from "monocloud-sessions/undici";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 *
 * const sandbox = make({ users: 1, sessionsPerUser: 5 });
 * const server = await serve(sandbox);
 * const tenant = TenantClient.layer({ domain: server.url, apiKey: sandbox.key }).pipe(Layer.provide(Undici.layer));
 * const count = SessionSource.batches(Stream.fromIterable(sandbox.userIds())).pipe(
 *   Stream.runFold(0, (sum, batch) => sum + Batch.size(batch)),
 *   Effect.provide(tenant),
 * );
 * console.assert(await Effect.runPromise(count) === 5);
 * await server.close();
 * ```
 */
export const layer: Layer.Layer<Transport> = Layer.scoped(
  Transport,
  Effect.suspend(() => {
    const { agents, transport } = fromEnvironment();
    // What is under way has been interrupted by now: there is nothing to wait for.
    const end = Effect.promise(() => Promise.all(agents.map((agent) => agent.destroy())));
    return Effect.as(Effect.addFinalizer(() => end), transport);
  }),
);
