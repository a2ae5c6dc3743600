/**
 * The walk of one user: from its beginning, a cursor or a checkpoint to its end, a batch for each answer that delivers
 * anything.
 */
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import { ApiError } from "../api/ApiError.ts";
import type { Page, TenantClient } from "../api/TenantClient.ts";
import type { SessionFilters } from "../api/SessionFilters.ts";
import type * as SessionsApi from "../api/SessionsApi.ts";
import type { Scanned } from "../scan/PageScanner.ts";
import { type Batch, noRows, type WalkEnd } from "../session/Batch.ts";
import * as DecodedPage from "./DecodedPage.ts";
import * as Changes from "./incremental/Changes.ts";
import * as Clocks from "./paging/Clocks.ts";
import type { PageSizes } from "./paging/PageSizes.ts";
import type { ListShape, Order, Walk } from "./paging/PageWalk.ts";
import * as PrefetchReader from "./paging/PrefetchReader.ts";
import * as WalkCheckpoint from "./paging/WalkCheckpoint.ts";
import * as SessionPages from "./SessionPages.ts";
import * as SizeFaults from "./SizeFaults.ts";

/** A user to walk: from the beginning, or from where an earlier walk stood. */
export type Start = string | {
  readonly userId: string;
  /** The value that {@link Batch.state} gave. */
  readonly state?: unknown;
  /** Cursor that the walk of an earlier run left in {@link WalkEnd.cursor}; of a walk for changes. */
  readonly cursor?: unknown;
};

/** The changes to look for, and what to do with what else there is. */
export interface Tracking {
  /**
   * All that changed at or after this time, in seconds since the epoch by the tenant's clock, delivered before or not. It
   * may be later than a cursor: that stays where it is then, and the next run without a time delivers what lies between. Left
   * out: for each user what has changed since its cursor, and every session where there is none.
   */
  readonly since?: number | undefined;
  /**
   * The time below the cursor that is read once more, in seconds, for changes that became visible only after the time they
   * bear. What was delivered of that already is not delivered again.
   *
   * @default {300}
   */
  readonly lookback?: number | undefined;
  /**
   * Reads every list to its end, though only changes are delivered, and says in {@link Batch.observedIds} what it came upon: what
   * is not there is gone.
   *
   * @default {false}
   */
  readonly whole?: boolean | undefined;
  /**
   * With {@link whole}: tells what the place that sessions go to has of one. What it lacks is delivered whatever the cursor
   * says, such as a session that was shown late or is listed again. What it has is not.
   */
  readonly holds?:
    | ((userId: string, sessionId: string, lastUpdated: number) => Changes.Holding)
    | undefined;
}

const safeOrders: ListShape["orders"] = [
  { sort: "initiated_at:-1", key: "initiated_at", type: "number", descending: true, fixed: true },
  { sort: "session_id:1", key: "session_id", type: "string", descending: false, fixed: true, unique: true },
];

/** Down from the newest change. */
const changeOrders: ListShape["orders"] = [DecodedPage.byChange, safeOrders[1]!];

const orderFrom = (sort: SessionsApi.Sort): Order => {
  const [key, order] = sort.split(":") as [SessionsApi.SortKey, string];
  const type = key === "session_id" ? "string" : "number";
  return {
    sort,
    key,
    type,
    descending: order === "-1",
    fixed: key === "initiated_at" || key === "session_id",
  };
};

/** The state of a walk, its knowledge of changes, and whether it reads to the end for all that. */
const State = Schema.Struct({
  walk: WalkCheckpoint.WalkState,
  watch: Schema.optional(Changes.TrackerState),
  whole: Schema.optional(Schema.Literal(true)),
  newest: Schema.optional(Schema.JsonNumber),
});
const decodeState = Schema.decodeUnknownSync(State);
const decodeCursor = Schema.decodeUnknownSync(Changes.Cursor);

const completeEnd = (
  { unverifiedReasons }: Pick<Walk, "unverifiedReasons">,
  tracker: Changes.ChangeTracker | undefined,
  newest: number | undefined,
): WalkEnd => {
  const verified = unverifiedReasons.length === 0;
  const left = tracker && { cursor: Changes.finish(tracker, verified) };
  return {
    status: "complete",
    verified,
    unverifiedReasons,
    ...left,
    ...(newest !== undefined && { newest }),
  };
};

/** Makes the batch of an answer. The rows are no part of its state: that is held, and saved, for longer. */
const toBatch = (
  userId: string,
  shape: ListShape,
  { request, rows, walk }: PrefetchReader.Reading<Page<Scanned>, DecodedPage.DecodedPage>,
  take: ReadonlyArray<number>,
  tracker: Changes.ChangeTracker | undefined,
  observedIds: Batch["observedIds"],
  redelivered: number,
  newest: number | undefined,
): Batch => {
  const state = () => ({
    walk: WalkCheckpoint.save(shape, walk),
    ...(tracker && { watch: Changes.save(tracker) }),
    ...(observedIds && { whole: true }),
    ...(newest !== undefined && { newest }),
  });
  return {
    userId,
    ...DecodedPage.batchOf(userId, request, rows, take),
    observedIds,
    ...(redelivered > 0 && { redelivered }),
    total: walk.total,
    end: walk.done ? completeEnd(walk, tracker, newest) : undefined,
    state,
  };
};

export const ended = (userId: string, end: WalkEnd): Batch => ({
  userId,
  rows: noRows,
  quarantined: [],
  end,
});

/** Gives the time that a walk is to begin from, if it can't have come yet. */
const lateBy = ({ before, since }: Changes.ChangeTracker, { possible }: Clocks.Now): number | undefined =>
  [before?.at, since].find((time) => time !== undefined && time > possible);

