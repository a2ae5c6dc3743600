/** Users' times of activity and creation, as lists of them tell. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Clocks from "../paging/Clocks.ts";
import type { User, UserBatch } from "../UserSource.ts";
import * as Contradiction from "./Contradiction.ts";

/** Times of a user, in seconds since the epoch. */
interface Times {
  readonly active: number | undefined;
  readonly created: number | undefined;
}

export interface Listing {
  readonly users: ReadonlyMap<string, Times>;
  /** The latest activity, and the latest creation, no later than {@link certain}; -Infinity where there is none. */
  readonly active: number;
  readonly created: number;
  /** The time that had come for certain when the first answer was served, and the latest that may have. */
  readonly certain: number;
  readonly possible: number;
  /** Lead of that time over the clock of this machine, in seconds. */
  readonly ahead: number;
  readonly total: number | undefined;
  readonly unverifiedReasons: ReadonlyArray<string>;
}

const timesOf = ({ last_activity, creation_time }: User): Times => ({
  active: Contradiction.timeOf(last_activity),
  created: Contradiction.timeOf(creation_time),
});

/** Make the keeper of what answers tell, of one reading or more. */
export const make = () => {
  let users = new Map<string, Times>();
  let [active, created] = [-Infinity, -Infinity];
  let time: { readonly certain: number; readonly possible: number; readonly ahead: number } | undefined;
  let total: number | undefined;
  let unverified = new Set<string>();
  return {
    /** Forgets all that was told. */
    clear: (): void => {
      [users, unverified] = [new Map(), new Set()];
      [active, created] = [-Infinity, -Infinity];
      [time, total] = [undefined, undefined];
    },
    note: (batch: UserBatch): Effect.Effect<void> =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        if (time === undefined) {
          const { certain, possible } = Clocks.read(batch.servedAt, now / 1000);
          time = { certain, possible, ahead: certain - now / 1000 };
        }
        const { certain } = time;
        total = batch.total ?? total;
        for (const reason of batch.unverifiedReasons ?? []) unverified.add(reason);
        for (const user of batch.users) {
          const times = timesOf(user);
          users.set(user.user_id, times);
          active = Math.max(active, Math.min(times.active ?? -Infinity, certain));
          created = Math.max(created, Math.min(times.created ?? -Infinity, certain));
        }
      }),
    /** Gives what was told; undefined where nothing was. */
    read: (): Listing | undefined =>
      time && { users, active, created, ...time, total, unverifiedReasons: [...unverified] },
  };
};
