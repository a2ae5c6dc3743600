/**
 * The rows of an answer of the sessions endpoint: which are sessions, where in the list each stands, and the batch that is
 * made of those a walk delivers.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Schema from "effect/Schema";
import * as Batch from "../session/Batch.ts";
import * as Fields from "../scan/Fields.ts";
import * as Guard from "../scan/Guard.ts";
import * as JsonRows from "../scan/JsonRows.ts";
import * as Session from "../session/Session.ts";
import type { Scanned } from "../scan/Scan.ts";
import type { Page } from "../api/HttpPolicy.ts";
import type * as Changes from "./incremental/Changes.ts";
import * as ObservedIds from "./paging/ObservedIds.ts";
import * as Order from "./paging/Order.ts";
import type * as PageWalk from "./paging/PageWalk.ts";
import { everythingReady } from "./Ready.ts";

/** The rows of an answer. */
export interface SessionRows {
  /** What the walk goes by. */
  readonly listed: Order.Listed;
  /** The rows at these indices as they were served. */
  readonly served: (indices: ReadonlyArray<number>) => JsonRows.JsonRows;
  /** The value of a row, which is a session unless it is among those rejected. */
  readonly value: (index: number) => unknown;
  /** Those that are no sessions. */
  readonly rejected: ReadonlySet<number>;
  /** What is wrong with one of those: it is found out when it is first asked for. */
  readonly flaw: (index: number) => Session.Flaw;
}

/** A row that is no session may still say where in the list it stands. */
const isPlaced = Guard.of(
  Schema.Struct({ session_id: Schema.NonEmptyString, initiated_at: Session.EpochSeconds }),
);

const Watched = Schema.Struct({ session_id: Schema.NonEmptyString, last_updated: Session.EpochSeconds });
const isWatched = Guard.of(Watched);

const isNamed = Guard.of(Schema.Struct({ session_id: Schema.NonEmptyString }));

const ID = "session_id";

/** The order of changes, the newest first. */
export const byChange: Order.Order = {
  sort: "last_updated:-1",
  key: "last_updated",
  type: "number",
  descending: true,
  fixed: true,
};

const idPlace = Session.place("texts", ID);
/** Of the keys that are times. The only other one is the id. */
const keyPlaces: Readonly<Record<string, number | undefined>> = {
  initiated_at: Session.place("numbers", "initiated_at"),
  expires_at: Session.place("numbers", "expires_at"),
  last_updated: Session.place("numbers", "last_updated"),
};

/** What a walk goes by of sessions, of which nothing is made but what it asks for; and of the `odd` rows among them. */
const listedFields = (
  { bytes, from }: JsonRows.JsonRows,
  { texts, textCount, numbers, numberCount }: Fields.Fields,
  odd: ReadonlyMap<number, Order.Row>,
): Order.Listed => {
  const id = (index: number): string => {
    const row = odd.get(index);
    const at = 2 * (index * textCount + idPlace);
    return row === undefined ? Fields.text(bytes, texts[at]!, texts[at + 1]!) : Order.idOf(row, ID);
  };
  return {
    count: from.length,
    id,
    hash: (index) => {
      const at = 2 * (index * textCount + idPlace);
      const begin = texts[at]!;
      const end = texts[at + 1]!;
      return begin >= 0 && end >= 0 && (odd.size === 0 || !odd.has(index))
        ? ObservedIds.hashBytes(bytes, begin, end)
        : ObservedIds.hashText(id(index));
    },
    keys: (order) => {
      const place = keyPlaces[order.key];
      const keys: Array<Order.Key | undefined> = [];
      for (let index = 0; index < from.length; index++) {
        keys.push(place === undefined ? id(index) : numbers[index * numberCount + place]!);
      }
      odd.forEach((row, index) => keys[index] = Order.keyOf(row, ID, order));
      return keys;
    },
  };
};

/** From how many bytes on a row is looked over before it is looked into: as values it may take far more memory. */
const LARGE_ROW = 1 << 20;

/** What the walk can go by of a row that is no session: a text that tells it apart, if there is no more. */
const placeOf = (row: unknown, { bytes, from, to }: JsonRows.JsonRows, index: number): Order.Row =>
  isPlaced(row) ? row : `#${ObservedIds.hashBytes(bytes, from[index]!, to[index]!).toString(36)}`;

/** What is wrong with rows, each of which is looked into once. */
const flawsOf = (value: (index: number) => unknown): SessionRows["flaw"] => {
  const flaws = new Map<number, Session.Flaw>();
  return (index) => {
    const flaw = flaws.get(index) ??
      Either.getOrElse(Either.flip(Session.decode(value(index))), () => ({ paths: [""], message: "" }));
    flaws.set(index, flaw);
    return flaw;
  };
};