const tooLate = (userId: string, time: number, { whose }: Clocks.Now): ApiError =>
  new ApiError({
    reason: "InvalidRequest",
    url: "/api/users/{user_id}/sessions",
    userId,
    detail: `changes since ${new Date(time * 1000).toISOString()} were asked for, which has not come yet by ${
      whose === "tenant"
        ? "the tenant's clock"
        : "the clock of this machine, as the tenant tells no time to go by"
    }: check that time, or walk all sessions anew`,
    attempts: 1,
  });

/** Tells whether a walk to go on with was asked for the same time as now, as far as that is known. */
const isSameTime = (
  tracker: typeof Changes.TrackerState.Type | undefined,
  tracking: Pick<Tracking, "since"> | undefined,
): boolean =>
  tracker?.asked === undefined || tracking === undefined || tracker.asked === (tracking.since ?? null);

export interface WalkSettings {
  readonly filters: SessionFilters;
  readonly sort?: SessionsApi.Sort | undefined;
  readonly sizes: PageSizes;
  readonly areListed: boolean;
  /** Undefined where all sessions are wanted. */
  readonly tracking: Tracking | undefined;
}

export interface Walker {
  /** Gives the number of pages that may be asked for at once, now. */
  readonly share: () => number;
  readonly answered: Effect.Effect<void, never, TenantClient>;
  readonly offer: (batch: Batch) => Effect.Effect<unknown>;
  /** Told of a walk that failed, and the cursor it leaves; `hasDelivered` tells whether sessions of the user were delivered. */
  readonly giveUp: (
    userId: string,
    error: ApiError,
    end: { readonly cursor?: unknown; readonly hasDelivered: boolean },
  ) => Effect.Effect<unknown, ApiError>;
}

/** Tell where a user's walk begins, and what it knows of changes by then. */
const begin = ({ state, cursor }: Exclude<Start, string>, tracking: Tracking | undefined) => {
  const saved = state === undefined ? undefined : decodeState(state);
  // One that was asked for another time does not deliver what is asked for now: it is begun anew.
  const begun = isSameTime(saved?.watch, tracking) ? saved : undefined;
  const before = begun === undefined && saved?.watch !== undefined
    ? Changes.abandon(Changes.restore(saved.watch))
    : cursor === undefined
    ? undefined
    : decodeCursor(cursor);
  return {
    tracker: begun !== undefined
      ? begun.watch && Changes.restore(begun.watch)
      : tracking && Changes.begin({ ...tracking, cursor: before }),
    isWhole: begun === undefined ? tracking?.whole === true : begun.whole === true,
    start: begun && WalkCheckpoint.restore(begun.walk),
    isKnown: cursor !== undefined || saved !== undefined,
    newest: begun?.newest,
  };
};

export const walk = (
  { filters, sort, sizes, areListed, tracking }: WalkSettings,
  user: Exclude<Start, string>,
  { share, answered, offer, giveUp }: Walker,
): Effect.Effect<unknown, ApiError, TenantClient> =>
  Effect.clockWith((clock) => {
    const { userId } = user;
    const { isWhole, start, isKnown, ...begun } = begin(user, tracking);
    let { tracker, newest } = begun;
    const orders: ListShape["orders"] = sort === undefined ? safeOrders : [orderFrom(sort)];
    const until = isWhole ? undefined : tracker?.since;
    const shape: ListShape = until === undefined ? { orders } : { orders: changeOrders, until };
    if (start?.done) return offer(ended(userId, completeEnd(start, tracker, newest)));
    // Sessions of the user that this walk has delivered, or an earlier process of it.
    let hasDelivered = start !== undefined && start.maxEnd > 0;
    return PrefetchReader.read({
      shape,
      sizes,
      start,
      share,
      faultOf: SizeFaults.of,
      ask: (request, turn) =>
        Effect.zipLeft(
          SessionPages.ask(
            userId,
            { ...request, sort: request.sort as SessionsApi.Sort, ...filters, turn },
            () => areListed || hasDelivered || isWhole || isKnown,
          ),
          answered,
        ),
      decode: ({ rows }) => DecodedPage.of(rows),
    }, (reading) => {
      const { page, rows, walk } = reading;
      let { take } = reading;
      hasDelivered ||= take.length > 0;
      const now = Clocks.read(page.servedAt, clock.unsafeCurrentTimeMillis() / 1000);
      const late = tracker && !tracker.isBegun ? lateBy(tracker, now) : undefined;
      if (late !== undefined) return Effect.fail(tooLate(userId, late, now));
      const observedIds = isWhole ? take.map((index) => DecodedPage.idOf(rows, index)) : undefined;
      let redelivered = 0;
      if (tracker !== undefined && reading.isTaken) {
        const holds = isWhole ? tracking?.holds : undefined;
        const tracked = DecodedPage.trackedRows(rows);
        newest = Changes.latest(tracked, newest, now.certain);
        ({ tracker, take, redelivered } = Changes.receive(tracker, tracked, take, {
          certain: now.certain,
          holds: holds && ((sessionId, lastUpdated) => holds(userId, sessionId, lastUpdated)),
        }));
      }
      return take.length > 0 || walk.done || (observedIds !== undefined && observedIds.length > 0)
        ? Effect.zipRight(
          DecodedPage.findFlaws(rows, take),
          Effect.suspend(() =>
            offer(toBatch(userId, shape, reading, take, tracker, observedIds, redelivered, newest))
          ),
        )
        : Effect.void;
    }).pipe(Effect.catchAll((error) =>
      giveUp(userId, error, {
        hasDelivered,
        ...(tracker && (tracker.isBegun || tracker.before) && { cursor: Changes.forgetTracked(tracker) }),
      })
    ));
  });
