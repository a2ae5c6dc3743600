/**
 * The proxy that the environment names, without its password.
 *
 * @module
 */
import process from "node:process";
import { ProxyNameError } from "./ProxyError.ts";

const { Deno: deno } = globalThis as {
  readonly Deno?: {
    readonly permissions: {
      readonly querySync: (
        of: { readonly name: "env"; readonly variable: string },
      ) => { readonly state: string };
    };
  };
};

/** Undefined also where Deno would have to ask whether it may be looked at. */
const variable = (name: string): string | undefined =>
  deno !== undefined && deno.permissions.querySync({ name: "env", variable: name }).state !== "granted"
    ? undefined
    : process.env[name]?.trim() || undefined;

/** A variable of the environment by its name in lower case, which counts first, or in upper case. */
const either = (name: string): { readonly name: string; readonly value: string } | undefined =>
  [name, name.toUpperCase()].map((name) => ({ name, value: variable(name) ?? "" }))
    .find(({ value }) => value !== "");

/** A proxy that the environment names. */
export interface Named {
  /** With its user name and its password. */
  readonly url: string;
  /** Scheme, host and port alone. */
  readonly origin: string;
  /** For people: `the proxy http://proxy.example:3128 (HTTPS_PROXY)`. */
  readonly text: string;
}

const named = (variable: string): Named | undefined => {
  const found = either(variable);
  if (found === undefined) return undefined;
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(found.value) ? found.value : `http://${found.value}`;
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    // Its value is not quoted: it may hold a password.
    throw new ProxyNameError(
      `${found.name} must be the URL of a proxy, such as http://proxy.example:3128 or http://USER:PASSWORD@proxy.example:3128`,
    );
  }
  const { origin } = new URL(url);
  return { url, origin, text: `the proxy ${origin} (${found.name})` };
};

/** The proxies that the environment names for each kind of request. Throws a {@link ProxyNameError} for one that is no URL. */
export const fromEnvironment = (): {
  readonly http: Named | undefined;
  readonly https: Named | undefined;
} => ({
  http: named("http_proxy"),
  https: named("https_proxy"),
});
