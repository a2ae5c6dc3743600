/**
 * Who may use the worker.
 *
 * With a token, whoever sends it: as a bearer token, or in a cookie that the worker's own page was given for it. Without one,
 * callers on the same machine, as long as they mean this machine: a page of another site, or a name that only resolves to it,
 * does not.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import * as Redacted from "effect/Redacted";

/** The cookie that the page is given. */
export const COOKIE = "worker_token";

const digest = (text: string): Uint8Array => createHash("sha256").update(text).digest();

/** Whether it is the token, in a time that does not tell how much of it is right. */
export const isToken = (token: Redacted.Redacted): (given: string) => boolean => {
  const wanted = digest(Redacted.value(token));
  return (given) => timingSafeEqual(digest(given), wanted);
};

/** Whether an address is this machine's alone: `127.0.0.1`, `::1`, `::ffff:127.0.0.1`. */
export const isLoopback = (address: string): boolean =>
  /^(127(\.\d{1,3}){3}|\[?::1\]?|(::ffff:)127(\.\d{1,3}){3})$/i.test(address);

const ownNames = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;

/** Why a request without a token is not served, by what only a browser can't be made to lie about; undefined if it is. */
export const strangeness = (request: Request): string | undefined => {
  const { host } = new URL(request.url);
  if (!ownNames.test(request.headers.get("host") ?? host)) {
    return `${host} is not a name of this machine: without WORKER_TOKEN only localhost is served`;
  }
  return undefined;
};

/** Whether a page of another site sent it. Who is no browser sends none of these headers. */
export const isCrossSite = (request: Request): boolean => {
  const site = request.headers.get("sec-fetch-site");
  if (site !== null) return site !== "same-origin" && site !== "none";
  const origin = request.headers.get("origin");
  return origin !== null && new URL(origin, "http://none.invalid").host !== request.headers.get("host");
};
