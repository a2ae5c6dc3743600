/**
 * Changes since an earlier run: the list is read newest change first, `last_updated:-1`, down to where that run had come,
 * and what it had delivered already is passed over.
 *
 * **Why no change is lost.** The cursor of a run is the highest `last_updated` in the first answer of its walk: a time that
 * had come by then, and never a later one. A session that changes during the walk moves to the head of the list, at or above
 * that cursor, and is the next run's; one that does not stays where it is, and the walk finds it. The next run reads down to
 * the cursor less a *lookback*, for a change can become visible a little after the time it bears. What an earlier run
 * delivered of that stretch is known by id, `last_updated` and a digest of the row, so that it is not delivered again, and a
 * second change within the same second is.
 *
 * **What a cursor claims.** Up to {@link Cursor.at} all runs together have delivered everything. A run from a given time on may
 * begin above that: it leaves a *span*, and the cursor where it was, so that the next run closes the gap. So does a walk that
 * is not verified; what it has delivered is known by fingerprints, so that it is not delivered again.
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import * as Schema from "effect/Schema";
import { LOOKBACK } from "../paging/Limits.ts";
import * as Fingerprints from "./Fingerprints.ts";

/** A row that was delivered: its id (or the digest, if it has none), `last_updated`, and a digest of its text. */
const Delivered = Schema.Tuple(Schema.String, Schema.JsonNumber, Schema.String);

/** From one time to another, both included. */
const Span = Schema.Tuple(Schema.JsonNumber, Schema.JsonNumber);

/** The knowledge that earlier runs had of a user's sessions when the last of them ended. A small plain value. */
export const Cursor = Schema.Struct({
  /**
   * Everything that changed up to this time has been delivered, in seconds since the epoch; absent if that is not known of
   * any.
   */
  at: Schema.optional(Schema.JsonNumber),
  /**
   * So has everything that changed within these, above {@link Cursor.at}: what runs from a given time on have read. At most 8.
   */
  spans: Schema.optional(Schema.Array(Span)),
  /** The time below these for which it is known what was delivered, if not the usual 300 s. */
  lookback: Schema.optional(Schema.JsonNumber),
  /** The rows that were delivered of the latest of these times less the lookback, and later. */
  seen: Schema.Array(Delivered),
  /** {@link Fingerprints} of what else was delivered that no time tells of. At most 10,000. */
  known: Schema.optional(Schema.Array(Schema.JsonNumber)),
  /** Up to this time more was delivered than is told here. It may be delivered again. */
  forgottenTo: Schema.optional(Schema.JsonNumber),
});

export type Cursor = typeof Cursor.Type;

/** The knowledge of a walk so far, on the way to the next cursor. */
export interface ChangeTracker {
  readonly before: Cursor | undefined;
  /** The time from which on everything was asked for, whatever the cursor says. */
  readonly asked: number | undefined;
  /** Rows with a lower `last_updated` are not wanted; none of them if undefined. */
  readonly since: number | undefined;
  readonly lookback: number;
  /** The cursor that this walk will leave, once its first answer is there. */
  readonly at: number | undefined;
  readonly isBegun: boolean;
  /** The first so many of an array that successive states share, each adding to its end. */
  readonly delivered: Array<typeof Delivered.Type>;
  readonly count: number;
  /** Fingerprints of the rows below those, likewise, no more than a cursor keeps. */
  readonly others: Array<number>;
  readonly otherCount: number;
  /** True if some of those were not kept when the walk was put down. */
  readonly isPartial: boolean;
}

export const TrackerState = Schema.Struct({
  before: Schema.optional(Cursor),
  /** Null if no time was asked for; absent where that is not known. */
  asked: Schema.optional(Schema.NullOr(Schema.JsonNumber)),
  since: Schema.optional(Schema.JsonNumber),
  lookback: Schema.JsonNumber,
  at: Schema.optional(Schema.JsonNumber),
  isBegun: Schema.Boolean,
  delivered: Schema.Array(Delivered),
  others: Schema.optional(Schema.Array(Schema.JsonNumber)),
  partial: Schema.optional(Schema.Literal(true)),
});

