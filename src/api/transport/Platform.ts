/**
 * The transport of the command line and the server: undici on Node, and `fetch` elsewhere, through the proxies that the
 * environment names.
 */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Proxy from "./Proxy.ts";
import { ProxyError, ProxyNameError } from "./ProxyError.ts";
import * as Transport from "./Transport.ts";

/** The words of a `fetch` that has not come further than to a proxy, or was refused by it. */
const ofProxy = /proxy|tunnel|\(Connect\)|dns error|tcp connect error|failed to lookup/i;

/** Gives all that an error and its causes say. */
const wordsOf = (error: unknown): string =>
  error instanceof Error ? `${error.message} ${wordsOf(error.cause)}` : "";

/**
 * Makes a transport of the runtime's `fetch`, whose failures name the proxy that it goes through. Through a proxy, neither
 * the name of the tenant is looked up here nor a connection to it made.
 */
const fetching = (): typeof Transport.Transport.Service => {
  const transport = Transport.ofFetch((input, init) => globalThis.fetch(input, init));
  const { http, https } = Proxy.fromEnvironment();
  return {
    get: (url, headers, receiver) => {
      const isEncrypted = url.startsWith("https:");
      const proxy = isEncrypted ? https : http;
      const asked = transport.get(url, headers, receiver);
      if (proxy === undefined || Proxy.isExcepted(url)) return asked;
      if (proxy instanceof ProxyNameError) return Effect.fail(proxy);
      if (!isEncrypted && !proxy.isLoopback) return Effect.fail(Proxy.plainText(proxy));
      return Effect.mapError(asked, (error) => {
        const words = wordsOf(error);
        return ofProxy.test(words) && !words.includes("certificate")
          ? new ProxyError(`by ${proxy.text}`, { cause: error })
          : error;
      });
    },
  };
};

const hasOwnProxies = "Deno" in globalThis || "Bun" in globalThis;

/** Undici is loaded only when it is used. */
export const transport: Layer.Layer<Transport.Transport> = Layer.unwrapEffect(
  Effect.promise(async () =>
    hasOwnProxies ? Layer.sync(Transport.Transport, fetching) : (await import("./Undici.ts")).layer
  ),
);
