/**
 * The rows of an answer of the sessions endpoint: which are sessions, where in the list each stands, and the batch that is
 * made of those a walk delivers.
 *
 * @module
 */
import * as Either from "effect/Either";
import type * as ParseResult from "effect/ParseResult";
import * as Schema from "effect/Schema";
import * as Batch from "../Batch.ts";
import type * as Fields from "../Fields.ts";
import * as Guard from "../Guard.ts";
import * as JsonRows from "../JsonRows.ts";
import * as Session from "../Session.ts";
import type { Page } from "../tenant/HttpPolicy.ts";
import * as Changes from "./Changes.ts";
import type * as PageWalk from "./PageWalk.ts";

/** The rows of an answer. */
export interface SessionRows {
  /** What the walk goes by. */
  readonly placed: ReadonlyArray<PageWalk.Row>;
  readonly served: JsonRows.JsonRows;
  /** The values of the rows. */
  readonly values: () => ReadonlyArray<unknown>;
  /** What each row is; undefined if all are sessions. */
  readonly decoded: ReadonlyArray<Session.Session | NoSession> | undefined;
}

/** A row that is no session, by the words of the schema. */
class NoSession {
  readonly error: ParseResult.ParseError;
  constructor(error: ParseResult.ParseError) {
    this.error = error;
  }
}

/** Most rows are sessions: nothing is made of those. */
const decode = (row: unknown): Session.Session | NoSession =>
  Session.is(row) ? row : Either.match(Session.decode(row), {
    onLeft: (error) => new NoSession(error),
    onRight: (session) => session,
  });

/** A row that is no session may still say where in the list it stands. */
const isPlaced = Guard.of(
  Schema.Struct({ session_id: Schema.NonEmptyString, initiated_at: Session.EpochSeconds }),
);

const Watched = Schema.Struct({ session_id: Schema.NonEmptyString, last_updated: Session.EpochSeconds });
const isWatched = Guard.of(Watched);

const isNamed = Guard.of(Schema.Struct({ session_id: Schema.NonEmptyString }));

const sessionId = Session.place("checked", "session_id");
const initiatedAt = Session.place("numbers", "initiated_at");
const expiresAt = Session.place("numbers", "expires_at");
const lastUpdated = Session.place("numbers", "last_updated");

/** What a walk can go by of a session, whatever its order. */
const placedOf = ({ numbers, numberCount, checked, checkedCount }: Fields.Fields, row: number) => ({
  session_id: checked[row * checkedCount + sessionId]!,
  initiated_at: numbers[row * numberCount + initiatedAt]!,
  expires_at: numbers[row * numberCount + expiresAt]!,
  last_updated: numbers[row * numberCount + lastUpdated]!,
});

/** The rows of a page. */
export const of = (page: Page): SessionRows => {
  const { scanned } = page;
  if (scanned?.fields !== undefined) {
    const { fields } = scanned;
    const placed = scanned.from.map((_, row) => placedOf(fields, row));
    return { placed, served: scanned, decoded: undefined, values: () => page.rows };
  }
  const decoded = page.rows.map(decode);
  const placed = decoded.map((row, index) =>
    !(row instanceof NoSession)
      ? row
      : isPlaced(page.rows[index])
      ? page.rows[index]
      : Changes.digest(JSON.stringify(page.rows[index]))
  );
  const served = JsonRows.later(() => JsonRows.cut(page.bytes));
  return { placed, served, decoded, values: () => page.rows };
};

/** A row as far as {@link Changes} goes by it. */
export const watched = ({ placed, decoded, served, values }: SessionRows): Array<Changes.WatchedRow> =>
  placed.map((place, index) => {
    const row = decoded === undefined ? place : values()[index];
    const { session_id, last_updated } = isWatched(row) ? row : {};
    return { id: session_id, lastUpdated: last_updated, text: () => JsonRows.text(served, index) };
  });

/** The id of a row, if it has one. */
export const idOf = ({ placed, decoded, values }: SessionRows, index: number): string | undefined => {
  const row = decoded === undefined ? placed[index] : values()[index];
  return isNamed(row) ? row.session_id : undefined;
};

/** What of a batch comes from the rows of its answer: those at these indices. */
export const batchOf = (
  userId: string,
  { page, size }: PageWalk.PageRequest,
  { served, decoded, values }: SessionRows,
  take: ReadonlyArray<number>,
): Pick<Batch.Batch, "sessions" | "source" | "rejected"> => {
  if (decoded === undefined) {
    const sessions = () => take.map((index) => values()[index] as Session.Session);
    return Object.assign(Batch.served(JsonRows.pick(served, take), sessions), { rejected: [] });
  }
  const sessions: Array<Session.Session> = [];
  const accepted: Array<number> = [];
  const rejected: Array<Batch.Rejected> = [];
  for (const index of take) {
    const row = decoded[index]!;
    if (!(row instanceof NoSession)) {
      sessions.push(row);
      accepted.push(index);
    } else {
      const [paths, message] = [Session.paths(row.error), Session.describe(row.error)];
      rejected.push({ userId, page, size, index, paths, message, source: JsonRows.text(served, index) });
    }
  }
  const source = JsonRows.later(() => JsonRows.pick(served, accepted));
  return Object.assign(Batch.served(source, () => sessions), { rejected });
};
