/**
 * Errors of requests to the tenant, worded for the person who has to act on them.
 *
 * @module
 */
import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import type { ApiErrorReason } from "./ApiErrorReason.ts";
import { ProxyError, ProxyNameError } from "./transport/ProxyError.ts";

export type { ApiErrorReason } from "./ApiErrorReason.ts";

const advice: Readonly<Record<ApiErrorReason, string>> = {
  InvalidRequest: "It was not sent",
  BadRequest: "The tenant did not understand the request: check user ids, client id and sort",
  Unauthorized: "The API key was refused: check that it is a key of this tenant and still valid",
  PaymentRequired: "The tenant's plan does not include session management",
  Forbidden: "The API key is valid but may not read this: give it the permission in the tenant's settings",
  NotFound: "There is no such user, or this is not a MonoCloud tenant: check the id and the domain",
  Conflict: "The tenant reports a conflict: try again later",
  Unprocessable: "The tenant refused a parameter",
  RateLimited: "The tenant limits the rate of requests: lower --rate or raise --max-elapsed",
  ServerError: "The tenant failed to answer: try again later",
  Redirect: "Redirects are never followed, for the key must not reach another host: check the domain",
  NotModified:
    "A cache between here and the tenant answered, though nothing was asked of it: have it let these requests pass",
  UnexpectedStatus: "The documentation knows no such answer: check the domain",
  UnknownHost: "There is no host of that name: check the domain, and the network's name server",
  Certificate:
    "The host's certificate is not trusted here: if a proxy of your company opens encrypted traffic, name the file of its " +
    "certificate in NODE_EXTRA_CA_CERTS (on Deno: DENO_CERT); otherwise check the domain and this machine's clock",
  Proxy:
    "The proxy did not let the request through: check HTTPS_PROXY, with its user name and password, or name " +
    "the tenant in NO_PROXY",
  Transport: "The connection failed: check the domain and the network",
  Timeout: "The tenant took too long: allow more time, or ask for smaller pages",
  WebPage:
    "A web page answered in the API's place: check the domain. On a network with a sign-in page, sign in there " +
    "first; a firewall may have blocked the request",
  ContentType: "Something other than the API answered, such as a proxy: check the domain",
  TooLarge: "The answer is larger than it may be: ask for smaller pages, or allow more",
  Body: "The answer was cut off or is not the JSON array it should be",
};

const text = Schema.UndefinedOr(Schema.String);

const Problem = Schema.Struct({
  type: text,
  title: text,
  detail: text,
  instance: text,
  /** The messages of a 422, each with the field or the code it is about: `size: must be at most 100`. */
  errors: Schema.Array(Schema.String),
});

/** The problem details of an error answer (RFC 9457), as far as they could be read. */
export type Problem = typeof Problem.Type;

/**
 * A request failed for good: all retries its kind allows have been made. It holds what is needed to find the fault, and
 * never the key.
 */
export class ApiError extends Schema.TaggedError<ApiError>()("ApiError", {
  reason: Schema.Literal(...Object.keys(advice) as ReadonlyArray<ApiErrorReason>),
  url: Schema.String,
  userId: Schema.optional(Schema.String),
  page: Schema.optional(Schema.Number),
  /** The answer's status, if it was not the 200 it should be; absent if there was none. */
  status: Schema.optional(Schema.Number),
  problem: Schema.optional(Problem),
  /** The details, where the reason alone does not tell. */
  detail: Schema.optional(Schema.String),
  /** The pause that the tenant asked for, in milliseconds. */
  retryAfter: Schema.optional(Schema.Number),
  /** The number of times that the request was sent. */
  attempts: Schema.Number,
}) {
  override get message(): string {
    const { problem, retryAfter } = this;
    const wish = retryAfter ? `it asks to be left alone for ${Math.ceil(retryAfter / 1000)} s` : undefined;
    const said = [
      this.status === undefined ? this.reason : `${this.status} ${problem?.title ?? this.reason}`,
      ...[problem?.detail, this.detail, problem?.errors.join("; "), wish].filter((part) => part),
    ].join(": ");
    const tries = this.attempts > 1 ? ` (after ${this.attempts} attempts)` : "";
    return `GET ${this.url}${tries}: ${said.replace(/\.$/, "")}. ${advice[this.reason]}.`;
  }
}

const statusReasons: Readonly<Record<number, ApiErrorReason>> = {
  400: "BadRequest",
  401: "Unauthorized",
  402: "PaymentRequired",
  403: "Forbidden",
  404: "NotFound",
  409: "Conflict",
  422: "Unprocessable",
  429: "RateLimited",
};

/** Gives the reason that a status stands for. 0 is what a browser shows of a redirect it did not follow. */
export const reasonOf = (status: number): ApiErrorReason =>
  statusReasons[status] ??
    (status >= 500
      ? "ServerError"
      : status === 304
      ? "NotModified"
      : status === 407
      ? "Proxy"
      : status === 0 || (status >= 300 && status < 400)
      ? "Redirect"
      : "UnexpectedStatus");

