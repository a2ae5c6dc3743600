/**
 * Who may use the server.
 *
 * With a token, whoever sends it: as a bearer token, or in a cookie that the server's own page was given for it. Without one,
 * callers on the same machine, as long as they mean this machine: a name that only resolves to it is not served, and neither
 * is what a proxy passes on. Pages of other sites are served neither way.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import * as Redacted from "effect/Redacted";
import type { Arrival } from "./Arrival.ts";
import * as Problem from "./Problem.ts";

/** The cookie that the page is given. */
export const COOKIE = "worker_token";

/** The most bytes that a request's body may have, 16 MiB: a list of some 400,000 users. */
export const BODY_BYTES = 16 * 2 ** 20;

const digest = (text: string): Uint8Array => createHash("sha256").update(text).digest();

/** Compare with the token, in a time that does not tell how much of it is right. */
export const isToken = (token: Redacted.Redacted): (given: string) => boolean => {
  const wanted = digest(Redacted.value(token));
  return (given) => timingSafeEqual(digest(given), wanted);
};

/** Tell whether an address is this machine's alone: `127.0.0.1`, `::1`, `::ffff:127.0.0.1`. */
export const isLoopback = (address: string): boolean =>
  /^((::ffff:)?127(\.\d{1,3}){3}|\[?::1\]?|localhost)$/i.test(address);

/** Say why the server does not listen there without a token. */
export const needsToken = (hostname: string): string =>
  `Without a token the server listens on loopback alone, and ${hostname} is not: set WORKER_TOKEN ` +
  "(openssl rand -hex 32 makes one), or listen on 127.0.0.1";

const ownNames = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;

/** Tell whether a page of another site sent it. Only browsers send these headers. */
const isCrossSite = ({ headers }: Request): boolean => {
  const site = headers.get("sec-fetch-site");
  if (site !== null) return site !== "same-origin" && site !== "none";
  const origin = headers.get("origin");
  return origin !== null && (!URL.canParse(origin) || new URL(origin).host !== headers.get("host"));
};

/**
 * The headers in which proxies, balancers and networks of them say whose request they pass on, or where it was to go.
 *
 * Of those that name an address there are too many to list: any header counts whose name ends with `ip` or an address.
 */
const ofProxies = [
  /^(forwarded|x-forwarded.*|via|cdn-loop|x-original-.*|x-originating-.*|x-rewrite-url|x-proxy.*)$/,
  /^(cf|fastly|akamai|incap|fly|x-envoy|x-amzn?|x-amz-cf|x-azure|x-fd|x-vercel|x-nf|x-appengine|x-goog|x-arr|x-sucuri)-.*$/,
  /^(.*[-_])?(client|connecting|real|remote|source|src|user|cluster)?[-_]?(ip|ips|ipv4|ipv6|addr|address)$/,
];

/** Tell whether a proxy says that it passes the request on. Not every proxy does. */
const isPassedOn = ({ headers }: Request): boolean =>
  [...headers.keys()].some((name) => ofProxies.some((pattern) => pattern.test(name)));

/**
 * Tell whether there may be a body of unknown length. In HTTP/1 one of two headers announces a body; HTTP/2, which has no
 * Host, needs neither.
 */
const mayBeEndless = ({ method, headers }: Request): boolean =>
  headers.has("transfer-encoding") ||
  (!headers.has("host") && !headers.has("content-length") && method !== "GET" && method !== "HEAD");

const forbidden = (detail: string) => Problem.make("forbidden", detail);

/** Say why a request is not let through; undefined if it is. */
export const refusalOf = (
  request: Request,
  { from, version }: Arrival,
  hasToken: boolean,
): Problem.Problem | undefined => {
  const { headers } = request;
  if (!URL.canParse(request.url)) {
    return Problem.make("invalid-request", "The URL can't be read: check the path and the header Host");
  }
  const { host, pathname } = new URL(request.url);
  if (!hasToken && (from === undefined || !isLoopback(from))) {
    return forbidden("Without WORKER_TOKEN only callers on the same machine are served");
  }
  if (!hasToken && isPassedOn(request)) {
    return forbidden(
      "A proxy makes everyone a caller on this machine: set WORKER_TOKEN, and have callers send it",
    );
  }
  if (!hasToken && !ownNames.test(headers.get("host") ?? host)) {
    return forbidden(
      "Without WORKER_TOKEN only localhost is served, and not by another name that leads to it",
    );
  }
  const isProbe = pathname === "/health" || pathname === "/ready";
  if (!isProbe && version !== undefined && Number(version) < 1.1) {
    return Problem.make(
      "http-version",
      "Use HTTP/1.1: before it, a body that is broken off looks like a whole one. " +
        "A proxy may have to be told so (nginx: proxy_http_version 1.1)",
    );
  }
  if (version === "1.1" && !headers.has("host")) {
    return Problem.make("invalid-request", "Send the header Host, as HTTP/1.1 wants it");
  }
  // What another site may lead to: a page is there for people who follow links.
  const isOpen = pathname === "/" || pathname === "/docs" || isProbe;
  if (!isOpen && isCrossSite(request)) {
    return forbidden("A page of another site can't use this server");
  }
  if (mayBeEndless(request)) {
    return Problem.make("length-required", "Say with Content-Length how long the body is");
  }
  if (Number(headers.get("content-length") ?? 0) > BODY_BYTES) {
    const most = `A body may have ${BODY_BYTES} bytes: name fewer users in one export`;
    return Problem.make("body-too-large", most);
  }
};