/** The rows of a page, each of which is looked into. */
const byValues = (page: Page): SessionRows => {
  const { rows } = page;
  const rejected = new Set<number>();
  const all = JsonRows.later(() => JsonRows.cut(page.bytes));
  const placed = rows.map((row, index) => {
    // Most rows are sessions: nothing is made of those.
    if (Session.is(row)) return row;
    rejected.add(index);
    return placeOf(row, all, index);
  });
  const value = (index: number) => rows[index];
  return {
    listed: Order.listed(placed, ID),
    served: (indices) => JsonRows.later(() => JsonRows.pick(all, indices)),
    value,
    rejected,
    flaw: flawsOf(value),
  };
};

/** The rows of a page, of which only those that are odd are looked into; undefined if a session is among them. */
const byFields = (page: Page, { rows, odd }: Scanned, fields: Fields.Fields): SessionRows | undefined => {
  const rejected = new Set(odd);
  const placed = new Map<number, Order.Row>();
  const isHuge = (index: number) => {
    const [from, to] = [rows.from[index]!, rows.to[index]!];
    return to - from > LARGE_ROW && JsonRows.hasMore(rows.bytes.subarray(from, to), Infinity);
  };
  const parsed = (index: number): unknown =>
    isHuge(index) ? undefined : JSON.parse(JsonRows.text(rows, index));
  for (const index of odd) {
    const row = parsed(index);
    if (Session.is(row)) return undefined;
    placed.set(index, placeOf(row, rows, index));
  }
  const flaw = flawsOf(parsed);
  return {
    listed: listedFields(rows, fields, placed),
    served: (indices) => JsonRows.pick(rows, indices),
    value: (index) => rejected.has(index) ? parsed(index) : page.rows[index],
    rejected,
    flaw: (index) =>
      isHuge(index) ? { paths: [""], message: "it holds more values than a session has" } : flaw(index),
  };
};

/** The rows of a page. */
export const of = (page: Page): SessionRows => {
  const fields = page.scanned?.rows.fields;
  return (fields && byFields(page, page.scanned!, fields)) ?? byValues(page);
};

/** The rows as far as {@link Changes} goes by them. */
export const watched = ({ listed, rejected, served, value }: SessionRows): Array<Changes.WatchedRow> =>
  listed.keys(byChange).map((key, index) => {
    const row = rejected.has(index) ? value(index) : { session_id: listed.id(index), last_updated: key };
    const { session_id, last_updated } = isWatched(row) ? row : {};
    return {
      id: session_id,
      lastUpdated: last_updated,
      isSession: !rejected.has(index),
      text: () => JsonRows.text(served([index]), 0),
    };
  });

/** The id of a row, if it has one. */
export const idOf = ({ listed, rejected, value }: SessionRows, index: number): string | undefined => {
  if (!rejected.has(index)) return listed.id(index);
  const row = value(index);
  return isNamed(row) ? row.session_id : undefined;
};

/** How many flaws are found out before others have their turn. */
const FLAWS_AT_A_TIME = 500;

/** Finds out what is wrong with those of the rows that are no sessions, without keeping others from their work. */
export const findFlaws = (
  { rejected, flaw }: SessionRows,
  take: ReadonlyArray<number>,
): Effect.Effect<void> => {
  if (rejected.size <= FLAWS_AT_A_TIME) return Effect.void;
  const refused = take.filter((index) => rejected.has(index));
  const from = (at: number): Effect.Effect<void> => {
    if (at >= refused.length) return Effect.void;
    for (const index of refused.slice(at, at + FLAWS_AT_A_TIME)) flaw(index);
    return Effect.zipRight(everythingReady, Effect.suspend(() => from(at + FLAWS_AT_A_TIME)));
  };
  return Effect.suspend(() => from(0));
};

/** What of a batch comes from the rows of its answer: those at these indices. */
export const batchOf = (
  userId: string,
  { page, size }: PageWalk.PageRequest,
  { served, rejected, value, flaw }: SessionRows,
  take: ReadonlyArray<number>,
): Pick<Batch.Batch, "sessions" | "source" | "rejected"> => {
  const accepted = rejected.size === 0 ? take : take.filter((index) => !rejected.has(index));
  const refused = rejected.size === 0 ? [] : take.filter((index) => rejected.has(index));
  return Object.assign(
    Batch.served(served(accepted), () => accepted.map((index) => value(index) as Session.Session)),
    {
      rejected: refused.map((index): Batch.Rejected => ({
        userId,
        page,
        size,
        index,
        ...flaw(index),
        source: JsonRows.text(served([index]), 0),
      })),
    },
  );
};
