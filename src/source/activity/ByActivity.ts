/**
 * By activity: only users who were active since the last run are asked for changes, and now and then all of them.
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
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import type { ApiError } from "../../api/ApiError.ts";
import type { TenantClient } from "../../api/TenantClient.ts";
import type { ActivityReport } from "../../plain/Report.ts";
import type { Batch } from "../../session/Batch.ts";
import * as Clocks from "../paging/Clocks.ts";
import { LOOKBACK } from "../paging/Limits.ts";
import type * as UserList from "../UserList.ts";
import * as UserSource from "../UserSource.ts";
import type { ActivityState } from "./ActivityState.ts";
import * as Contradiction from "./Contradiction.ts";

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

export interface ByActivity {
  /** True if all users are asked to find out whether activity tells the truth. */
  readonly isSweep: boolean;
  /** The users to ask. */
  readonly users: UserList.UserList<ApiError, TenantClient>;
  /** Takes note of how walks end, and measures what they found. */
  readonly watch: <E, R>(batches: Stream.Stream<Batch, E, R>) => Stream.Stream<Batch, E, R | TenantClient>;
  /** Of a sweep: what changed up to this time, in seconds since the epoch, the run before should have brought. */
  readonly lateUpTo: number | undefined;
  /** After the walks: what the next run goes by. */
  readonly state: () => ActivityState | undefined;
  readonly report: (late: number | undefined) => ActivityReport;
}

/** Walks whose users may have to be read once more, side by side. */
const AT_ONCE = 16;

/** The most users without any activity that are asked in each run, whose ids are kept for that: 4 MB. */
const MOST_INACTIVE = 100_000;

/** What lists of users have told. */
interface Listed {
  /** The times of each user, in seconds since the epoch. */
  readonly users: Map<string, { readonly active: number | undefined; readonly created: number | undefined }>;
  /** The latest of these times, none that had not come for certain when the first answer was served. */
  active: number;
  created: number;
  /** That time. */
  certain: number | undefined;
  total: number | undefined;
  readonly unverified: Set<string>;
}

/** Take note of what an answer tells of users. */
const note = (
  listed: Listed,
  { users, total, servedAt, unverifiedReasons = [] }: UserSource.UserBatch,
  now: number,
): void => {
  const certain = listed.certain ??= Clocks.read(servedAt, now / 1000).certain;
  listed.total = total ?? listed.total;
  for (const reason of unverifiedReasons) listed.unverified.add(reason);
  for (const { user_id, creation_time, last_activity } of users) {
    const [active, created] = [Contradiction.timeOf(last_activity), Contradiction.timeOf(creation_time)];
    listed.users.set(user_id, { active, created });
    if (active !== undefined) listed.active = Math.max(listed.active, Math.min(active, certain));
    if (created !== undefined) listed.created = Math.max(listed.created, Math.min(created, certain));
  }
};

