/** A look at some users: how many were active lately, and whether their activity tells of their sessions. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import type { ApiError } from "../../api/ApiError.ts";
import * as SessionsApi from "../../api/SessionsApi.ts";
import type { TenantClient } from "../../api/TenantClient.ts";
import * as UsersApi from "../../api/UsersApi.ts";
import * as DecodedPage from "../DecodedPage.ts";
import * as Changes from "../incremental/Changes.ts";
import * as Clocks from "../paging/Clocks.ts";
import { LOOKBACK } from "../paging/Limits.ts";
import * as Contradiction from "./Contradiction.ts";

/** Users of each list that are looked at. */
const SIZE = 50;

const AT_ONCE = 8;

const HOUR = 3600;

interface Row {
  readonly user_id?: unknown;
  readonly last_activity?: unknown;
}

const first = (sort: UsersApi.Sort, size: number) => UsersApi.page({ page: 1, size, sort });

/** Estimates how many users are active in an hour, by the head of the list; undefined where it does not tell. */
export const activeUsers = (size: number): Effect.Effect<number | undefined, never, TenantClient> =>
  Effect.gen(function* () {
    const { rows, servedAt, pagination } = yield* first("last_activity:-1", size);
    const { certain } = Clocks.read(servedAt, (yield* Clock.currentTimeMillis) / 1000);
    const times = (rows as ReadonlyArray<Row>).flatMap(({ last_activity }) =>
      Contradiction.timeOf(last_activity) ?? []
    );
    if (times.length === 0) return undefined;
    const count = times.filter((time) => time >= certain - HOUR).length;
    if (count < times.length || pagination?.hasNext !== true) return count;
    return Math.round(count * HOUR / Math.max(1, certain - Math.min(...times)));
  }).pipe(Effect.catchAll(() => Effect.succeed(undefined)));

export interface Sampled {
  readonly users: number;
  /** Users that have a session. */
  readonly with_sessions: number;
  /** Users of whom a session is newer than the activity. */
  readonly contradicted: number;
  /** Users of whom this may be, and who could not be read once more. */
  readonly unknown: number;
  /** The first contradiction, in words. */
  readonly first?: string | undefined;
}

/** Compares the newest session of some users with their activity: of those active last, and of those created last. */
export const sample: Effect.Effect<Sampled, ApiError, TenantClient> = Effect.gen(function* () {
  const now = yield* Clock.currentTimeMillis;
  const lists = [yield* first("last_activity:-1", SIZE), yield* first("creation_time:-1", SIZE)];
  const ahead = Clocks.read(lists[0]?.servedAt, now / 1000).certain - now / 1000;
  const users = new Map<string, number | undefined>();
  for (const { user_id, last_activity } of lists.flatMap(({ rows }) => rows as ReadonlyArray<Row>)) {
    if (typeof user_id === "string") users.set(user_id, Contradiction.timeOf(last_activity));
  }
  const found = yield* Effect.forEach(users, ([userId, active]) =>
    Effect.gen(function* () {
      const { rows } = yield* SessionsApi.page(userId, { page: 1, size: 10, sort: "last_updated:-1" });
      const newest = Changes.latest(DecodedPage.trackedRows(DecodedPage.of(rows)), undefined);
      if (newest === undefined) return { has: false };
      const verdict = yield* Contradiction.find({ userId, newest, active, lookback: LOOKBACK, ahead });
      return { has: true, verdict };
    }), { concurrency: AT_ONCE });
  const told = found.flatMap(({ verdict }) => verdict?.isFinal ? verdict.says : []);
  return {
    users: users.size,
    with_sessions: found.filter(({ has }) => has).length,
    contradicted: told.length,
    unknown: found.filter(({ verdict }) => verdict?.isFinal === false).length,
    ...(told[0] !== undefined && { first: told[0] }),
  };
});
