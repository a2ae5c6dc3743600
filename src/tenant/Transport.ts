/**
 * How the bytes of a request and its answer travel: the one thing that differs between runtimes. Policy is none of its
 * business: it follows no redirect, repeats nothing, and has no limit of time.
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

/** By name in lower case. */
export type Headers = Readonly<Record<string, string | undefined>>;

/** What is called as soon as an answer begins: its body may be long in coming, or never come. */
export type OnHead = (status: number, headers: Headers) => void;

/** What is told, once a request has begun, how it is ended: its effect then fails with that reason. */
export type WhenAborted = (abort: (reason: Error) => void) => void;

/** What brings a request to the tenant and its answer back. */
export class Transport extends Context.Tag("monocloud-sessions/Transport")<Transport, {
  /**
   * Makes a GET request and gives the body of the answer, whatever its status, whole and uncompressed. Fails with whatever
   * kept it from coming. `whenAborted` is called before anything is sent, and to abort ends the request, with its
   * connection unless that is as good as new. Interrupting the effect is not enough: whoever does it aborts as well.
   */
  readonly get: (
    url: string,
    headers: Readonly<Record<string, string>>,
    onHead: OnHead,
    whenAborted: WhenAborted,
  ) => Effect.Effect<Uint8Array, unknown>;
}>() {}

/** Any `fetch`, told what else each request should be. Its redirects are never followed. */
export const ofFetch = (
  fetch: typeof globalThis.fetch,
  init: RequestInit = {},
): typeof Transport.Service => ({
  get: (url, headers, onHead, whenAborted) =>
    Effect.async<Uint8Array, unknown>((resume) => {
      const controller = new AbortController();
      whenAborted((reason) => {
        controller.abort(reason);
        // Not every fetch heeds the signal.
        resume(Effect.fail(reason));
      });
      const bodyOf = async () => {
        const { signal } = controller;
        const response = await fetch(url, { ...init, headers, redirect: "manual", signal });
        onHead(response.status, Object.fromEntries(response.headers));
        return new Uint8Array(await response.arrayBuffer());
      };
      bodyOf().then((body) => resume(Effect.succeed(body)), (cause) => resume(Effect.fail(cause)));
    }),
});

/**
 * The `fetch` given, or the runtime's own at the time of the request.
 *
 * @example
 * ```ts
 * import { HttpPolicy, SessionsApi, Transport } from "monocloud-sessions";
 * import { make } from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 *
 * const sandbox = make({ users: 1 });
 * const [userId = ""] = sandbox.userIds();
 * const tenant = HttpPolicy.connect({ domain: "sandbox.example", apiKey: sandbox.key }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const page = await Effect.runPromise(Effect.provide(SessionsApi.page(userId, { page: 1, size: 5 }), tenant));
 * console.assert(page.rows.length <= 5);
 * ```
 */
export const fetch = (
  fetch: typeof globalThis.fetch = (input, init) => globalThis.fetch(input, init),
  init?: RequestInit,
): Layer.Layer<Transport> => Layer.succeed(Transport, ofFetch(fetch, init));

/**
 * An `HttpClient` of the caller's, with whatever it has been made to do: proxies, logs, counts. It costs several times as much
 * CPU time a request as the others here. One that follows redirects would take the key along.
 */
export const httpClient: Layer.Layer<Transport, never, HttpClient.HttpClient> = Layer.effect(
  Transport,
  Effect.gen(function* () {
    // A span of the client's own would carry headers of the answer and the words of errors: either may quote the key.
    const client = HttpClient.withTracerDisabledWhen(yield* HttpClient.HttpClient, () => true);
    const own = Option.getOrUndefined(yield* Effect.serviceOption(FetchHttpClient.RequestInit));
    const init: RequestInit = { ...own, redirect: "manual" };
    const aborted = (whenAborted: WhenAborted) =>
      Effect.async<never, unknown>((resume) => whenAborted((reason) => resume(Effect.fail(reason))));
    return {
      get: (url, headers, onHead, whenAborted) =>
        Effect.raceFirst(
          aborted(whenAborted),
          client.execute(HttpClientRequest.get(url, { headers })).pipe(
            Effect.flatMap((response) => {
              onHead(response.status, response.headers);
              return response.arrayBuffer;
            }),
            Effect.provideService(FetchHttpClient.RequestInit, init),
            // The client's error holds the request, and with it the key: only what is beneath it is passed on.
            Effect.mapBoth({
              onSuccess: (body) => new Uint8Array(body),
              onFailure: (error) => error.cause ?? new Error(error.message),
            }),
          ),
        ),
    };
  }),
);
