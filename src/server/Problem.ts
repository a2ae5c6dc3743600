/**
 * Problem documents (RFC 9457): the one shape of all errors that the server answers with.
 *
 * @module
 */
import * as HttpApiSchema from "@effect/platform/HttpApiSchema";
import * as HttpServerResponse from "@effect/platform/HttpServerResponse";
import * as Schema from "effect/Schema";
import { oneLine } from "./telemetry/Log.ts";

/** The content type of every error. */
export const contentType = "application/problem+json";

/** Seconds to wait before trying again, where nothing says so. */
const AGAIN = "30";

/** A kind of problem. Its `type` is `urn:monocloud-sessions:problem:` and its name, and never changes. */
interface About {
  readonly status: number;
  readonly title: string;
  /** A `detail` of it. */
  readonly example: string;
  /** Headers that go with it. */
  readonly headers?: Readonly<Record<string, string>>;
}

const kinds = {
  "invalid-request": {
    status: 400,
    title: "The request can't be followed",
    example: "The request can't be followed: there is no parameter limits: allowed are limit, before",
  },
  "unauthorized": {
    status: 401,
    title: "The token is missing or wrong",
    example: "Send the server's token: Authorization: Bearer TOKEN",
    headers: { "www-authenticate": "Bearer" },
  },
  "forbidden": {
    status: 403,
    title: "The caller may not use this server",
    example: "A page of another site can't use this server",
  },
  "not-found": {
    status: 404,
    title: "There is no such route, user, export or file",
    example: "There is no export 20261124T061500000Z-0f5c2a9be471",
  },
  "method-not-allowed": {
    status: 405,
    title: "The route has no such method",
    example: "Use GET or POST",
  },
  "request-timeout": {
    status: 408,
    title: "The request took too long to arrive",
    example: "Its body has not come within 60 seconds",
    headers: { "connection": "close" },
  },
  "conflict": {
    status: 409,
    title: "The export's status does not allow this",
    example: "Export 20261124T061500000Z-0f5c2a9be471 is running: stop it first",
  },
  "length-required": {
    status: 411,
    title: "The length of the body is unknown",
    example: "Say with Content-Length how long the body is",
  },
  "body-too-large": {
    status: 413,
    title: "The body is too large",
    example: "A body may have 16777216 bytes: name fewer users in one export",
  },
  "busy": {
    status: 429,
    title: "The server is at its limit",
    example: "256 downloads are under way, and no more may be. Try again after Retry-After",
    headers: { "retry-after": AGAIN },
  },
  "headers-too-large": {
    status: 431,
    title: "The headers are too large",
    example: "Headers may have 16384 bytes",
  },
  "internal": {
    status: 500,
    title: "The server has a fault",
    example: "The server has a fault: its log names it",
  },
  "tenant-failure": {
    status: 502,
    title: "The tenant refused the server, or failed",
    example: "The tenant answered 401: check the server's API key",
  },
  "unavailable": {
    status: 503,
    title: "The server or the tenant can't do it now",
    example: "The server is stopping",
    headers: { "retry-after": AGAIN },
  },
  "http-version": {
    status: 505,
    title: "The version of HTTP is too old",
    example: "Use HTTP/1.1",
  },
} as const satisfies Readonly<Record<string, About>>;

/** Name of a kind of problem. */
export type Kind = keyof typeof kinds;

const Line = Schema.String.pipe(Schema.pattern(/^[^\p{Cc}\p{Cf}\p{DI}\p{Zl}\p{Zp}]+$/u));

const typeOf = <K extends Kind>(kind: K) => `urn:monocloud-sessions:problem:${kind}` as const;

/** A problem of one kind. */
export interface ProblemOf<K extends Kind> {
  readonly type: ReturnType<typeof typeOf<K>>;
  readonly title: typeof kinds[K]["title"];
  readonly status: typeof kinds[K]["status"];
  /** Advice for the caller, on one line. */
  readonly detail: string;
}

/** Makes a problem. */
export const make = <K extends Kind>(kind: K, detail: string): ProblemOf<K> => {
  const { status, title } = kinds[kind];
  return { type: typeOf(kind), title, status, detail: oneLine(detail) || title };
};

/** Gives the schema of a kind of problem, as a route declares it. */
export const schemaOf = <K extends Kind>(kind: K): Schema.Schema<ProblemOf<K>> => {
  const { status, title, example } = kinds[kind];
  return Schema.Struct({
    type: Schema.Literal(typeOf(kind)),
    title: Schema.Literal(title),
    status: Schema.Literal(status),
    detail: Line.annotations({ description: "What to do, on one line." }),
  }).pipe(HttpApiSchema.withEncoding({ kind: "Json", contentType })).annotations({
    identifier: `${kind.replace(/(^|-)(.)/g, (_, _dash, letter) => letter.toUpperCase())}Problem`,
    description: `${title}.`,
    examples: [make(kind, example)] as never,
    ...HttpApiSchema.annotations({ status }),
  }) as never;
};

/** A problem of any kind. */
export const Problem: Schema.Schema<ProblemOf<Kind>> = Schema.Union(
  ...(Object.keys(kinds) as ReadonlyArray<Kind>).map(schemaOf),
);

/** See {@link Problem}. */
export type Problem = typeof Problem.Type;

/** Tells whether something is a problem. */
export const is = Schema.is(Problem);

/** Answers with a problem. */
export const respond = (problem: Problem, headers: Readonly<Record<string, string>> = {}) => {
  const kind = problem.type.slice(typeOf("" as Kind).length) as Kind;
  return HttpServerResponse.unsafeJson(problem, {
    status: problem.status,
    contentType,
    headers: { "cache-control": "no-store", ...(kinds[kind] as About).headers, ...headers },
  });
};

/** Answers with a problem of this kind. */
export const answer = (kind: Kind, detail: string, headers?: Readonly<Record<string, string>>) =>
  respond(make(kind, detail), headers);

/** Gives an answer as bytes of HTTP/1.1, for a connection on which no request could be read. It closes the connection. */
export const raw = (kind: Kind, detail: string): string => {
  const body = JSON.stringify(make(kind, detail));
  const { status, title } = kinds[kind];
  const { length } = new TextEncoder().encode(body);
  const headers = [`content-type: ${contentType}`, `content-length: ${length}`, "connection: close"];
  return [`HTTP/1.1 ${status} ${title}`, ...headers, "", body].join("\r\n");
};
