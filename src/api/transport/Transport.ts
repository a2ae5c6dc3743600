/**
 * The transport of a request and its answer: the one thing that differs between runtimes. Policy is none of its business: it
 * follows no redirect, repeats nothing, and has no limit of time or size.
 *
 * @module
 */
import * as HttpClient from "@effect/platform/HttpClient";
import * as HttpClientRequest from "@effect/platform/HttpClientRequest";
import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
import * as Context from "effect/Context";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Option from "effect/Option";
import * as Stream from "effect/Stream";
import * as ContentEncoding from "./ContentEncoding.ts";

/** By name in lower case. */
export type Headers = Readonly<Record<string, string | undefined>>;

/** A listener to a request that is under way. */
export interface Receiver {
  /**
   * Called before anything is sent. To abort ends the request, with its connection unless that is as good as new: the effect
   * then fails with that reason.
   */
  readonly whenAborted: (abort: (reason: Error) => void) => void;
  /** Called as soon as an answer begins: its body may be long in coming, or never come. */
  readonly onHead: (status: number, headers: Headers) => void;
  /**
   * Called each time the body has grown, with its bytes so far, first as sent and then as unpacked. Throws if it may not be
   * that large: the request then ends with what was thrown. While a promise is open, no more of the body is taken.
   */
  readonly onGrowth: (bytes: number) => Promise<void> | undefined;
}

/** A transport of requests and their answers. */
export class Transport extends Context.Tag("monocloud-sessions/Transport")<Transport, {
  /**
   * Makes a GET request and gives the body of the answer, whatever its status, whole and uncompressed. A body in a coding
   * that is not known is given as it came. Fails with whatever kept it from coming. Interrupting the effect is not enough to
   * end the request: whoever does it aborts as well.
   */
  readonly get: (
    url: string,
    headers: Readonly<Record<string, string>>,
    receiver: Receiver,
  ) => Effect.Effect<Uint8Array, unknown>;
}>() {}

/** The bytes of the buffer that a body begins with. */
const FIRST_BUFFER = 1 << 15;

