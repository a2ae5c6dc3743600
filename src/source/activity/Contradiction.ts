/** A session that is newer than its user's activity: what tells that activity can't be gone by. */
import * as Effect from "effect/Effect";
import { isNotFound } from "../../api/ApiError.ts";
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
}

/**
 * Says what contradicts, if anything. The session may have changed after the activity was read, so that is read once more.
 * Gives `"unknown"` where it can't be.
 */
export const find = (
  { userId, newest, active, lookback }: Compared,
): Effect.Effect<string | undefined, never, TenantClient> => {
  const isOlder = (active: number | undefined) => active === undefined || newest > active + lookback;
  if (!isOlder(active)) return Effect.succeed(undefined);
  return Effect.match(UsersApi.user(userId), {
    onFailure: (error) => isNotFound(error) ? undefined : "unknown",
    onSuccess: (user) => {
      const now = timeOf((user as { readonly last_activity?: unknown }).last_activity);
      return !isOlder(now) ? undefined : `a session of ${userId} changed at ${iso(newest)}, ` +
        `and the user was ${now === undefined ? "never active" : `last active at ${iso(now)}`}`;
    },
  });
};
