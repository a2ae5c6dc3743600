/** A rate limit in real time. */
import * as Check from "../data/Check.ts";

/** A limit on requests, as a token bucket. */
export interface RateLimiterOptions {
  /** Requests a second in the long run. */
  readonly perSecond: number;
  /** Requests that may come at once after a pause. @default {perSecond, rounded up} */
  readonly burst?: number;
}

/** Takes a token: 0 when there was one, else the seconds until there will be. Holds two numbers. */
export const make = ({ perSecond, burst = Math.ceil(perSecond) }: RateLimiterOptions): () => number => {
  Check.positive("faults.rateLimit.perSecond", perSecond);
  Check.whole("faults.rateLimit.burst", burst, 1);
  let tokens = burst;
  let filled = performance.now();
  return () => {
    const now = performance.now();
    tokens = Math.min(burst, tokens + (now - filled) / 1000 * perSecond);
    filled = now;
    if (tokens < 1) return (1 - tokens) / perSecond;
    tokens--;
    return 0;
  };
};
