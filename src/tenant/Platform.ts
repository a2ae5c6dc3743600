/**
 * How a program of its own reaches the tenant: by undici on Node, and by `fetch` elsewhere, through the proxies that the
 * environment names.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Proxy from "./Proxy.ts";
import { ProxyError } from "./ProxyError.ts";
import * as Transport from "./Transport.ts";

/** The words of a `fetch` about a proxy. */
const ofProxy = /proxy|tunnel/i;

/** The runtime's `fetch`, whose failures name the proxy that it may have gone through. */
const fetching = (): typeof Transport.Transport.Service => {
  const transport = Transport.ofFetch((input, init) => globalThis.fetch(input, init));
  return {
    get: (url, headers, receiver) =>
      Effect.mapError(transport.get(url, headers, receiver), (error) => {
        const { http, https } = Proxy.fromEnvironment();
        const proxy = url.startsWith("https:") ? https : http;
        if (proxy === undefined || !(error instanceof Error)) return error;
        const Named = ofProxy.test(error.message) ? ProxyError : Error;
        return new Named(`by ${proxy.text}, unless NO_PROXY has the host`, { cause: error });
      }),
  };
};

const hasOwnProxies = "Deno" in globalThis || "Bun" in globalThis;

/** Undici is loaded only when it is used. */
export const transport: Layer.Layer<Transport.Transport> = Layer.unwrapEffect(
  Effect.promise(async () =>
    hasOwnProxies ? Layer.sync(Transport.Transport, fetching) : (await import("./Undici.ts")).layer
  ),
);
