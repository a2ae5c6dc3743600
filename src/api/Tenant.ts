/**
 * The tenant, and the key to it.
 *
 * @module
 */
import * as Either from "effect/Either";
import * as Redacted from "effect/Redacted";
import * as Schema from "effect/Schema";
import * as Options from "../options/Options.ts";

/** A MonoCloud tenant: where it is, and the key that opens it. */
export interface Tenant {
  /** Scheme and host, nothing after it: `https://acme.eu.monocloud.com`. */
  readonly origin: string;
  /** Never printed, logged or put into an error. */
  readonly apiKey: Redacted.Redacted;
}

/** The address of a tenant and the key to it, as people give them. */
export interface TenantAddress {
  /** The host, with or without `https://`: `acme.eu.monocloud.com`. */
  readonly domain: string;
  readonly apiKey: string | Redacted.Redacted;
}

export const optionNames: Options.Names<TenantAddress> = { domain: Options.text, apiKey: Options.secret };

/** The domain or the key can't be used. The message never holds the key. */
export class TenantError extends Schema.TaggedError<TenantError>()("TenantError", {
  reason: Schema.Literal("Domain", "InsecureTransport", "ApiKey"),
  message: Schema.String,
}) {}

const isLoopback = (hostname: string): boolean =>
  hostname === "localhost" || hostname === "[::1]" || /^127(\.\d{1,3}){3}$/.test(hostname);

const refuse = (reason: TenantError["reason"], message: string) =>
  Either.left(new TenantError({ reason, message }));

// Nothing is quoted but a host: it may hold a password, or be the key, pasted into the wrong place.
const flawOf = (named: string, url: URL | undefined): string | undefined => {
  if (named.includes("@")) return "it holds a user name or a password";
  if (url === undefined || url.hostname === "") return "it is not a host";
  return url.pathname === "/" && url.search === "" && url.hash === ""
    ? undefined
    : "something follows the host";
};

const parseOrigin = (domain: string): Either.Either<string, TenantError> => {
  const named = domain.trim();
  const hasScheme = /^[a-z][a-z0-9+.-]*:\/\//i.test(named);
  const text = hasScheme ? named : `https://${named}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const flaw = flawOf(named, url);
  if (url === undefined || flaw !== undefined) {
    return refuse(
      "Domain",
      `Cannot use the tenant's domain as ${flaw}: give a host such as "acme.eu.monocloud.com", ` +
        "with or without https:// before it and with nothing after it",
    );
  }
  if (!hasScheme && isLoopback(url.hostname)) return Either.right(`http://${url.host}`);
  if (url.protocol === "https:" || (url.protocol === "http:" && isLoopback(url.hostname))) {
    return Either.right(url.origin);
  }
  return refuse(
    "InsecureTransport",
    `Cannot send the API key to ${url.protocol}//${url.host}: use https. Plain http is for loopback addresses alone`,
  );
};

const parseKey = (apiKey: string | Redacted.Redacted): Either.Either<Redacted.Redacted, TenantError> => {
  const key = (Redacted.isRedacted(apiKey) ? Redacted.value(apiKey) : apiKey).trim();
  return /^[\x21-\x7e]+$/.test(key) ? Either.right(Redacted.make(key)) : refuse(
    "ApiKey",
    `Cannot use the API key: it ${key === "" ? "is empty" : "holds characters no header can carry"}`,
  );
};

/**
 * Makes a tenant from its domain, with or without `https://`, and its key. Plain http is refused unless the host is
 * loopback.
 *
 * @example
 * ```ts
 * import { Tenant } from "monocloud-sessions";
 * import * as Either from "effect/Either";
 *
 * const tenant = Either.getOrThrow(Tenant.make({ domain: "acme.eu.monocloud.com", apiKey: "a-key" }));
 * console.assert(tenant.origin === "https://acme.eu.monocloud.com");
 * console.assert(!JSON.stringify(tenant).includes("a-key"));
 * ```
 */
export const make = (options: TenantAddress): Either.Either<Tenant, TenantError> =>
  Either.all({ origin: parseOrigin(options.domain), apiKey: parseKey(options.apiKey) });
