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
   * How many requests may leave at once after a pause, in proportion fewer while the rate is lowered. Never more than
   * `burst + rate * t` leave within `t` seconds.
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
  /**
   * Waits for its turn, first come, first served, and gives the time at which it came. If the tenant wants to be left
   * alone for longer than the patience, in milliseconds, it fails at once or when its turn would have come.
   */
  readonly take: (patience: number) => Effect.Effect<number, { readonly heldFor: number }>;
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

  // What a pause saves up, in milliseconds.
  const slack = (burst - 1) * 1000 / ceiling;
  let rate = ceiling;
  let heldUntil = 0;
  let slowedAt = -Infinity;
  // The last turn lies in the past by as much as is saved up: with a burst, timers that fire late cost none of the rate.
  let lastTurn = -Infinity;
  // In order of arrival. Only the first looks at the clock: a rate that changes concerns all of them at once, and one
  // that is interrupted costs the others nothing.
  const line = new Set<{ call: () => void }>();
  const first = () => line.values().next().value;

  const turn = (patience: number): Effect.Effect<number, { readonly heldFor: number }> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const heldFor = heldUntil - now;
      if (heldFor > patience) return Effect.fail({ heldFor });
      const free = lastTurn + 1000 / rate;
      const pause = Math.max(heldFor, free - now);
      if (pause > 0) return Effect.flatMap(Effect.sleep(Math.ceil(pause)), () => turn(patience));
      lastTurn = Math.max(free, now - slack);
      return Effect.succeed(now);
    });

  const wait = (patience: number) =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const place = { call: () => {} };
        line.add(place);
        return place;
      }),
      (place) => {
        const called = Effect.async<void>((resume) => {
          place.call = () => resume(Effect.void);
          if (first() === place) place.call();
        });
        return Effect.zipRight(called, turn(patience));
      },
      (place) =>
        Effect.sync(() => {
          line.delete(place);
          first()?.call();
        }),
    );

  return {
    take: (patience) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => heldUntil - now > patience ? Effect.fail({ heldFor: heldUntil - now }) : wait(patience),
      ),
    hold: (until) => {
      heldUntil = Math.max(heldUntil, until);
    },
    throttled: (leftAt, now) => {
      if (leftAt <= slowedAt) return;
      slowedAt = now;
      rate = Math.max(ceiling * FLOOR, rate / 2);
    },
    accepted: () => {
      rate = Math.min(ceiling, rate + ceiling * RECOVERY / rate);
    },
    pace: () => ({ rate, waiting: line.size, heldUntil }),
  };
};
