/** Turns that a machine holds, on its own clock: first come, first served, and dropped once their time is long past. */
import type { Lease } from "./RateLedger.ts";

/** The time after its own for which a turn is good, in milliseconds: timers fire late, and cost none of the rate. */
const LATE = 75;

interface Held {
  readonly from: number;
  readonly interval: number;
  readonly turns: number;
  /** The number of turns taken or dropped. */
  gone: number;
}

const at = ({ from, interval }: Held, nth: number): number => from + nth * interval;

export const make = () => {
  let leases: Array<Held> = [];
  let count = 0;
  /** Takes the first. */
  const take = (): void => {
    const lease = leases[0];
    if (lease === undefined) return;
    count--;
    if (++lease.gone === lease.turns) leases.shift();
  };
  /** Gives the time of the first; undefined if there is none. */
  const first = (): number | undefined => leases[0] && at(leases[0], leases[0].gone);
  return {
    /** Adds a lease that was given at this time. */
    add: ({ startsIn, interval, turns }: Lease, given: number): void => {
      leases.push({ from: given + startsIn, interval, turns, gone: 0 });
      count += turns;
    },
    /** Drops the turns whose time is too long past. */
    expire: (now: number): void => {
      while ((first() ?? Infinity) + LATE < now) take();
    },
    count: (): number => count,
    first,
    /** Gives the time of the last; -Infinity if there is none. */
    last: (): number => {
      const lease = leases.at(-1);
      return lease === undefined ? -Infinity : at(lease, lease.turns - 1);
    },
    take,
    clear: (): void => {
      leases = [];
      count = 0;
    },
  };
};
