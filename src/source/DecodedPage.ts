/**
 * The rows of an answer of the sessions endpoint: which are sessions, where in the list each stands, and the batch that is
 * made of those a walk delivers.
 */
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Schema from "effect/Schema";
import * as Batch from "../session/Batch.ts";
import * as FieldOffsets from "../scan/FieldOffsets.ts";
import * as SchemaPredicate from "../scan/SchemaPredicate.ts";
import * as RowSlices from "../scan/RowSlices.ts";
import * as Session from "../session/Session.ts";
import type { Scanned } from "../scan/PageScanner.ts";
import type * as Changes from "./incremental/Changes.ts";
import * as ObservedIds from "./paging/ObservedIds.ts";
import * as SortOrder from "./paging/SortOrder.ts";
import type * as PageWalk from "./paging/PageWalk.ts";
import { everythingReady } from "./Ready.ts";

export interface DecodedPage {
  readonly walkRows: SortOrder.WalkRows;
  readonly slices: RowSlices.RowSlices;
  /** Rows that are no sessions. */
  readonly invalid: ReadonlySet<number>;
  readonly value: (index: number) => unknown;
  /** Tells what is wrong with one of those: it is found out when it is first asked for. */
  readonly flaw: (index: number) => Session.Flaw;
}

/** A row that is no session may still say where in the list it stands. */
const isPlaced = SchemaPredicate.of(
  Schema.Struct({ session_id: Schema.NonEmptyString, initiated_at: Session.EpochSeconds }),
);

const Tracked = Schema.Struct({ session_id: Schema.NonEmptyString, last_updated: Session.EpochSeconds });
const isTracked = SchemaPredicate.of(Tracked);

const isNamed = SchemaPredicate.of(Schema.Struct({ session_id: Schema.NonEmptyString }));

const ID = "session_id";

/** The order of changes, the newest first. */
export const byChange: SortOrder.Order = {
  sort: "last_updated:-1",
  key: "last_updated",
  type: "number",
  descending: true,
  fixed: true,
};

const idPlace = Session.place("texts", ID);
/** Keys that are times. The only other one is the id. */
const keyPlaces: Readonly<Record<string, number | undefined>> = {
  initiated_at: Session.place("numbers", "initiated_at"),
  expires_at: Session.place("numbers", "expires_at"),
  last_updated: Session.place("numbers", "last_updated"),
};

/** Give what a walk goes by of sessions, of which nothing is made but what it asks for; and of the `odd` rows among them. */
const listedFields = (
  { bytes, from, fields: { texts, textCount, numbers, numberCount } }: RowSlices.RowSlices,
  odd: ReadonlyMap<number, SortOrder.Row>,
): SortOrder.WalkRows => {
  const id = (index: number): string => {
    const row = odd.get(index);
    const at = 2 * (index * textCount + idPlace);
    return row === undefined ? FieldOffsets.text(bytes, texts[at]!, texts[at + 1]!) : SortOrder.idOf(row, ID);
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
      const keys: Array<SortOrder.Key | undefined> = [];
      for (let index = 0; index < from.length; index++) {
        keys.push(place === undefined ? id(index) : numbers[index * numberCount + place]!);
      }
      odd.forEach((row, index) => keys[index] = SortOrder.keyOf(row, ID, order));
      return keys;
    },
  };
};

/** Give what the walk can go by of a row that is no session: a text that tells it apart, if there is no more. */
const placeOf = (row: unknown, { bytes, from, to }: RowSlices.Slices, index: number): SortOrder.Row =>
  isPlaced(row) ? row : `#${ObservedIds.hashBytes(bytes, from[index]!, to[index]!).toString(36)}`;

const tooManyValues: Session.Flaw = { paths: [""], message: "it holds more values than a session has" };

/** Decodes the rows of an answer, of which only those that are no sessions are looked into. */
export const of = ({ slices, invalid }: Scanned): DecodedPage => {
  const value = (index: number): unknown =>
    RowSlices.isHuge(slices, index) ? undefined : JSON.parse(RowSlices.text(slices, index));
  const placed = new Map(invalid.map((index) => [index, placeOf(value(index), slices, index)]));
  const flaws = new Map<number, Session.Flaw>();
  return {
    walkRows: listedFields(slices, placed),
    slices,
    invalid: new Set(invalid),
    value,
    flaw: (index) => {
      const flaw = flaws.get(index) ??
        (RowSlices.isHuge(slices, index)
          ? tooManyValues
          : Either.getOrElse(Either.flip(Session.decode(value(index))), () => tooManyValues));
      flaws.set(index, flaw);
      return flaw;
    },
  };
};

export const empty: Scanned = { slices: Batch.toBytes(Batch.make("", [])).rows.slices, invalid: [] };

/** Gives the rows as far as {@link Changes} goes by them. */
export const trackedRows = ({ walkRows, invalid, slices, value }: DecodedPage): Array<Changes.TrackedRow> =>
  walkRows.keys(byChange).map((key, index) => {
    const row = invalid.has(index) ? value(index) : { session_id: walkRows.id(index), last_updated: key };
    const { session_id, last_updated } = isTracked(row) ? row : {};
    return {
      id: session_id,
      lastUpdated: last_updated,
      isSession: !invalid.has(index),
      text: () => RowSlices.text(slices, index),
    };
  });

export const idOf = ({ walkRows, invalid, value }: DecodedPage, index: number): string | undefined => {
  if (!invalid.has(index)) return walkRows.id(index);
  const row = value(index);
  return isNamed(row) ? row.session_id : undefined;
};

/** The number of flaws that are found out before others have their turn. */
const FLAWS_AT_A_TIME = 500;

/** Finds out what is wrong with those of the rows that are no sessions, without keeping others from their work. */
export const findFlaws = (
  { invalid, flaw }: DecodedPage,
  take: ReadonlyArray<number>,
): Effect.Effect<void> => {
  if (invalid.size <= FLAWS_AT_A_TIME) return Effect.void;
  const refused = take.filter((index) => invalid.has(index));
  const from = (at: number): Effect.Effect<void> => {
    if (at >= refused.length) return Effect.void;
    for (const index of refused.slice(at, at + FLAWS_AT_A_TIME)) flaw(index);
    return Effect.zipRight(everythingReady, Effect.suspend(() => from(at + FLAWS_AT_A_TIME)));
  };
  return Effect.suspend(() => from(0));
};

/** Makes what of a batch comes from the rows of its answer: those at these indices. */
export const batchOf = (
  userId: string,
  { page, size }: PageWalk.PageRequest,
  { slices, invalid, flaw }: DecodedPage,
  take: ReadonlyArray<number>,
): Pick<Batch.Batch, "rows" | "quarantined"> => {
  const accepted = invalid.size === 0 ? take : take.filter((index) => !invalid.has(index));
  const refused = invalid.size === 0 ? [] : take.filter((index) => invalid.has(index));
  return {
    rows: { _tag: "Bytes", slices: RowSlices.pick(slices, accepted) },
    quarantined: refused.map((index): Batch.QuarantinedRow => ({
      userId,
      page,
      size,
      index,
      ...flaw(index),
      source: RowSlices.text(slices, index),
    })),
  };
};
