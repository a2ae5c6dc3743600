/**
 * The session as MonoCloud serves it: one schema, and the type that comes from it. No I/O.
 *
 * Source: MonoCloud's page for `GET /api/users/{user_id}/sessions` and its published management SDKs (0.2.x),
 * which together say which fields may be null or absent.
 *
 * @module
 */
import * as Either from "effect/Either";
import * as ParseResult from "effect/ParseResult";
import * as Schema from "effect/Schema";
import * as Guard from "./Guard.ts";
import * as Scan from "./Scan.ts";

/**
 * A point in time as the API writes it: whole seconds since the epoch, up to the end of the year 9999.
 * Milliseconds sent by mistake fall outside and are rejected rather than filed under the year 50000.
 */
export const EpochSeconds = Schema.Int.pipe(Schema.between(0, 253_402_300_799)).annotations({
  identifier: "EpochSeconds",
  description: "whole seconds since 1970-01-01T00:00:00Z",
});

const text = Schema.optional(Schema.NullOr(Schema.String));

/** What MonoCloud knew of the client when the session was last used. Each field is a string, null or absent. */
export const Metadata = Schema.Struct({
  country: text,
  region: text,
  city: text,
  /** Degrees north, as text: `"34.043238"`. */
  latitude: text,
  /** Degrees east, as text: `"-118.250918"`. */
  longitude: text,
  ip_address: text,
  user_agent: text,
});

/**
 * One active session of one user, as served. Fields this version does not know are kept on the value.
 *
 * @example
 * ```ts
 * import { Session } from "monocloud-sessions";
 * import * as Either from "effect/Either";
 *
 * const row = { session_id: "96484D31", client_ids: ["app"], initiated_at: 1640975400, expires_at: 1640983490,
 *   last_updated: 1640975400, something_new: true };
 * const session = Either.getOrThrow(Session.decode(row));
 * console.assert(session.initiated_at === 1640975400 && "something_new" in session);
 * ```
 */
export const Session = Schema.Struct({
  session_id: Schema.NonEmptyString,
  /** In the example of MonoCloud's page, absent from its SDK's type. */
  session_key: text,
  client_ids: Schema.Array(Schema.String),
  initiated_at: EpochSeconds,
  expires_at: EpochSeconds,
  last_updated: EpochSeconds,
  last_metadata: Schema.optional(Schema.NullOr(Metadata)),
}).annotations({ identifier: "Session" });

/** One active session of one user, as served. */
export type Session = typeof Session.Type;

/** What MonoCloud knew of the client when the session was last used. */
export type Metadata = typeof Metadata.Type;

const decodeUnknown = Schema.decodeUnknownEither(Session, { errors: "all" });

/** Whether a value is a session, many times as fast as the schema says it. */
export const is: (row: unknown) => row is Session = Guard.of(Session);

/**
 * The sessions of a page from its bytes, and the place of each field in what is found; see {@link Scan.Scan}. One that names
 * its user, which every format has a place for, is odd.
 */
export const { scan, place } = Scan.of(Session, ["user_id"]);

/**
 * Decodes one row of a page. Unknown fields, also those inside `last_metadata`, are kept.
 *
 * @returns the session, which is the row itself, or the schema's error: {@link describe} words it for people.
 */
export const decode = (row: unknown): Either.Either<Session, ParseResult.ParseError> =>
  // Nearly every row is a session, so the schema is asked only about those the guard stops. Its answer is not
  // taken for the session: its copy would lose a member named `__proto__`, which becomes the copy's prototype.
  is(row) ? Either.right(row) : Either.map(decodeUnknown(row), () => row as Session);

/** What is wrong with a row: which fields, and what of each. */
export interface Flaw {
  /** Each once: `expires_at`, `client_ids.0`; the empty text for the row as a whole. */
  readonly paths: ReadonlyArray<string>;
  /** `expires_at: Expected an integer, actual 1.5`. */
  readonly message: string;
}

/** What is wrong with a row, field by field. */
export const explain = (error: ParseResult.ParseError): Flaw => {
  const issues = ParseResult.ArrayFormatter.formatErrorSync(error)
    .map(({ path, message }) => ({ path: path.map(String).join("."), message }));
  return {
    paths: [...new Set(issues.map(({ path }) => path))],
    message: issues.map(({ path, message }) => path === "" ? message : `${path}: ${message}`).join("; "),
  };
};

/** The words of {@link explain}. */
export const describe = (error: ParseResult.ParseError): string => explain(error).message;

/** The fields of {@link explain}. */
export const paths = (error: ParseResult.ParseError): ReadonlyArray<string> => explain(error).paths;

/** Which fields of a row are wrong, without a word of what is in them: `expires_at, client_ids.0`. */
export const flaws = (error: ParseResult.ParseError): string =>
  paths(error).map((path) => path || "the row as a whole").join(", ");
