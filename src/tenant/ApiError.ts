/**
 * What can go wrong between us and the tenant, worded for the person who has to act on it.
 *
 * @module
 */
import * as Data from "effect/Data";
import * as Option from "effect/Option";
import * as Schema from "effect/Schema";

/** Why a request failed for good. */
export type ApiErrorReason =
  | "InvalidRequest"
  | "BadRequest"
  | "Unauthorized"
  | "PaymentRequired"
  | "Forbidden"
  | "NotFound"
  | "Conflict"
  | "Unprocessable"
  | "RateLimited"
  | "ServerError"
  | "Redirect"
  | "UnexpectedStatus"
  | "Transport"
  | "Timeout"
  | "ContentType"
  | "Body";

const advice: Readonly<Record<ApiErrorReason, string>> = {
  InvalidRequest: "It was not sent",
  BadRequest: "The tenant did not understand the request: check user ids, client id and sort",
  Unauthorized: "The API key was refused: check that it is a key of this tenant and still valid",
  PaymentRequired: "The tenant's plan does not include session management",
  Forbidden: "The API key is valid but may not read this: give it the permission in the tenant's settings",
  NotFound: "There is no such user, or this is not a MonoCloud tenant: check the id and the domain",
  Conflict: "The tenant reports a conflict: try again later",
  Unprocessable: "The tenant refused a parameter",
  RateLimited: "The tenant limits the rate of requests: lower the rate, or be more patient",
  ServerError: "The tenant failed to answer: try again later",
  Redirect: "Redirects are never followed, for the key must not reach another host: check the domain",
  UnexpectedStatus: "The documentation knows no such answer: check the domain",
  Transport: "The connection failed: check the domain and the network",
  Timeout: "The tenant took too long: allow more time, or ask for smaller pages",
  ContentType: "Something other than the API answered, such as a proxy or a login page: check the domain",
  Body: "The answer was cut off or is not the JSON array it should be",
};

/** The problem details of an error answer (RFC 9457), as far as they could be read. */
export interface Problem {
  readonly type: string | undefined;
  readonly title: string | undefined;
  readonly detail: string | undefined;
  readonly instance: string | undefined;
  /** The messages of a 422, each with the field or the code it is about: `size: must be at most 100`. */
  readonly errors: ReadonlyArray<string>;
}

/**
 * A request failed for good: all retries its kind allows have been made. It holds what is needed to find the fault,
 * and never the key.
 */
export class ApiError extends Data.TaggedError("ApiError")<{
  readonly reason: ApiErrorReason;
  readonly url: string;
  readonly userId?: string | undefined;
  readonly page?: number | undefined;
  /** The answer's status, if it was not the 200 it should be; absent if there was none. */
  readonly status?: number | undefined;
  readonly problem?: Problem | undefined;
  /** What exactly was wrong, where the reason alone does not tell. */
  readonly detail?: string | undefined;
  /** How long the tenant asked to be left alone, in milliseconds. */
  readonly retryAfter?: number | undefined;
  /** How many times the request was sent. */
  readonly attempts: number;
}> {
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

/** The reason a status stands for. 0 is what a browser shows of a redirect it did not follow. */
export const reasonOf = (status: number): ApiErrorReason =>
  statusReasons[status] ??
    (status >= 500
      ? "ServerError"
      : status === 0 || (status >= 300 && status < 400)
      ? "Redirect"
      : "UnexpectedStatus");

const retriedStatuses: ReadonlySet<number | undefined> = new Set([408, 425, 429, 500, 502, 503, 504]);
const retriedReasons: ReadonlySet<ApiErrorReason> = new Set(["Transport", "Timeout", "ContentType", "Body"]);

/** Whether the same request may succeed a moment later. */
export const isTransient = (error: ApiError): boolean =>
  retriedStatuses.has(error.status) || retriedReasons.has(error.reason);

/** Whether the tenant says that there is no such thing. */
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

const wordErrors = (errors: unknown): ReadonlyArray<string> => {
  const codes = decodeCodes(errors);
  if (Option.isSome(codes)) {
    return codes.value.map(({ code, description }) => [code, description].filter((part) => part).join(": "));
  }
  const fields = Option.getOrElse(decodeFields(errors), () => ({}));
  return Object.entries(fields).flatMap(([field, messages]) =>
    messages.map((message) => `${field}: ${message}`)
  );
};

const isObject = Schema.is(Schema.Record({ key: Schema.String, value: Schema.Unknown }));

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

/** How much of a server's text an error quotes. */
const QUOTED = 500;

const asChar = (_: string, hex: string): string => String.fromCharCode(parseInt(hex, 16));
const undoPercent = (text: string): string => text.replace(/%([0-9a-f]{2})/gi, asChar);
const undoEscapes = (text: string): string =>
  text.replace(/\\u00([0-9a-f]{2})/gi, asChar).replace(/\\(["'\\/])/g, "$1");

/** A text as it is, and as it reads once the escapes of URLs and JSON are undone, up to so many times. */
const readings = (text: string, times = 3): ReadonlyArray<string> => {
  const undone = [undoPercent(text), undoEscapes(text)].filter((reading) => times > 0 && reading !== text);
  return [text, ...undone.flatMap((reading) => readings(reading, times - 1))];
};

/**
 * Makes the words of others fit to be shown. A tenant, a proxy or a client may quote what it was sent: the key is
 * taken out, and where it is there in disguise, nothing is left. Control characters become spaces, and long texts
 * end early.
 */
export const quoteWithout = (key: string): (text: string) => string => {
  const hidden = key.toLowerCase();
  return (text) => {
    const known = text.replaceAll(key, "<redacted>");
    if (readings(known).some((reading) => reading.toLowerCase().includes(hidden))) return "<redacted>";
    const shown = known.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ");
    return shown.length <= QUOTED ? shown : `${shown.slice(0, QUOTED).toWellFormed()}…`;
  };
};
