/** The number of turns that a machine will want within the time of two leases: as many as were asked for in as much time. */
import * as RateLedger from "./RateLedger.ts";

const SPAN = 2 * RateLedger.LENGTH;

export const make = () => {
  let from = -Infinity;
  let [before, count] = [0, 0];
  const turnTo = (now: number) => {
    if (now < from + SPAN) return;
    before = now < from + 2 * SPAN ? count : 0;
    [from, count] = [now, 0];
  };
  return {
    /** Notes a request. */
    add: (now: number): void => {
      turnTo(now);
      count++;
    },
    at: (now: number): number => {
      turnTo(now);
      return Math.max(before, count);
    },
  };
};
