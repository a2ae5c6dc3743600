/**
 * Runs by activity: only users who were active since the last run are asked for changes, and now and then all of them.
 *
 * **Why nothing is lost, if activity is honest.** Whoever's sessions change is active then, or up to a *lookback* before. The
 * list of users is read, latest activity first, down to the time up to which it was read before, less twice the lookback: once
 * for what is shown late, once for activity that is older than the change. Whoever becomes active while it is read moves to the
 * head, and is the next run's. Users that this says nothing of are asked in any case: those created since, without any
 * activity, or whose last walk failed or is not verified. Where a list is not verified, all users are asked.
 *
 * **Why it is known to be honest.** It is not, and so it is measured. A *sweep* asks all users, and compares the newest session
 * of each with the activity that was read before. A session may have changed in between, so a user who seems to contradict is
 * read once more. If the session is still newer than the activity by more than the lookback, activity is not gone by from then
 * on. What a sweep brings that was older than the last run came late.
 */
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Stream from "effect/Stream";
import type { ApiError } from "../../api/ApiError.ts";
import type { TenantClient } from "../../api/TenantClient.ts";
import type { ActivityReport } from "../../plain/Report.ts";
import type { Batch } from "../../session/Batch.ts";
import { LOOKBACK } from "../paging/Limits.ts";
import type * as UserList from "../UserList.ts";
import * as UserSource from "../UserSource.ts";
import type { ActivityState } from "./ActivityState.ts";
import * as Contradiction from "./Contradiction.ts";
import * as Listing from "./Listing.ts";

/** The time from one sweep to the next: a day, in seconds. */
export const SWEEP_EVERY = 86_400;

export interface ByActivityOptions {
  /** As the run before left it; without one the run is a sweep. */
  readonly state: ActivityState | undefined;
  /** The time now, by the clock of this machine, in milliseconds since the epoch. */
  readonly now: number;
  /** Seconds. @default {86_400} */
  readonly sweepEvery?: number | undefined;
  /** Seconds. @default {300} */
  readonly lookback?: number | undefined;
  /** Makes the run a sweep, whether one is due or not. @default {false} */
  readonly sweep?: boolean | undefined;
}

export type ByActivity = ReturnType<typeof make>;

/** Walks whose users may have to be read once more, side by side. */
const AT_ONCE = 16;

/** The most users that are asked in each run, whatever the activity of others: their ids are kept for that, 4 MB. */
const MOST_KEPT = 100_000;

/** The tenant can't list its users so. */
const isRefused = ({ reason }: ApiError): boolean => reason === "Unprocessable" || reason === "BadRequest";

