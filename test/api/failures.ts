/**
 * Every way in which a request fails: what the tenant does, and what becomes of it.
 */
import type { ApiErrorReason } from "../../src/api/ApiError.ts";
import type { Answer } from "./asking.ts";

export interface Failure {
  readonly what: string;
  /** The tenant's behaviour; it puts the given words wherever it has something to say. */
  readonly answer: (words: string) => Answer;
  readonly reason: ApiErrorReason;
  readonly status?: number;
  readonly retried: boolean;
  /** How long an attempt takes, in milliseconds. */
  readonly takes?: number;
  /** The message between the URL and the advice, given the words. */
  readonly says: (words: string) => string;
  readonly advises: string;
}

const problem = (status: number, title: string, more: (words: string) => object = () => ({})) =>
(
  words: string,
): Answer =>
() =>
  new Response(
    JSON.stringify({
      type: `https://httpstatuses.io/${status}`,
      title,
      status,
      detail: words,
      instance: `/api/${words}`,
      ...more(words),
    }),
    { status, headers: { "content-type": "application/problem+json" } },
  );

const page = (status: number, words: string): Answer => () =>
  new Response(`<html><title>${words}</title></html>`, { status, headers: { "content-type": "text/html" } });

const redirect = (status: number) => (words: string): Answer => () =>
  new Response(words, { status, headers: { location: `https://elsewhere.example/?${encodeURI(words)}` } });

const body =
  (make: (words: string) => BodyInit, type = "application/json") => (words: string): Answer => () =>
    new Response(make(words), { headers: { "content-type": type } });

const bytes = (...chunks: ReadonlyArray<string>) => chunks.map((chunk) => new TextEncoder().encode(chunk));

/** A body that begins and is then cut off, or never ends. */
const broken = (text: string, end: (controller: ReadableStreamDefaultController) => void | Promise<void>) => {
  const chunks = bytes(text);
  return new ReadableStream({
    pull(controller) {
      const chunk = chunks.shift();
      return chunk === undefined ? end(controller) : controller.enqueue(chunk);
    },
  }, { highWaterMark: 0 });
};

const never = new Promise<never>(() => {});

const ADVICE = {
  serverError: "The tenant failed to answer: try again later.",
  unexpected: "The documentation knows no such answer: check the domain.",
  redirect: "Redirects are never followed, for the key must not reach another host: check the domain.",
  transport: "The connection failed: check the domain and the network.",
  timeout: "The tenant took too long: allow more time, or ask for smaller pages.",
  webPage:
    "A web page answered in the API's place: check the domain. On a network with a sign-in page, sign in there " +
    "first; a firewall may have blocked the request.",
  proxy:
    "The proxy did not let the request through: check HTTPS_PROXY, with its user name and password, or name " +
    "the tenant in NO_PROXY.",
  contentType: "Something other than the API answered, such as a proxy: check the domain.",
  body: "The answer was cut off or is not the JSON array it should be.",
};

const refused = (
  status: number,
  title: string,
  reason: ApiErrorReason,
  advises: string,
  retried = false,
): Failure => ({
  what: `${status}`,
  answer: problem(status, title),
  reason,
  status,
  retried,
  says: (words) => `${status} ${title}: ${words}`,
  advises,
});

