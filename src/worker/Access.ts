/**
 * Who may use the worker.
 *
 * With a token, whoever sends it: as a bearer token, or in a cookie that the worker's own page was given for it. Without one,
 * callers on the same machine, as long as they mean this machine: a name that only resolves to it is not served. Pages of
 * other sites are served neither way.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import * as Redacted from "effect/Redacted";

/** The cookie that the page is given. */
export const COOKIE = "worker_token";

/** The most bytes that a request's body may have, 16 MiB: a list of some 400,000 users. */
export const BODY_BYTES = 16 * 2 ** 20;

const digest = (text: string): Uint8Array => createHash("sha256").update(text).digest();

/** Whether it is the token, in a time that does not tell how much of it is right. */
export const isToken = (token: Redacted.Redacted): (given: string) => boolean => {
  const wanted = digest(Redacted.value(token));
  return (given) => timingSafeEqual(digest(given), wanted);
};

/** Whether an address is this machine's alone: `127.0.0.1`, `::1`, `::ffff:127.0.0.1`. */
export const isLoopback = (address: string): boolean =>
  /^((::ffff:)?127(\.\d{1,3}){3}|\[?::1\]?|localhost)$/i.test(address);

/** Why the worker does not listen there without a token. */
export const needsToken = (hostname: string): string =>
  `Without a token the worker listens on loopback alone, and ${hostname} is not: set WORKER_TOKEN ` +
  "(openssl rand -hex 32 makes one), or listen on 127.0.0.1";

const ownNames = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;

/** A request that is not let through, whatever it asks for. */
export interface Refusal {
  readonly status: 403 | 405 | 411 | 413;
  readonly message: string;
}

/** Whether a page of another site sent it. Who is no browser sends none of these headers. */
const isCrossSite = ({ headers }: Request): boolean => {
  const site = headers.get("sec-fetch-site");
  if (site !== null) return site !== "same-origin" && site !== "none";
  const origin = headers.get("origin");
  return origin !== null && (!URL.canParse(origin) || new URL(origin).host !== headers.get("host"));
};

/** Why a request is not let through; undefined if it is. `from` is the address it came from, as far as that is known. */
export const refusalOf = (
  request: Request,
  from: string | undefined,
  hasToken: boolean,
): Refusal | undefined => {
  const { method, headers } = request;
  const { host, pathname } = new URL(request.url);
  if (!hasToken && (from === undefined || !isLoopback(from))) {
    return { status: 403, message: "Without WORKER_TOKEN only callers on the same machine are served" };
  }
  if (!hasToken && !ownNames.test(headers.get("host") ?? host)) {
    return {
      status: 403,
      message: "Without WORKER_TOKEN only localhost is served, and not by another name that leads to it",
    };
  }
  const isOpen = pathname === "/" || pathname === "/health" || pathname === "/ready";
  if (!isOpen && isCrossSite(request)) {
    return { status: 403, message: "A page of another site can't use this worker" };
  }
  if (method === "HEAD" && pathname.startsWith("/v1/users/")) {
    return { status: 405, message: "What sessions there are is known only by walking them: use GET" };
  }
  const length = headers.get("content-length");
  // Nothing else reads a body.
  if (length === null && method === "POST" && pathname === "/v1/exports") {
    return { status: 411, message: "Say with Content-Length how long the body is" };
  }
  if (Number(length ?? 0) > BODY_BYTES) {
    return { status: 413, message: `A body may have ${BODY_BYTES} bytes: name fewer users in one export` };
  }
};
