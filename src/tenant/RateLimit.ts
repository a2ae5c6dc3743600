/**
 * One pace for all requests to a tenant: a token bucket whose rate gives way when the tenant says it is too much.
 *
 * @module
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";

/** How fast to ask. */
export interface RateLimitOptions {
  /**
   * The most requests a second, retries included. The rate in force never exceeds it.
   *
   * @default {20}
   */
  readonly rate?: number | undefined;
  /**
   * How many requests may leave at once after a pause.
   *
   * @default {Math.max(1, rate / 10)}
   */
  readonly burst?: number | undefined;
}

/** The pace, as it is now. */
export interface Pace {
  /** Requests a second in force. */
  readonly rate: number;
  /** How many requests are waiting for their turn. */
  readonly waiting: number;
  /** When the tenant asked to be left alone: until when, in milliseconds since the epoch. 0 otherwise. */
  readonly heldUntil: number;
}

/** The gate every attempt goes through. */
export interface RateLimit {
  /** Waits for its turn, first come, first served, and gives the time at which it came. */
  readonly take: Effect.Effect<number>;
  /** Lets nothing through before this time, in milliseconds since the epoch. */
  readonly hold: (until: number) => void;
  /** The tenant answered 429 to a request that left at this time: halves the rate, once for all that were under way. */
  readonly throttled: (leftAt: number, now: number) => void;
  /** The tenant answered: the rate grows back by 5 % of the ceiling each second. */
  readonly accepted: () => void;
  readonly pace: () => Pace;
}

/** The share of the ceiling below which the rate never falls. */
const FLOOR = 1 / 100;
/** The share of the ceiling that a second without a 429 gives back. */
const RECOVERY = 0.05;

/** A gate with a rate of its own. */
export const make = (options: RateLimitOptions = {}): RateLimit => {
  const { rate: ceiling = 20 } = options;
  if (!(ceiling > 0 && ceiling <= 1e6)) {
    throw new RangeError(
      `Cannot limit requests as 'rate' must be above 0 and at most 1,000,000 a second: it is ${ceiling}`,
    );
  }
  const { burst = Math.max(1, ceiling / 10) } = options;
  if (!(burst >= 1)) {
    throw new RangeError(`Cannot limit requests as 'burst' must be at least 1: it is ${burst}`);
  }

  let rate = ceiling;
  let waiting = 0;
  let heldUntil = 0;
  let slowedAt = -Infinity;
  // The time at which the bucket holds one token more than it owes. Turns are handed out by moving it, so that
  // they are equally spaced whoever asks, and timers that fire late do not cost any of the rate.
  let next = -Infinity;

  const reserve = (now: number): number => {
    const turn = Math.max(next, now - (burst - 1) * 1000 / rate);
    next = turn + 1000 / rate;
    return turn;
  };

  const waitFrom = (turn: number): Effect.Effect<number> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (now < heldUntil) {
        return Effect.flatMap(Effect.sleep(heldUntil - now), () => Effect.suspend(takeTurn));
      }
      return turn <= now
        ? Effect.succeed(now)
        : Effect.flatMap(Effect.sleep(Math.ceil(turn - now)), () => waitFrom(turn));
    });

  const takeTurn = (): Effect.Effect<number> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => waitFrom(now < heldUntil ? now : reserve(now)));

  return {
    take: Effect.suspend(() => {
      waiting++;
      return Effect.ensuring(takeTurn(), Effect.sync(() => waiting--));
    }),
    hold: (until) => {
      heldUntil = Math.max(heldUntil, until);
    },
    throttled: (leftAt, now) => {
      if (leftAt < slowedAt) return;
      slowedAt = now;
      rate = Math.max(ceiling * FLOOR, rate / 2);
    },
    accepted: () => {
      rate = Math.min(ceiling, rate + ceiling * RECOVERY / rate);
    },
    pace: () => ({ rate, waiting, heldUntil }),
  };
};
