/** Sessions that come, go and change while they are being read. */
import type { Active } from "../data/Active.ts";
import * as Check from "../data/Check.ts";
import { Draws, hash } from "../data/Hash.ts";

/** Changes to a user's sessions before each answer that lists them: expected numbers, any from 0. */
export interface ChurnOptions {
  /** Sessions that end. @default {0} */
  readonly deletes?: number;
  /** Sign-ins. @default {0} */
  readonly inserts?: number;
  /** Sessions that are used again. @default {0} */
  readonly updates?: number;
}

/**
 * Makes the function that changes one user's sessions. What it does the nth time for a user follows from the seed, the user
 * and n. Holds a number for each user it was called for.
 */
export const make = (
  options: ChurnOptions,
  active: Active,
  seed: number,
  now: () => number,
): (user: number) => void => {
  const deletes = Check.atLeast("faults.churn.deletes", options.deletes ?? 0, 0);
  const inserts = Check.atLeast("faults.churn.inserts", options.inserts ?? 0, 0);
  const updates = Check.atLeast("faults.churn.updates", options.updates ?? 0, 0);
  const times = new Map<number, number>();

  return (user) => {
    const time = times.get(user) ?? 0;
    times.set(user, time + 1);
    const draws = new Draws(hash(seed, user, time, 61));
    const drawn = () => active.at(user, draws.below(active.count(user))).session_id;
    for (let left = draws.around(deletes); left > 0 && active.count(user) > 0; left--) {
      active.remove(user, drawn());
    }
    for (let left = draws.around(updates); left > 0 && active.count(user) > 0; left--) {
      active.update(user, drawn(), now());
    }
    for (let left = draws.around(inserts); left > 0; left--) active.add(user, now(), {});
  };
};