/** Statuses of a failure that may pass. Those from 520 on are of networks in front of the tenant. */
const retriedStatuses: ReadonlySet<number | undefined> = new Set([
  ...[408, 425, 429, 500, 502, 503, 504],
  ...[520, 521, 522, 523, 524, 525, 526, 527, 528, 529, 530],
]);
const retriedReasons: ReadonlySet<ApiErrorReason> = new Set([
  ...["UnknownHost", "Certificate", "Transport", "Timeout", "WebPage", "ContentType", "Body"] as const,
]);

/** Tells whether the same request may succeed a moment later. */
export const isTransient = ({ status, reason }: ApiError): boolean =>
  retriedStatuses.has(status) || retriedReasons.has(reason) || (reason === "Proxy" && status === undefined);

/** Codes of Node for a certificate that is not trusted, and the words of Deno. */
const distrust =
  /^(SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|CERT_\w+|ERR_TLS_CERT_ALTNAME_INVALID)$|invalid peer certificate/;

/** The code of Node for a name that no host has, and the words of the systems below Deno. */
const unknownHost =
  /^ENOTFOUND$|Name or service not known|No address associated with hostname|nodename nor servname|No such host is known/;

/** Gives the reason for what kept an answer from coming. */
export const reasonOfCause = (cause: unknown): ApiErrorReason => {
  for (let at = cause, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++) {
    const { code = "" } = at as { readonly code?: unknown };
    if (at instanceof ProxyNameError) return "InvalidRequest";
    if (at instanceof ProxyError) return "Proxy";
    if (distrust.test(String(code)) || distrust.test(at.message)) return "Certificate";
    if (unknownHost.test(String(code)) || unknownHost.test(at.message)) return "UnknownHost";
  }
  return "Transport";
};

/** Tells whether the tenant says that there is no such thing. */
export const isNotFound = ({ reason }: ApiError): boolean => reason === "NotFound";

const string = Schema.optional(Schema.NullOr(Schema.String));
const ProblemBody = Schema.parseJson(Schema.Struct({
  type: string,
  title: string,
  detail: string,
  instance: string,
  errors: Schema.optional(Schema.Unknown),
}));
const decodeBody = Schema.decodeUnknownOption(ProblemBody);
const decodeFields = Schema.decodeUnknownOption(
  Schema.Record({ key: Schema.String, value: Schema.Array(Schema.String) }),
);
const decodeCodes = Schema.decodeUnknownOption(
  Schema.Array(Schema.Struct({ code: string, description: string })),
);

const isObject = Schema.is(Schema.Record({ key: Schema.String, value: Schema.Unknown }));

/** The most messages of a problem that are told. */
const MOST_MESSAGES = 20;

const first = <A>(all: ReadonlyArray<A>): ReadonlyArray<A> => all.slice(0, MOST_MESSAGES);

const wordErrors = (errors: unknown): ReadonlyArray<string> => {
  if (Array.isArray(errors)) {
    const codes = Option.getOrElse(decodeCodes(first(errors)), () => []);
    return codes.map(({ code, description }) => [code, description].filter((part) => part).join(": "));
  }
  const some = Object.entries(isObject(errors) ? errors : {}).slice(0, MOST_MESSAGES)
    .map(([field, messages]) => [field, Array.isArray(messages) ? first(messages) : messages]);
  const fields = Option.getOrElse(decodeFields(Object.fromEntries(some)), () => ({}));
  return first(
    Object.entries(fields).flatMap(([field, messages]) => messages.map((message) => `${field}: ${message}`)),
  );
};

/** Tell whether a 404 is the API's own: a problem document, by its type or by its members. */
export const isProblem = (body: string, type: string): boolean => {
  try {
    const value: unknown = JSON.parse(body);
    return isObject(value) && !Array.isArray(value) &&
      (/^application\/problem\+json\b/i.test(type) ||
        (value["status"] === 404 && typeof value["title"] === "string"));
  } catch {
    return false;
  }
};

/** Tell whether a body is a page for people, by its type or by its first tag. */
export const isWebPage = (body: string, type: string): boolean =>
  /^\s*(text\/html|application\/xhtml\+xml)\b/i.test(type) ||
  /^\s*<(!doctype\s+html|html|head|body)\b/i.test(body);

/** Reads problem details; undefined if the body is something else. Every word of theirs goes through `quote`. */
export const parseProblem = (body: string, quote: (text: string) => string): Problem | undefined => {
  const quoted = (text: string | null | undefined) => text ? quote(text) : undefined;
  return Option.getOrUndefined(
    Option.map(decodeBody(body), ({ type, title, detail, instance, errors }): Problem => ({
      type: quoted(type),
      title: quoted(title),
      detail: quoted(detail),
      instance: quoted(instance),
      errors: wordErrors(errors).map(quote),
    })),
  );
};
