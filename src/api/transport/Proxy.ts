/** The proxy that the environment names, without its password. */
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

/** Reads a variable of the environment. Undefined also where Deno would have to ask whether it may be looked at. */
const variable = (name: string): string | undefined =>
  deno !== undefined && deno.permissions.querySync({ name: "env", variable: name }).state !== "granted"
    ? undefined
    : process.env[name]?.trim() || undefined;

/** Finds a variable of the environment by its name in lower case, which counts first, or in upper case. */
const either = (name: string): { readonly name: string; readonly value: string } | undefined =>
  [name, name.toUpperCase()].map((name) => ({ name, value: variable(name) ?? "" }))
    .find(({ value }) => value !== "");

export interface Named {
  /** With its user name and its password. */
  readonly url: string;
  /** Scheme, host and port alone. */
  readonly origin: string;
  /** For people: `the proxy http://proxy.example:3128 (HTTPS_PROXY)`. */
  readonly text: string;
  readonly isLoopback: boolean;
}

const isUsable = (url: string): boolean => {
  if (!URL.canParse(url)) return false;
  const { protocol, username, password } = new URL(url);
  try {
    decodeURIComponent(username + password);
  } catch {
    return false;
  }
  return protocol === "http:" || protocol === "https:";
};

const named = (variable: string): Named | ProxyNameError | undefined => {
  const found = either(variable);
  if (found === undefined) return undefined;
  const url = /^[a-z][a-z0-9+.-]*:\/\//i.test(found.value) ? found.value : `http://${found.value}`;
  if (!isUsable(url)) {
    // Its value is not quoted: it may hold a password.
    return new ProxyNameError(
      `${found.name} must be the URL of a proxy, such as http://proxy.example:3128 or ` +
        "http://USER:PASSWORD@proxy.example:3128, with % in a password written as %25",
    );
  }
  const { origin, hostname } = new URL(url);
  const isLoopback = /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname);
  return { url, origin, isLoopback, text: `the proxy ${origin} (${found.name})` };
};

/** The proxies that the environment names for each kind of request, or why one can't be used. */
export const fromEnvironment = (): {
  readonly http: Named | ProxyNameError | undefined;
  readonly https: Named | ProxyNameError | undefined;
} => ({ http: named("http_proxy"), https: named("https_proxy") });

/**
 * Tells whether `NO_PROXY` has the host of a URL, as it is or by the end of its name. Deno knows neither `*` nor ports
 * there.
 */
export const isExcepted = (url: string): boolean => {
  const { hostname } = new URL(url);
  return (either("no_proxy")?.value ?? "").split(/[\s,]+/).some((entry) => {
    const name = entry.toLowerCase().replace(/^\./, "");
    return name !== "" && (hostname === name || hostname.endsWith(`.${name}`));
  });
};

/** Makes the error of a request that is not sent: its key would leave the machine in plain text. */
export const plainText = ({ text }: Named): ProxyNameError =>
  new ProxyNameError(
    `${text} would get the key in plain text: name the tenant's host in NO_PROXY, as it is on this machine`,
  );