/** The most fingerprints that a walk is put down with: 17 kB. States are kept of all walks under way, at every cut. */
const PUT_DOWN = 1000;

export const save = (
  { delivered, count, others, otherCount, isPartial, asked, ...tracker }: ChangeTracker,
): typeof TrackerState.Type => ({
  ...tracker,
  asked: asked ?? null,
  delivered: delivered.slice(0, count),
  ...(otherCount > 0 && otherCount <= PUT_DOWN && { others: others.slice(0, otherCount) }),
  ...((isPartial || otherCount > PUT_DOWN) && { partial: true }),
});

/** Gives the tracker that {@link save} was given. */
export const restore = (
  { delivered, others = [], partial, ...tracker }: typeof TrackerState.Type,
): ChangeTracker => ({
  ...tracker,
  before: tracker.before,
  asked: tracker.asked ?? undefined,
  since: tracker.since,
  at: tracker.at,
  delivered: [...delivered],
  count: delivered.length,
  others: [...others],
  otherCount: others.length,
  isPartial: partial === true,
});

export interface TrackerOptions {
  /** The cursor of the run before; without one every session is new. */
  readonly cursor?: Cursor | undefined;
  /** All that changed at or after this time, in seconds since the epoch, known or not. @default {the cursor less the lookback} */
  readonly since?: number | undefined;
  /** @default {300} */
  readonly lookback?: number | undefined;
}

export const begin = ({ cursor, since, lookback = LOOKBACK }: TrackerOptions): ChangeTracker => ({
  before: cursor,
  asked: since,
  since: since ?? (cursor?.at === undefined ? undefined : cursor.at - lookback),
  lookback,
  at: undefined,
  isBegun: false,
  delivered: [],
  count: 0,
  others: [],
  otherCount: 0,
  isPartial: false,
});

export interface TrackedRow {
  readonly id: string | undefined;
  readonly lastUpdated: number | undefined;
  /** False for a row that the schema does not accept. */
  readonly isSession: boolean;
  /** As served. */
  readonly text: () => string;
}

/** Digests a text: it tells it from others without saying anything of it. */
export const digest = (text: string): string => bytesToHex(sha256(utf8ToBytes(text)).subarray(0, 8));

const highest = (rows: ReadonlyArray<TrackedRow>, certain: number): number | undefined => {
  let highest: number | undefined;
  // A time that has not come yet is no cursor: what changes before it comes would lie below.
  for (const { lastUpdated = -Infinity } of rows) {
    const time = Math.min(lastUpdated, certain);
    if (time !== -Infinity && (highest === undefined || time > highest)) highest = time;
  }
  return highest;
};

/** Gives the latest time of sessions, of those that have come by then, and of what came before; undefined if there is none. */
export const latest = (
  rows: ReadonlyArray<TrackedRow>,
  before: number | undefined,
  certain = Infinity,
): number | undefined =>
  rows.reduce(
    (latest, { lastUpdated = Infinity, isSession }) =>
      !isSession || lastUpdated > certain || (latest !== undefined && latest >= lastUpdated)
        ? latest
        : lastUpdated,
    before,
  );

/** Tells of a time whether everything that changed then was delivered, late changes included. */
const isCovered = (
  { at, spans = [] }: Pick<Cursor, "at" | "spans">,
  time: number,
  lookback: number,
): boolean =>
  (at !== undefined && time < at - lookback) ||
  spans.some(([from, to]) => from <= time && time < to - lookback);

/** Gives the time below a cursor's times for which it knows what was delivered. */
const lookbackOf = ({ lookback = LOOKBACK }: Cursor): number => lookback;

/** Gives the latest time up to which runs have read; -Infinity if there is none. */
const topOf = ({ at = -Infinity, spans = [] }: Pick<Cursor, "at" | "spans">): number =>
  Math.max(at, ...spans.map(([, to]) => to));

/**
 * The state of a session at the place that sessions go to: it has neither this version nor a newer one (`lacks`); it has one
 * of them, but was told that the session had ended (`ended`); it has one of them (`has`).
 */
