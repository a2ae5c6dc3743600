/** Turns that a machine holds, on its own clock: first come, first served, and dropped once their time is long past. */
import type { Lease } from "./RateLedger.ts";

/** The time after its own for which a turn is good, in milliseconds: timers fire late, and cost none of the rate. */
export const LATE = 75;

export interface Turns {
  /** Adds a lease that was given at this time. */
  readonly add: (lease: Lease, given: number) => void;
  /** Drops the turns whose time is too long past. */
  readonly expire: (now: number) => void;
  readonly count: () => number;
  /** Gives the time of the first; undefined if there is none. */
  readonly first: () => number | undefined;
  /** Gives the time of the last; -Infinity if there is none. */
  readonly last: () => number;
  /** Takes the first. */
  readonly take: () => void;
  readonly clear: () => void;
}

interface Held {
  readonly from: number;
  readonly interval: number;
  readonly turns: number;
  /** The number of turns taken or dropped. */
  gone: number;
}

const at = ({ from, interval }: Held, nth: number): number => from + nth * interval;

export const make = (): Turns => {
  let leases: Array<Held> = [];
  let count = 0;
  const take = () => {
    const lease = leases[0];
    if (lease === undefined) return;
    count--;
    if (++lease.gone === lease.turns) leases.shift();
  };
  const first = () => leases[0] && at(leases[0], leases[0].gone);
  return {
    add: ({ startsIn, interval, turns }, given) => {
      leases.push({ from: given + startsIn, interval, turns, gone: 0 });
      count += turns;
    },
    expire: (now) => {
      while ((first() ?? Infinity) + LATE < now) take();
    },
    count: () => count,
    first,
    last: () => {
      const lease = leases.at(-1);
      return lease === undefined ? -Infinity : at(lease, lease.turns - 1);
    },
    take,
    clear: () => {
      leases = [];
      count = 0;
    },
  };
};
