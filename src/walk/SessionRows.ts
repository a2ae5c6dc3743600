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
import type { Scanned } from "../Scan.ts";
import type { Page } from "../tenant/HttpPolicy.ts";
import * as Changes from "./Changes.ts";
import type * as PageWalk from "./PageWalk.ts";

/** The rows of an answer. */
export interface SessionRows {
  /** What the walk goes by. */
  readonly placed: ReadonlyArray<PageWalk.Row>;
  /** The rows at these indices as they were served. */
  readonly served: (indices: ReadonlyArray<number>) => JsonRows.JsonRows;
  /** The value of a row, which is a session unless it is among those rejected. */
  readonly value: (index: number) => unknown;
  /** Those that are no sessions, by the words of the schema. */
  readonly rejected: ReadonlyMap<number, ParseResult.ParseError>;
}

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

/** What the walk can go by of a row that is no session: a text that tells it apart, if there is no more. */
const placeOf = (row: unknown): PageWalk.Row => isPlaced(row) ? row : Changes.digest(JSON.stringify(row));

/** The rows of a page, each of which is looked into. */
const byValues = (page: Page): SessionRows => {
  const { rows } = page;
  const rejected = new Map<number, ParseResult.ParseError>();
  const placed = rows.map((row, index) => {
    // Most rows are sessions: nothing is made of those.
    if (Session.is(row)) return row;
    const decoded = Session.decode(row);
    if (Either.isRight(decoded)) return decoded.right;
    rejected.set(index, decoded.left);
    return placeOf(row);
  });
  const all = JsonRows.later(() => JsonRows.cut(page.bytes));
  return {
    placed,
    served: (indices) => JsonRows.later(() => JsonRows.pick(all, indices)),
    value: (index) => rows[index],
    rejected,
  };
};

/** The rows of a page, of which only those that are odd are looked into; undefined if a session is among them. */
const byFields = (page: Page, { rows, odd }: Scanned, fields: Fields.Fields): SessionRows | undefined => {
  const placed: Array<PageWalk.Row> = rows.from.map((_, row) => placedOf(fields, row));
  const rejected = new Map<number, ParseResult.ParseError>();
  for (const index of odd) {
    const row: unknown = JSON.parse(JsonRows.text(rows, index));
    const decoded = Session.decode(row);
    if (Either.isRight(decoded)) return undefined;
    rejected.set(index, decoded.left);
    placed[index] = placeOf(row);
  }
  return {
    placed,
    served: (indices) => JsonRows.pick(rows, indices),
    value: (index) => page.rows[index],
    rejected,
  };
};

/** The rows of a page. */
export const of = (page: Page): SessionRows => {
  const fields = page.scanned?.rows.fields;
  return (fields && byFields(page, page.scanned!, fields)) ?? byValues(page);
};

/** A row as far as {@link Changes} goes by it. */
export const watched = ({ placed, rejected, served, value }: SessionRows): Array<Changes.WatchedRow> =>
  placed.map((place, index) => {
    const row = rejected.has(index) ? value(index) : place;
    const { session_id, last_updated } = isWatched(row) ? row : {};
    return {
      id: session_id,
      lastUpdated: last_updated,
      text: () => JsonRows.text(served([index]), 0),
    };
  });

/** The id of a row, if it has one. */
export const idOf = ({ placed, rejected, value }: SessionRows, index: number): string | undefined => {
  const row = rejected.has(index) ? value(index) : placed[index];
  return isNamed(row) ? row.session_id : undefined;
};

/** What of a batch comes from the rows of its answer: those at these indices. */
export const batchOf = (
  userId: string,
  { page, size }: PageWalk.PageRequest,
  { served, rejected, value }: SessionRows,
  take: ReadonlyArray<number>,
): Pick<Batch.Batch, "sessions" | "source" | "rejected"> => {
  const accepted = rejected.size === 0 ? take : take.filter((index) => !rejected.has(index));
  const refused = rejected.size === 0 ? [] : take.filter((index) => rejected.has(index));
  return Object.assign(
    Batch.served(served(accepted), () => accepted.map((index) => value(index) as Session.Session)),
    {
      rejected: refused.map((index): Batch.Rejected => {
        const error = rejected.get(index)!;
        return {
          userId,
          page,
          size,
          index,
          ...Session.explain(error),
          source: JsonRows.text(served([index]), 0),
        };
      }),
    },
  );
};