export type Holding = "lacks" | "ended" | "has";

export interface ReceiveOptions {
  /** The latest time that has come for certain by when the tenant answered, in seconds since the epoch. */
  readonly certain: number;
  /** Asked of every session where the whole list is read: what is there decides then, and not the cursor. */
  readonly holds?: ((sessionId: string, lastUpdated: number) => Holding) | undefined;
}

export interface Received {
  readonly tracker: ChangeTracker;
  /** The rows to deliver. */
  readonly take: ReadonlyArray<number>;
  /** The number of these that are sessions, and may have been delivered before as they are. */
  readonly redelivered: number;
}

/** Takes in the rows of an answer, of which the walk has chosen some, and says which of them are to be delivered. */
export const receive = (
  tracker: ChangeTracker,
  rows: ReadonlyArray<TrackedRow>,
  take: ReadonlyArray<number>,
  { certain, holds }: ReceiveOptions,
): Received => {
  const { before = { seen: [] }, asked, since = -Infinity, isBegun, delivered, others, lookback } = tracker;
  const at = isBegun ? tracker.at : highest(rows, certain) ?? before.at;
  const floor = (at ?? -Infinity) - lookback;
  const observed = new Map(before.seen.map(([id, time, digest]) => [id, [time, digest] as const]));
  const known = new Set(before.known);
  const forgottenTo = before.forgottenTo ?? -Infinity;
  let redelivered = 0;

  const isWanted = (index: number): boolean => {
    const row = rows[index]!;
    const { lastUpdated, isSession } = row;
    const holding = isSession && row.id !== undefined && lastUpdated !== undefined
      ? holds?.(row.id, lastUpdated)
      : undefined;
    const isRead = lastUpdated === undefined || lastUpdated >= since;
    if (!isRead && (holding === undefined || holding === "has")) return false;
    const time = lastUpdated ?? at ?? 0;
    const isPast = time < floor;
    const isCoveredNow = isCovered(before, time, lookback);
    // Nothing below the floor can change within its second any more: that it is there is all there is to know.
    const needsDigest = !isPast || (row.id !== undefined && observed.get(row.id)?.[0] === time);
    const mine = needsDigest ? digest(row.text()) : "";
    const id = row.id ?? mine;
    const [observedAt, observedAs] = observed.get(id) ?? [];
    const isObserved = needsDigest && observedAs === mine &&
      (lastUpdated === undefined || observedAt === time);
    const isChanged = observedAt === time && !isObserved;
    const isKnown = isObserved || (!isChanged && lastUpdated !== undefined &&
      (isCoveredNow || (known.size > 0 && known.has(Fingerprints.of(id, time)))));
    if (!isPast) {
      if (!isObserved || lastUpdated === undefined) delivered.push([id, time, mine]);
    } else if (!isCoveredNow && others.length < Fingerprints.MOST) others.push(Fingerprints.of(id, time));

    const isAsked = asked !== undefined && isRead;
    const isNews = holding === undefined ? !isKnown : holding !== "has" || isChanged;
    const mayBeThere = holding === undefined
      ? isKnown || (!isChanged && (time <= forgottenTo || isCovered(before, time, lookbackOf(before))))
      : holding === "ended" || (holding === "has" && !isChanged);
    if (isSession && (isAsked || isNews) && mayBeThere) redelivered++;
    return isAsked || isNews;
  };

  const wanted = take.filter(isWanted);
  return {
    tracker: { ...tracker, at, isBegun: true, count: delivered.length, otherCount: others.length },
    take: wanted,
    redelivered,
  };
};

/** The most spans that a cursor keeps; the lowest are forgotten. */
const SPANS = 8;

/** Joins a further span to those before: where they overlap by the lookback, there is no gap between them. */
const withSpan = (spans: NonNullable<Cursor["spans"]>, [from, to]: typeof Span.Type, lookback: number) => {
  const joined = spans.filter(([, end]) => from <= end - lookback);
  const others = spans.filter((span) => !joined.includes(span));
  const start = Math.min(from, ...joined.map(([start]) => start));
  return [...others, [start, Math.max(to, topOf({ spans: joined }))] as const];
};