/** Gathers a body. Chunks are copied: each may be a few bytes of a buffer of its own, as under Deno. */
class Chunks {
  #buffer = new Uint8Array(FIRST_BUFFER);
  #size = 0;
  /** Adds a chunk; what {@link Receiver.onGrowth} gives has to be waited for. */
  add(chunk: Uint8Array, { onGrowth }: Receiver): Promise<void> | undefined {
    const size = this.#size + chunk.length;
    const wait = onGrowth(size);
    if (size > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(size, 2 * this.#buffer.length));
      larger.set(this.#buffer.subarray(0, this.#size));
      this.#buffer = larger;
    }
    this.#buffer.set(chunk, this.#size);
    this.#size = size;
    return wait;
  }
  /** Give what is there, in a buffer of its own unless it fills most of the one there is. */
  whole(): Uint8Array {
    const [buffer, size] = [this.#buffer, this.#size];
    return size > 0.75 * buffer.length ? buffer.subarray(0, size) : buffer.slice(0, size);
  }
}

const gather = async (
  stream: ReadableStream<Uint8Array>,
  receiver: Receiver,
  signal?: AbortSignal,
): Promise<Uint8Array> => {
  const chunks = new Chunks();
  const reader = stream.getReader();
  // Whatever comes of it: nobody reads on.
  const leave = (reason: unknown) => void reader.cancel(reason).catch(() => {});
  // Not every fetch heeds the signal.
  signal?.addEventListener("abort", () => leave(signal.reason), { once: true });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      signal?.throwIfAborted();
      if (done) return chunks.whole();
      await chunks.add(value, receiver);
    }
  } catch (error) {
    leave(error);
    throw error;
  }
};

/** Finds the format of a body that a runtime has not unpacked; undefined if it has, or the coding is not known. */
const packedAs = (bytes: Uint8Array, headers: Headers): CompressionFormat | undefined => {
  const [coding, ...more] = ContentEncoding.codingsOf(headers["content-encoding"]);
  const [first = 0, second] = bytes;
  if (more.length > 0) return undefined;
  if (coding === "gzip" || coding === "x-gzip") {
    return first === 0x1f && second === 0x8b ? "gzip" : undefined;
  }
  // No text begins with such a byte, but for a mark of its order.
  const isText = first === 0xef || (first >= 0x20 && first < 0x7f) || (first >= 9 && first <= 13);
  if (coding !== "deflate" || isText && !ContentEncoding.isZlib(bytes)) return undefined;
  return ContentEncoding.isZlib(bytes) ? "deflate" : "deflate-raw";
};

/** Unpacks what the runtime has not: Deno's `fetch` knows neither `x-gzip` nor `deflate`. */
const unpacked = async (bytes: Uint8Array, headers: Headers, receiver: Receiver): Promise<Uint8Array> => {
  const format = packedAs(bytes, headers);
  if (format === undefined) return bytes;
  const packed = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream();
  return await gather(packed.pipeThrough(new DecompressionStream(format)), receiver);
};

/** The most bytes of a body that is taken in one piece, where its length was told. */
const ONE_PIECE = 1 << 20;

/** Any `fetch`, told what else each request should be. Its redirects are never followed. */
export const ofFetch = (
  fetch: typeof globalThis.fetch,
  init: RequestInit = {},
): typeof Transport.Service => ({
  get: (url, headers, receiver) =>
    Effect.async<Uint8Array, unknown>((resume) => {
      const controller = new AbortController();
      receiver.whenAborted((reason) => {
        controller.abort(reason);
        // Not every fetch heeds the signal.
        resume(Effect.fail(reason));
      });
      const bodyOf = async () => {
        const { signal } = controller;
        const response = await fetch(url, { ...init, headers, redirect: "manual", signal });
        const found: Headers = Object.fromEntries(response.headers);
        receiver.onHead(response.status, found);
        if (response.body === null) return new Uint8Array();
        const length = Number(found["content-length"] ?? NaN);
        // Deno takes a length and chunks as well, of which the chunks count.
        const isOnePiece = length <= ONE_PIECE &&
          found["content-encoding"] === undefined && found["transfer-encoding"] === undefined;
        const body = isOnePiece
          ? new Uint8Array(await response.arrayBuffer())
          : await gather(response.body, receiver, signal);
        if (isOnePiece) receiver.onGrowth(body.length);
        return await unpacked(body, found, receiver);
      };
      bodyOf().then((body) => resume(Effect.succeed(body)), (cause) => {
        controller.abort(cause);
        resume(Effect.fail(cause));
      });
    }),
});

/**
 * Makes requests by the `fetch` given, or by the runtime's own at the time of the request.
 *
 * @example
 * ```ts
 * import { Batch, SessionSource, TenantClient, Transport } from "monocloud-sessions";
 * import { make } from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 *
 * const sandbox = make({ users: 1, sessionsPerUser: 5 });
 * const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const count = SessionSource.batches(Stream.fromIterable(sandbox.userIds())).pipe(
 *   Stream.runFold(0, (sum, batch) => sum + Batch.size(batch)),
 *   Effect.provide(tenant),
 * );
 * console.assert(await Effect.runPromise(count) === 5);
 * ```
 */
export const fetch = (
  fetch: typeof globalThis.fetch = (input, init) => globalThis.fetch(input, init),
  init?: RequestInit,
): Layer.Layer<Transport> => Layer.succeed(Transport, ofFetch(fetch, init));

/**
 * An `HttpClient` of the caller's, with whatever it has been made to do: proxies, logs, counts. It costs several times as
 * much CPU time a request as the others here. One that follows redirects would take the key along.
 */
export const httpClient: Layer.Layer<Transport, never, HttpClient.HttpClient> = Layer.effect(
  Transport,
  Effect.gen(function* () {
    // A span of the client's own would carry headers of the answer and the words of errors: either may quote the key.
    const client = HttpClient.withTracerDisabledWhen(yield* HttpClient.HttpClient, () => true);
    const own = Option.getOrUndefined(yield* Effect.serviceOption(FetchHttpClient.RequestInit));
    const init: RequestInit = { ...own, redirect: "manual" };
    const aborted = ({ whenAborted }: Receiver) =>
      Effect.async<never, unknown>((resume) => whenAborted((reason) => resume(Effect.fail(reason))));
    const attempt = <A>(work: () => Promise<A>) => Effect.tryPromise({ try: work, catch: (cause) => cause });
    return {
      get: (url, headers, receiver) =>
        Effect.raceFirst(
          aborted(receiver),
          client.execute(HttpClientRequest.get(url, { headers })).pipe(
            // The client's error holds the request, and with it the key: only what is beneath it is passed on.
            Effect.mapError((error) => error.cause ?? new Error(error.message)),
            Effect.flatMap((response) => {
              receiver.onHead(response.status, response.headers);
              const chunks = new Chunks();
              return response.stream.pipe(
                Stream.mapError((error) => error.cause ?? new Error(error.message)),
                Stream.runForEach((chunk) => attempt(async () => await chunks.add(chunk, receiver))),
                Effect.zipRight(attempt(() => unpacked(chunks.whole(), response.headers, receiver))),
              );
            }),
            Effect.provideService(FetchHttpClient.RequestInit, init),
          ),
        ),
    };
  }),
);
