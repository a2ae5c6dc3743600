/** A session that is newer than its user's activity: what tells that activity can't be gone by. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import { isNotFound, isTransient } from "../../api/ApiError.ts";
import type { TenantClient } from "../../api/TenantClient.ts";
import * as UsersApi from "../../api/UsersApi.ts";

/** Gives a time as a tenant serves it; undefined for anything else. */
export const timeOf = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined;

export const iso = (seconds: number): string => new Date(seconds * 1000).toISOString();

export interface Compared {
  readonly userId: string;
  /** `last_updated` of the newest session, in seconds since the epoch. */
  readonly newest: number;
  /** The activity that was read before it; undefined where there was none. */
  readonly active: number | undefined;
  /** The time by which activity may be older, in seconds. */
  readonly lookback: number;
  /** Lead of the tenant's clock over this machine's, in seconds. */
  readonly ahead: number;
}

/** The time that a tenant may take to show activity, in seconds: what is more recent tells nothing yet. */
const SHOWN_WITHIN = 20;

/** Reason against activity: for good, or in this run, as it can't be measured. */
export interface Verdict {
  readonly says: string;
  readonly isFinal: boolean;
}

const saidOf = (userId: string, newest: number, active: number | undefined): string =>
  `a session of ${userId} changed at ${iso(newest)}, and the user was ${
    active === undefined ? "never active" : `last active at ${iso(active)}`
  }`;

/**
 * Finds what speaks against activity. The session may have changed after the activity was read, so that is read once more. Of a
 * session that changed just now, or is yet to change, nothing is said.
 */
export const find = (
  { userId, newest, active, lookback, ahead }: Compared,
): Effect.Effect<Verdict | undefined, never, TenantClient> => {
  const isOlder = (active: number | undefined) => active === undefined || newest > active + lookback;
  if (!isOlder(active)) return Effect.succeed(undefined);
  return Effect.flatMap(
    Effect.all([Effect.either(UsersApi.user(userId)), Clock.currentTimeMillis]),
    ([read, now]): Effect.Effect<Verdict | undefined> => {
      if (Either.isLeft(read)) {
        if (isNotFound(read.left)) return Effect.succeed(undefined);
        return Effect.succeed({ says: read.left.message, isFinal: !isTransient(read.left) });
      }
      const its = (read.right as { readonly last_activity?: unknown }).last_activity;
      const time = timeOf(its);
      if (!isOlder(time) || newest > now / 1000 + ahead - SHOWN_WITHIN) return Effect.succeed(undefined);
      return Effect.succeed(
        time === undefined && active !== undefined
          ? {
            says: `the tenant does not tell the activity of ${userId} where it is asked for one user`,
            isFinal: true,
          }
          : { says: saidOf(userId, newest, time), isFinal: true },
      );
    },
  );
};