/** Gives the cursor to keep for the next run, once the walk has ended. */
export const finish = (tracker: ChangeTracker, isVerified: boolean): Cursor => {
  const { before = { seen: [] }, asked, lookback, delivered, count, others, otherCount, isPartial } = tracker;
  const { at: base, spans: earlier = [] } = before;
  const top = tracker.at ?? -Infinity;
  const hasGap = asked !== undefined && !(base !== undefined && asked <= base - lookback);
  const isWhole = isVerified && !hasGap;
  const at = isWhole ? Math.max(top, topOf(before)) : base ?? -Infinity;
  const reached = isWhole
    ? []
    : isVerified && hasGap && asked <= top
    ? withSpan(earlier, [asked, top], lookback)
    : earlier;
  const spans = reached.slice(-SPANS);
  const dropped = topOf({ spans: reached.slice(0, -SPANS) });

  const rows = new Map([...before.seen, ...delivered.slice(0, count)].map((row) => [row[0], row]));
  const from = Math.max(top, at, topOf({ spans })) - lookback;
  const now = { ...(at !== -Infinity && { at }), ...(spans.length > 0 && { spans }) };
  const [recent, past] = [new Array<typeof Delivered.Type>(), new Array<number>()];
  for (const row of rows.values()) {
    const [id, time] = row;
    if (time >= from) recent.push(row);
    else if (!isCovered(now, time, lookback)) past.push(Fingerprints.of(id, time));
  }
  // What a verified walk has read below the lookback, its span tells of.
  const unspanned = isVerified ? [] : others.slice(0, otherCount);
  const { kept, isWhole: areAll } = isWhole
    ? { kept: [], isWhole: true }
    : Fingerprints.join(past, unspanned, before.known ?? []);
  const isForgotten = !areAll || unspanned.length === Fingerprints.MOST || (!isVerified && isPartial);
  const forgottenTo = isWhole
    ? -Infinity
    : Math.max(before.forgottenTo ?? -Infinity, dropped, isForgotten ? from : -Infinity);
  // Of times that were there before no more is known than was.
  const depth = isWhole || topOf(before) === -Infinity ? lookback : Math.min(lookback, lookbackOf(before));
  return {
    ...now,
    ...(depth !== LOOKBACK && { lookback: depth }),
    seen: recent,
    ...(kept.length > 0 && { known: kept }),
    ...(forgottenTo !== -Infinity && { forgottenTo }),
  };
};

/** Tells whether a run had come upon a session by when it left the cursor. */
export const hasSession = (cursor: Cursor): boolean =>
  lastOf(cursor) !== -Infinity || cursor.known !== undefined;

/** Gives the latest time of what was delivered; -Infinity if nothing was. */
const lastOf = (cursor: Cursor): number =>
  cursor.seen.reduce(
    (last, [, time]) => Math.max(last, time),
    Math.max(topOf(cursor), cursor.forgottenTo ?? -Infinity),
  );

/**
 * Gives the cursor of a user that the tenant does not know any more: should it come back, everything is delivered, what is
 * there already as well.
 */
export const forget = (cursor: Cursor, until = -Infinity): Cursor => {
  const forgottenTo = Math.max(lastOf(cursor), until);
  return { seen: [], ...(forgottenTo !== -Infinity && { forgottenTo }) };
};

/** Gives the cursor for walking once more what was watched for something else: of what was delivered so far, little is known. */
export const abandon = (tracker: ChangeTracker): Cursor => {
  const { at } = tracker;
  const cursor = finish(tracker, false);
  if (!tracker.isBegun || at === undefined) return cursor;
  return { ...cursor, forgottenTo: Math.max(at, cursor.forgottenTo ?? -Infinity) };
};

/** Gives the same for a user that the tenant did not know any more in the midst of its walk. */
export const forgetTracked = (tracker: ChangeTracker): Cursor => forget(abandon(tracker));