export const make = (
  { state: before, now: began, sweepEvery = SWEEP_EVERY, lookback = LOOKBACK, sweep = false }:
    ByActivityOptions,
): ByActivity => {
  const isSweep = sweep || before === undefined || began / 1000 - before.swept_at >= sweepEvery;
  const isShort = !isSweep && before.off === undefined;
  const listed: Listed = {
    users: new Map(),
    active: -Infinity,
    created: -Infinity,
    certain: undefined,
    total: undefined,
    unverified: new Set(),
  };
  const again = new Set(before?.again);
  let off = before?.off;
  let isPartial = isShort;
  let [isRead, isMeasured] = [false, true];
  let asked = 0;

  const noted = (batches: Stream.Stream<UserSource.UserBatch, ApiError, TenantClient>) =>
    Stream.tap(batches, (batch) => Effect.map(Clock.currentTimeMillis, (now) => note(listed, batch, now)));

  const everyone = Stream.mapConcat(noted(UserSource.all()), ({ userIds }) => userIds);

  /** Lists the users that may have changed; all users where that can't be told. */
  const changed = ({ at, created, inactive }: ActivityState) =>
    Stream.unwrap(Effect.gen(function* () {
      const [activeFrom, createdFrom] = [at - 2 * lookback, created - 2 * lookback];
      yield* Stream.runDrain(noted(UserSource.activeSince(activeFrom)));
      yield* Stream.runDrain(noted(UserSource.createdSince(createdFrom)));
      if (listed.unverified.size > 0) {
        isPartial = false;
        listed.unverified.clear();
        return everyone;
      }
      // A page reaches beyond the time.
      const fresh = [...listed.users].filter(([, { active = Infinity, created = Infinity }]) =>
        active >= activeFrom || created >= createdFrom
      );
      return Stream.fromIterable(new Set([...fresh.map(([userId]) => userId), ...inactive, ...again]));
    }));

  const ids = Stream.suspend(() => isShort ? changed(before) : everyone).pipe(
    Stream.tap(() => Effect.sync(() => void asked++)),
    Stream.concat(Stream.execute(Effect.sync(() => void (isRead = true)))),
  );

  /** Compares the newest session of a user with the activity, of a sweep. */
  const measure = (userId: string, newest: number) => {
    const its = listed.users.get(userId);
    if (!isSweep || off !== undefined || its === undefined) return Effect.void;
    return Effect.map(Contradiction.find({ userId, newest, active: its.active, lookback }), (found) => {
      if (found === "unknown") isMeasured = false;
      else if (found !== undefined) off ??= found;
    });
  };

  const judge = ({ userId, end }: Batch) => {
    if (end === undefined) return Effect.void;
    if (end.status === "failed" || !end.verified) again.add(userId);
    else again.delete(userId);
    return end.newest === undefined ? Effect.void : measure(userId, end.newest);
  };

  /** Lists those who are to be asked whatever the activity of others. */
  const inactiveNow = (): ReadonlyArray<string> => {
    const isInactive = ([, { active }]: readonly [string, { readonly active: number | undefined }]) =>
      active === undefined;
    const now = [...listed.users].filter(isInactive).map(([userId]) => userId);
    if (!isPartial) return now;
    return [...new Set([...before?.inactive.filter((userId) => !listed.users.has(userId)) ?? [], ...now])];
  };

  return {
    isSweep,
    users: {
      ids,
      identity: "all",
      all: true,
      isPartial: () => isPartial,
      unverifiedReasons: () => [...listed.unverified],
      total: () => isPartial && !isRead ? undefined : listed.total,
    },
    watch: (batches) =>
      Stream.mapEffect(batches, (batch) => Effect.as(judge(batch), batch), { concurrency: AT_ONCE }),
    lateUpTo: isSweep && before?.off === undefined ? before?.ran_at : undefined,
    state: () => {
      const { certain, active, created } = listed;
      const swept_at = isSweep ? began / 1000 : before!.swept_at;
      const inactive = inactiveNow();
      if (inactive.length > MOST_INACTIVE) off ??= `${inactive.length} users have no activity to go by`;
      if (off !== undefined) {
        return { at: 0, created: 0, ran_at: 0, swept_at, inactive: [], again: [], off };
      }
      const isSure = isRead && isMeasured && listed.unverified.size === 0 && certain !== undefined &&
        Number.isFinite(certain);
      if (!isSure) return before && { ...before, again: [...again] };
      const latest = (time: number, earlier = -Infinity) => {
        const found = Math.max(time, earlier);
        return Number.isFinite(found) ? found : certain;
      };
      return {
        at: latest(active, before?.at),
        created: latest(created, before?.created),
        ran_at: certain,
        swept_at,
        inactive,
        again: [...again],
      };
    },
    report: (late) => ({
      asked,
      of: listed.total,
      swept_at: Contradiction.iso(isSweep ? began / 1000 : before!.swept_at),
      ...(off !== undefined && { off }),
      ...(late !== undefined && { late }),
    }),
  };
};
