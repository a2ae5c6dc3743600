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
import * as SchemaPredicate from "../scan/SchemaPredicate.ts";
import * as PageScanner from "../scan/PageScanner.ts";

/**
 * A point in time as the API writes it: whole seconds since the epoch, up to the end of the year 9999.
 * Milliseconds sent by mistake fall outside and are quarantined rather than filed under the year 50000.
 */
export const EpochSeconds = Schema.Int.pipe(Schema.between(0, 253_402_300_799)).annotations({
  identifier: "EpochSeconds",
  description: "whole seconds since 1970-01-01T00:00:00Z",
});

const text = Schema.optional(Schema.NullOr(Schema.String));

/** Details of the client when the session was last used. Each field is a string, null or absent. */
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

/** Details of the client when the session was last used. */
export type Metadata = typeof Metadata.Type;

const isShaped = SchemaPredicate.of(Session);

/** Limit of the nesting of a row: many readers of JSON go no deeper than a few hundred levels. */
const DEEPEST = 100;

/** Tells whether a value is nested deeper than a session may be. Looks no deeper itself. */
export const isTooDeep = (value: unknown, left = DEEPEST): boolean => {
  if (typeof value !== "object" || value === null) return false;
  return left === 0 || Object.values(value).some((inner) => isTooDeep(inner, left - 1));
};

/** Tell whether a value is a session, many times as fast as the schema does. */
export const is = (row: unknown): row is Session => isShaped(row) && !isTooDeep(row);

/**
 * The sessions of a page from its bytes, and the place of each field in what is found; see {@link PageScanner.make}. A
 * session that names its user is told: every format has a place for that.
 */
export const { scan, place } = PageScanner.make(Session, { reserved: ["user_id"], accepts: is });

/** Fields that hold decimal numbers, written as text. */
export const numericFields: ReadonlyArray<string> = ["last_metadata.latitude", "last_metadata.longitude"];

/** The flaw of a row: its wrong fields, and what is wrong with each. */
export interface Flaw {
  /** Each once: `expires_at`, `client_ids.0`; the empty text for the row as a whole. */
  readonly paths: ReadonlyArray<string>;
  /** `expires_at: Expected an integer, actual 1.5`. Of what is long or deep, only the beginning is quoted. */
  readonly message: string;
}

/**
 * Decodes one row of a page. Unknown fields, also those inside `last_metadata`, are kept.
 *
 * @returns the session, which is the row itself, or what is wrong with it
 */
export const decode = (row: unknown): Either.Either<Session, Flaw> =>
  // Nearly every row is a session, so the schema is asked only about those the guard stops.
  is(row) ? Either.right(row) : Either.left(flawOf(row));

const findIssue = ParseResult.decodeUnknownEither(Session, { errors: "all" });

/** The most of a value that is quoted: characters, elements or members, and objects within objects. */
const [MOST_CHARACTERS, MOST_MEMBERS, MOST_LEVELS] = [200, 1000, 4];

/** The most flaws of a row that are told. */
const MOST_ISSUES = 50;

const known = new Set([...Object.keys(Session.fields), ...Object.keys(Metadata.fields)]);

/** A value of the same kind, with as much of it as is quoted: rows may hold anything, of any size and depth. */
const glimpse = (value: unknown, depth = 0): unknown => {
  if (typeof value === "string") {
    return value.length <= MOST_CHARACTERS ? value : `${value.slice(0, MOST_CHARACTERS).toWellFormed()}…`;
  }
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) {
    return depth === MOST_LEVELS
      ? []
      : value.slice(0, MOST_MEMBERS).map((element) => glimpse(element, depth + 1));
  }
  const names = depth === MOST_LEVELS
    ? []
    : Object.keys(value).filter((name, index) => index < MOST_MEMBERS || known.has(name));
  return Object.fromEntries(
    names.map((name) => [name, glimpse((value as Readonly<Record<string, unknown>>)[name], depth + 1)]),
  );
};

const flawOf = (row: unknown): Flaw => {
  if (isShaped(row)) return { paths: [""], message: `values are nested more than ${DEEPEST} deep` };
  const found = findIssue(glimpse(row));
  if (Either.isRight(found)) {
    return { paths: [""], message: "a value beyond what is looked at is not as it should be" };
  }
  const issues = ParseResult.ArrayFormatter.formatIssueSync(found.left).slice(0, MOST_ISSUES)
    .map(({ path, message }) => ({ path: path.map(String).join("."), message }));
  return {
    paths: [...new Set(issues.map(({ path }) => path))],
    message: issues.map(({ path, message }) => path === "" ? message : `${path}: ${message}`).join("; "),
  };
};

/** Name the wrong fields of a row, without a word of what is in them: `expires_at, client_ids.0`. */
export const flawedFields = ({ paths }: Flaw): string =>
  paths.map((path) => path || "the row as a whole").join(", ");