export const failures: ReadonlyArray<Failure> = [
  refused(
    400,
    "Bad Request",
    "BadRequest",
    "The tenant did not understand the request: check user ids, client id and sort.",
  ),
  refused(
    401,
    "Unauthorized",
    "Unauthorized",
    "The API key was refused: check that it is a key of this tenant and still valid.",
  ),
  refused(
    402,
    "Payment Required",
    "PaymentRequired",
    "The tenant's plan does not include session management.",
  ),
  refused(
    403,
    "Forbidden",
    "Forbidden",
    "The API key is valid but may not read this: give it the permission in the tenant's settings.",
  ),
  refused(
    404,
    "Not Found",
    "NotFound",
    "There is no such user, or this is not a MonoCloud tenant: check the id and the domain.",
  ),
  refused(409, "Conflict", "Conflict", "The tenant reports a conflict: try again later."),
  {
    ...refused(422, "Unprocessable Entity", "Unprocessable", "The tenant refused a parameter."),
    what: "422 with errors by field",
    answer: problem(422, "Unprocessable Entity", (words) => ({
      type: "https://httpstatuses.io/422#validation-error",
      errors: { size: ["must be at most 100", "is odd"], [`sort ${words}`]: [words] },
    })),
    says: (words) =>
      `422 Unprocessable Entity: ${words}: size: must be at most 100; size: is odd; sort ${words}: ${words}`,
  },
  {
    ...refused(422, "Unprocessable Entity", "Unprocessable", "The tenant refused a parameter."),
    what: "422 with errors by code",
    answer: problem(422, "Unprocessable Entity", (words) => ({
      type: "https://httpstatuses.io/422#identity-validation-error",
      errors: [{ code: "InvalidSort", description: words }, { code: words }, { description: "No code" }],
    })),
    says: (words) => `422 Unprocessable Entity: ${words}: InvalidSort: ${words}; ${words}; No code`,
  },
  refused(
    429,
    "Too Many Requests",
    "RateLimited",
    "The tenant limits the rate of requests: lower --rate or raise --max-elapsed.",
    true,
  ),
  refused(408, "Request Timeout", "UnexpectedStatus", ADVICE.unexpected, true),
  refused(425, "Too Early", "UnexpectedStatus", ADVICE.unexpected, true),
  refused(418, "I'm a teapot", "UnexpectedStatus", ADVICE.unexpected),
  refused(500, "Internal Server Error", "ServerError", ADVICE.serverError, true),
  refused(503, "Service Unavailable", "ServerError", ADVICE.serverError, true),
  refused(501, "Not Implemented", "ServerError", ADVICE.serverError),
  ...[502, 504].map((status): Failure => ({
    what: `${status} as a proxy says it, in HTML`,
    answer: (words) => page(status, words),
    reason: "ServerError",
    status,
    retried: true,
    says: () => `${status} ServerError`,
    advises: ADVICE.serverError,
  })),
  {
    what: "a success that is not 200",
    answer: () => () => new Response(null, { status: 204 }),
    reason: "UnexpectedStatus",
    status: 204,
    retried: false,
    says: () => "204 UnexpectedStatus",
    advises: ADVICE.unexpected,
  },
  ...[301, 302, 307, 308].map((status): Failure => ({
    what: `${status}`,
    answer: redirect(status),
    reason: "Redirect",
    status,
    retried: false,
    says: (words) => `${status} Redirect: it points to https://elsewhere.example/?${encodeURI(words)}`,
    advises: ADVICE.redirect,
  })),
  {
    what: "a redirect as a browser shows it",
    answer: () => () => Response.error(),
    reason: "Redirect",
    status: 0,
    retried: false,
    says: () => "0 Redirect",
    advises: ADVICE.redirect,
  },
  {
    what: "a refusal whose body is cut off",
    answer: () => () =>
      new Response(broken("{", (controller) => controller.error(new TypeError("terminated"))), {
        status: 401,
      }),
    reason: "Unauthorized",
    status: 401,
    retried: false,
    says: () => "401 Unauthorized",
    advises: "The API key was refused: check that it is a key of this tenant and still valid.",
  },
  {
    what: "a refusal whose body never ends",
    answer: () => () => new Response(broken("{", () => never), { status: 403 }),
    reason: "Forbidden",
    status: 403,
    retried: false,
    says: () => "403 Forbidden",
    advises: "The API key is valid but may not read this: give it the permission in the tenant's settings.",
  },
  {
    what: "a transport failure",
    answer: (words) => () =>
      Promise.reject(
        new TypeError("fetch failed", {
          cause: Object.assign(new Error(words), { code: "ECONNRESET" }),
        }),
      ),
    reason: "Transport",
    retried: true,
    says: (words) => `Transport: fetch failed: ${words}`,
    advises: ADVICE.transport,
  },
  {
    what: "a transport failure that is no Error",
    answer: (words) => () => Promise.reject(words),
    reason: "Transport",
    retried: true,
    says: (words) => `Transport: ${words}`,
    advises: ADVICE.transport,
  },
  {
    what: "headers that never come",
    answer: () => () => never,
    reason: "Timeout",
    retried: true,
    takes: 30_000,
    says: () => "Timeout: no complete answer within 30 s",
    advises: ADVICE.timeout,
  },
  {
    what: "a body that never ends",
    answer: (words) => body(() => broken(`[${JSON.stringify(words)}`, () => never))(words),
    reason: "Timeout",
    retried: true,
    takes: 30_000,
    says: () => "Timeout: no complete answer within 30 s",
    advises: ADVICE.timeout,
  },
  {
    what: "a body that is cut off",
    answer: (words) =>
      body(() =>
        broken(
          `[${JSON.stringify(words)}`,
          (controller) =>
            controller.error(new TypeError("terminated", { cause: new Error(`other side: ${words}`) })),
        )
      )(words),
    reason: "Transport",
    retried: true,
    says: (words) => `Transport: terminated: other side: ${words}`,
    advises: ADVICE.transport,
  },
  {
    what: "a body that ends too early",
    answer: body((words) => `[{"user_agent":${JSON.stringify(words)}`),
    reason: "Body",
    retried: true,
    says: (words) => `Body: the body, ${15 + JSON.stringify(words).length} bytes, is not JSON`,
    advises: ADVICE.body,
  },
  {
    what: "a body that is not JSON",
    answer: body((words) => words),
    reason: "Body",
    retried: true,
    says: (words) => `Body: the body, ${words.length} bytes, is not JSON`,
    advises: ADVICE.body,
  },
  {
    what: "an empty body",
    answer: body(() => ""),
    reason: "Body",
    retried: true,
    says: () => "Body: the body, 0 bytes, is not JSON",
    advises: ADVICE.body,
  },
  {
    what: "a body that is not UTF-8",
    answer: body(() => new Uint8Array([0x5b, 0x22, 0xff, 0x22, 0x5d])),
    reason: "Body",
    retried: true,
    says: () => "Body: the body, 5 bytes, is not UTF-8",
    advises: ADVICE.body,
  },
  {
    what: "JSON that is not an array",
    answer: body((words) => JSON.stringify({ items: [], words })),
    reason: "Body",
    retried: true,
    says: () => "Body: the body is JSON, but not an array",
    advises: ADVICE.body,
  },
  {
    what: "an HTML page under 200",
    answer: (words) => body(() => `<title>${words}</title>`, `text/html; for="${words}"`)(words),
    reason: "WebPage",
    retried: true,
    says: (words) => `WebPage: content-type is text/html; for="${words}", the title "${words}"`,
    advises: ADVICE.webPage,
  },
  ...[400, 401, 402, 403, 404].map((status): Failure => ({
    what: `an HTML page under ${status}`,
    answer: (words) => () =>
      new Response(`<!doctype html><title>${words}</title>`, {
        status,
        headers: { "content-type": "text/html" },
      }),
    reason: "WebPage",
    status,
    retried: true,
    says: (words) => `${status} WebPage: content-type is text/html, the title "${words}"`,
    advises: ADVICE.webPage,
  })),
  {
    what: "a text under 200",
    answer: (words) => body(() => `(${words}`, `text/plain; for="${words}"`)(words),
    reason: "ContentType",
    retried: true,
    says: (words) => `ContentType: content-type is text/plain; for="${words}"`,
    advises: ADVICE.contentType,
  },
  {
    what: "a body in a coding that is not known",
    answer: (words) => () =>
      new Response("(coded)", {
        headers: { "content-type": "application/json", "content-encoding": `zstd, ${words}` },
      }),
    reason: "Body",
    retried: true,
    says: (words) =>
      `Body: the body, 7 bytes, is not JSON, and content-encoding is zstd, ${words.toLowerCase()}`,
    advises: ADVICE.body,
  },
  {
    what: "a cache that answers 304",
    answer: () => () => new Response(null, { status: 304 }),
    reason: "NotModified",
    status: 304,
    retried: false,
    says: () => "304 NotModified",
    advises:
      "A cache between here and the tenant answered, though nothing was asked of it: have it let these requests pass.",
  },
  {
    what: "a proxy that wants a password",
    answer: () => () => new Response("", { status: 407 }),
    reason: "Proxy",
    status: 407,
    retried: false,
    says: () => "407 Proxy",
    advises: ADVICE.proxy,
  },
  ...[520, 525, 529].map((status): Failure => ({
    what: `${status} of a network in front`,
    answer: (words) => () => new Response(words, { status }),
    reason: "ServerError",
    status,
    retried: true,
    says: () => `${status} ServerError`,
    advises: "The tenant failed to answer: try again later.",
  })),
  ...[
    ["ENOTFOUND", "getaddrinfo"],
    ["", "failed to lookup address information: Name or service not known"],
  ].map(([code, message]): Failure => ({
    what: `a name that no host has: ${code || message}`,
    answer: (words) => () =>
      Promise.reject(
        new TypeError("fetch failed", { cause: Object.assign(new Error(`${message} ${words}`), { code }) }),
      ),
    reason: "UnknownHost",
    retried: true,
    says: (words) => `UnknownHost: fetch failed: ${message} ${words}`,
    advises: "There is no host of that name: check the domain, and the network's name server.",
  })),
  ...[
    ["SELF_SIGNED_CERT_IN_CHAIN", "self-signed certificate"],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "unable to verify"],
    ["", "invalid peer certificate: UnknownIssuer"],
  ].map(([code, message]): Failure => ({
    what: `a certificate that is not trusted: ${code || message}`,
    answer: (words) => () =>
      Promise.reject(
        new TypeError("fetch failed", { cause: Object.assign(new Error(`${message} ${words}`), { code }) }),
      ),
    reason: "Certificate",
    retried: true,
    says: (words) => `Certificate: fetch failed: ${message} ${words}`,
    advises:
      "The host's certificate is not trusted here: if a proxy of your company opens encrypted traffic, name the " +
      "file of its certificate in NODE_EXTRA_CA_CERTS (on Deno: DENO_CERT); otherwise check the domain and this " +
      "machine's clock.",
  })),
];
