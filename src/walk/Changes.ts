/**
 * What has changed since an earlier run: the list is read newest change first, `last_updated:-1`, down to where that run
 * had come, and what it had delivered already is passed over.
 *
 * **Why no change is lost.** The mark of a run is the highest `last_updated` in the first answer of its walk: the
 * tenant's clock, at or before that answer, and never ours. A session that changes during the walk moves to the head of
 * the list, at or above that mark, and is the next run's; one that does not stays where it is, and the walk finds it.
 * The next run reads down to the mark less a *lookback*, for a change can become visible a little after the time it
 * bears. What an earlier run delivered of that stretch is known by id, `last_updated` and a digest of the row, so that it
 * is not delivered again, and a second change within the same second is.
 *
 * A walk that can't vouch for its result leaves the mark where it was.
 *
 * @module
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex, utf8ToBytes } from "@noble/hashes/utils.js";
import * as Schema from "effect/Schema";
import { LOOKBACK } from "./Bounds.ts";

/** A row that was delivered: its id (or the digest, if it has none), `last_updated`, and a digest of its text. */
const Seen = Schema.Tuple(Schema.String, Schema.JsonNumber, Schema.String);

/** What an earlier run knew of a user's sessions when it ended. A small plain value. */
export const Mark = Schema.Struct({
  /** The highest `last_updated` when its walk began, in seconds since the epoch; absent if there was no session. */
  at: Schema.optional(Schema.JsonNumber),
  /** What it and earlier ones delivered from {@link Mark.at} less the lookback on. */
  seen: Schema.Array(Seen),
});

/** See {@link Mark}. */
export type Mark = typeof Mark.Type;

/** What a walk has come to know so far, on the way to the next mark. */
export interface Watch {
  readonly before: Mark | undefined;
  /** Rows with a lower `last_updated` are not wanted; none of them if undefined. */
  readonly since: number | undefined;
  readonly lookback: number;
  /** The mark that this walk will leave, once its first answer is there. */
  readonly at: number | undefined;
  readonly isBegun: boolean;
  /** The first so many of an array that successive states share, each adding to its end. */
  readonly delivered: Array<typeof Seen.Type>;
  readonly count: number;
}

/** The same as a plain value. */
export const WatchState = Schema.Struct({
  before: Schema.optional(Mark),
  since: Schema.optional(Schema.JsonNumber),
  lookback: Schema.JsonNumber,
  at: Schema.optional(Schema.JsonNumber),
  isBegun: Schema.Boolean,
  delivered: Schema.Array(Seen),
});

/** The watch as a plain value. */
export const save = ({ delivered, count, ...watch }: Watch): typeof WatchState.Type => ({
  ...watch,
  delivered: delivered.slice(0, count),
});

/** The watch that {@link save} was given. */
export const restore = ({ delivered, ...watch }: typeof WatchState.Type): Watch => ({
  ...watch,
  before: watch.before,
  since: watch.since,
  at: watch.at,
  delivered: [...delivered],
  count: delivered.length,
});

/** How a walk begins that looks for changes. */
export interface WatchOptions {
  /** The mark of the run before; without one every session is new. */
  readonly mark?: Mark | undefined;
  /** Only what changed at or after this time, in seconds since the epoch. @default {the mark less the lookback} */
  readonly since?: number | undefined;
  /** @default {300} */
  readonly lookback?: number | undefined;
}

/** The beginning of a watch. */
export const begin = ({ mark, since, lookback = LOOKBACK }: WatchOptions): Watch => ({
  before: mark,
  since: since ?? (mark?.at === undefined ? undefined : mark.at - lookback),
  lookback,
  at: undefined,
  isBegun: false,
  delivered: [],
  count: 0,
});

/** A row, as far as it matters here. */
export interface WatchedRow {
  readonly id: string | undefined;
  /** Undefined if it has none. */
  readonly lastUpdated: number | undefined;
  /** As served. */
  readonly text: () => string;
}

/** What tells a text from others without saying anything of it. */
export const digest = (text: string): string => bytesToHex(sha256(utf8ToBytes(text)).subarray(0, 8));

const highest = (rows: ReadonlyArray<WatchedRow>, servedAt: number | undefined): number | undefined => {
  let highest: number | undefined;
  // A time that has not come yet is no mark: what changes before it comes would lie below.
  for (const { lastUpdated = -Infinity } of rows) {
    const time = Math.min(lastUpdated, servedAt ?? Infinity);
    if (time !== -Infinity && (highest === undefined || time > highest)) highest = time;
  }
  return highest;
};

/**
 * Takes in the rows of an answer, of which the walk has chosen some, and says which of them are news. `servedAt` is when
 * the tenant answered, by its own clock, in seconds since the epoch.
 */
export const receive = (
  watch: Watch,
  rows: ReadonlyArray<WatchedRow>,
  take: ReadonlyArray<number>,
  servedAt: number | undefined,
): { readonly watch: Watch; readonly take: ReadonlyArray<number> } => {
  const { before, since = -Infinity, isBegun, delivered } = watch;
  const at = isBegun ? watch.at : highest(rows, servedAt) ?? before?.at;
  // Without the guarantee of this walk the mark before stands, and what is known has to reach back to it.
  const floor = Math.min(at ?? -Infinity, before?.at ?? Infinity) - watch.lookback;
  const known = new Map(before?.seen.map(([id, time, digest]) => [id, `${time} ${digest}`]));
  const news = take.filter((index) => {
    const { lastUpdated, text, ...row } = rows[index]!;
    if (lastUpdated !== undefined && lastUpdated < since) return false;
    const time = lastUpdated ?? at ?? 0;
    if (time < floor) return true;
    const mine = digest(text());
    const id = row.id ?? mine;
    const isKnown = lastUpdated === undefined
      ? known.get(id)?.endsWith(` ${mine}`) === true
      : known.get(id) === `${time} ${mine}`;
    if (!isKnown || lastUpdated === undefined) delivered.push([id, time, mine]);
    return !isKnown;
  });
  return { watch: { ...watch, at, isBegun: true, count: delivered.length }, take: news };
};

/** The mark to keep for the next run, once the walk has ended. */
export const finish = (watch: Watch, isVerified: boolean): Mark => {
  const { before, lookback, delivered, count } = watch;
  const at = isVerified ? Math.max(watch.at ?? -Infinity, before?.at ?? -Infinity) : before?.at ?? -Infinity;
  if (at === -Infinity) return { seen: isVerified ? [] : delivered.slice(0, count) };
  const seen = new Map([...before?.seen ?? [], ...delivered.slice(0, count)].map((row) => [row[0], row]));
  return { at, seen: [...seen.values()].filter(([, time]) => time >= at - lookback) };
};