export const make = (
  { state: before, now: began, sweepEvery = SWEEP_EVERY, lookback = LOOKBACK, sweep = false }:
    ByActivityOptions,
) => {
  const now = began / 1000;
  // A sweep that is yet to come was dated by a clock that was wrong.
  const isDue = before === undefined || now - before.swept_at >= sweepEvery || before.swept_at > now;
  const isSweep = sweep || isDue;
  const isShort = !isSweep && before.off === undefined;
  const listing = Listing.make();
  const tried: ReadonlySet<string> = new Set(before?.again);
  const again = new Set(tried);
  const gone = new Set<string>();
  let off = before?.off;
  let isPartial = isShort;
  let [isRead, isMeasured, asked] = [false, true, 0];

  const noted = (batches: Stream.Stream<UserSource.UserBatch, ApiError, TenantClient>) =>
    Stream.tap(batches, listing.note);

  const everyone = Stream.suspend(() => {
    isPartial = false;
    listing.clear();
    return Stream.mapConcat(noted(UserSource.all()), ({ userIds }) => userIds);
  });

  /** Lists the users that may have changed; all users where that can't be told. */
  const changed = ({ at, created, inactive }: ActivityState) => {
    const [activeFrom, createdFrom] = [at - 2 * lookback, created - 2 * lookback];
    const reading = Effect.zipRight(
      Stream.runDrain(noted(UserSource.activeSince(activeFrom))),
      Stream.runDrain(noted(UserSource.createdSince(createdFrom))),
    );
    const chosen = Effect.map(
      Effect.either(reading),
      (read): Stream.Stream<string, ApiError, TenantClient> => {
        if (Either.isLeft(read)) return isRefused(read.left) ? everyone : Stream.fail(read.left);
        const found = listing.read();
        // A time that is yet to come was told by a clock that was wrong.
        const isSound = found !== undefined && found.unverifiedReasons.length === 0 &&
          Math.max(at, created) <= found.possible;
        if (!isSound) return everyone;
        // A page reaches beyond the time.
        const fresh = [...found.users].filter(([, { active = Infinity, created = Infinity }]) =>
          active >= activeFrom || created >= createdFrom
        );
        return Stream.fromIterable(new Set([...fresh.map(([userId]) => userId), ...inactive, ...again]));
      },
    );
    return Stream.unwrap(chosen);
  };

  const ids = Stream.suspend(() => {
    [isRead, asked] = [false, 0];
    isPartial = isShort;
    listing.clear();
    return isShort ? changed(before) : everyone;
  }).pipe(
    Stream.tap(() => Effect.sync(() => void asked++)),
    Stream.concat(Stream.execute(Effect.sync(() => void (isRead = true)))),
  );

  /** Compares the newest session of a user with the activity, of a sweep. */
  const measure = (userId: string, newest: number): Effect.Effect<void, never, TenantClient> => {
    const found = listing.read();
    const its = found?.users.get(userId);
    if (!isSweep || off !== undefined || found === undefined || its === undefined) return Effect.void;
    const { ahead } = found;
    return Effect.flatMap(
      Contradiction.find({ userId, newest, active: its.active, lookback, ahead }),
      (verdict) => {
        if (verdict === undefined) return Effect.void;
        if (verdict.isFinal) off ??= verdict.says;
        if (verdict.isFinal || !isMeasured) return Effect.void;
        isMeasured = false;
        return Effect.logWarning(
          `Activity can't be measured in this run, so the next one asks all users too: ${verdict.says}`,
        );
      },
    );
  };

  const judge = ({ userId, end }: Batch): Effect.Effect<void, never, TenantClient> => {
    if (end === undefined) return Effect.void;
    const isMissing = end.status === "missing" || end.status === "removed";
    // That a user is not there is believed of the list once it is said in two runs.
    const isGone = isMissing && tried.has(userId);
    if (isGone) gone.add(userId);
    if (!isGone && (isMissing || end.status === "failed" || !end.verified)) again.add(userId);
    else again.delete(userId);
    return end.newest === undefined ? Effect.void : measure(userId, end.newest);
  };

  /** Lists the users without activity. */
  const inactiveNow = ({ users }: Listing.Listing): ReadonlyArray<string> => {
    const earlier = isPartial ? before?.inactive.filter((userId) => !users.has(userId)) ?? [] : [];
    const found = [...users].filter(([, { active }]) => active === undefined).map(([userId]) => userId);
    return [...new Set([...earlier, ...found])].filter((userId) => !gone.has(userId));
  };

  const swept_at = isSweep ? now : before.swept_at;

  /** Gives the users to ask in the next run; too many of them end the shortcut. */
  const keep = (found: Listing.Listing | undefined): ReadonlyArray<string> => {
    const inactive = found === undefined ? [] : inactiveNow(found);
    if (inactive.length > MOST_KEPT) off ??= `${inactive.length} users have no activity to go by`;
    if (again.size > MOST_KEPT) off ??= `the walks of ${again.size} users failed or are not verified`;
    return inactive;
  };

  const state = (): ActivityState | undefined => {
    const found = listing.read();
    const inactive = keep(found);
    if (off !== undefined) {
      return { at: 0, created: 0, ran_at: 0, swept_at, inactive: [], again: [], off };
    }
    const isSure = isRead && isMeasured && found !== undefined && found.unverifiedReasons.length === 0 &&
      Number.isFinite(found.certain);
    if (!isSure) return before && { ...before, again: [...again] };
    const { active, created, certain } = found;
    // A sweep has asked everyone, whatever a run before has thought.
    const latest = (time: number, earlier = -Infinity) => {
      const reached = Math.min(certain, isSweep ? time : Math.max(time, earlier));
      return reached === -Infinity ? certain : reached;
    };
    return {
      at: latest(active, before?.at),
      created: latest(created, before?.created),
      ran_at: certain,
      swept_at,
      inactive,
      again: [...again],
    };
  };

  const users: UserList.UserList<ApiError, TenantClient> = {
    ids,
    identity: "all",
    all: true,
    isPartial: () => isPartial,
    unverifiedReasons: () => listing.read()?.unverifiedReasons ?? [],
    total: () => isPartial && !isRead ? undefined : listing.read()?.total,
  };

  return {
    /** True if all users are asked to find out whether activity tells the truth. */
    isSweep,
    /** The users to ask. */
    users,
    /** Takes note of how walks end, and measures what they found. */
    watch: <E, R>(batches: Stream.Stream<Batch, E, R>): Stream.Stream<Batch, E, R | TenantClient> =>
      Stream.mapEffect(batches, (batch) => Effect.as(judge(batch), batch), { concurrency: AT_ONCE }),
    /** Time up to which the run before should have brought what changed, in seconds since the epoch; of a sweep alone. */
    lateUpTo: isSweep && before?.off === undefined ? before?.ran_at : undefined,
    /** Tells whether it is no matter of activity that a user's sessions come late: an earlier walk failed, or was not verified. */
    isExcused: (userId: string): boolean => tried.has(userId),
    /** Gives, after the walks, what the next run goes by. */
    state,
    report: (late: number | undefined): ActivityReport => {
      const found = listing.read();
      keep(found);
      return {
        asked,
        of: found?.total,
        swept_at: Contradiction.iso(swept_at),
        ...(off !== undefined && { off }),
        ...(late !== undefined && { late }),
      };
    },
  };
};
