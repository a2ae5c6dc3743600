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
  /**
   * One pace for several threads: what {@link share} made, sent to each of them and given along with the same `rate` and
   * `burst`. What is promised holds for all of them together; those that wait in different threads have no order.
   *
   * @default {a pace of its own}
   */
  readonly shared?: SharedArrayBuffer | undefined;
}

/** The pace, as it is now. */
export interface Pace {
  /** Requests a second in force. */
  readonly rate: number;
  /** How many requests of this thread are waiting for their turn. */
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

/** The numbers of a pace, each in eight bytes. */
const [RATE, HELD_UNTIL, SLOWED_AT, LAST_TURN] = [0, 1, 2, 3] as const;

/** A number that several threads change without a lock: one that is ended in the middle leaves nothing locked behind. */
interface Cell {
  readonly get: () => number;
  /** Replaces the number if it still is what was read; says whether it was. */
  readonly replace: (read: number, by: number) => boolean;
}

const float = new Float64Array(1);
const bitsOfFloat = new BigInt64Array(float.buffer);

const bitsOf = (value: number): bigint => {
  float[0] = value;
  return bitsOfFloat[0]!;
};

const cell = (state: BigInt64Array, index: number): Cell => ({
  get: () => {
    bitsOfFloat[0] = Atomics.load(state, index);
    return float[0]!;
  },
  replace: (read, by) => {
    const bits = bitsOf(read);
    return Atomics.compareExchange(state, index, bits, bitsOf(by)) === bits;
  },
});

const change = ({ get, replace }: Cell, to: (value: number) => number): void => {
  for (;;) {
    const read = get();
    if (replace(read, to(read))) return;
  }
};

const fresh = <B extends ArrayBufferLike>(buffer: B, ceiling: number): B => {
  const state = new Float64Array(buffer);
  state[RATE] = ceiling;
  state[HELD_UNTIL] = 0;
  state[SLOWED_AT] = -Infinity;
  state[LAST_TURN] = -Infinity;
  return buffer;
};

const BYTES = 32;

const settle = ({ rate = 20, burst = Math.max(1, rate / 10) }: RateLimitOptions) => {
  if (!(rate > 0 && rate <= 1e6)) {
    throw new RangeError(
      `Cannot limit requests as 'rate' must be above 0 and at most 1,000,000 a second: it is ${rate}`,
    );
  }
  if (!(burst >= 1)) {
    throw new RangeError(`Cannot limit requests as 'burst' must be at least 1: it is ${burst}`);
  }
  return { ceiling: rate, burst };
};

/**
 * A pace for several threads, to give to each of them as `shared`. No message is sent for it: a turn costs one change of a
 * number that all of them see.
 *
 * @example
 * ```ts
 * import { RateLimit } from "monocloud-sessions";
 *
 * const options = { rate: 50 };
 * const shared = RateLimit.share(options);
 * // One here, one in another thread that `shared` was posted to.
 * const [one, other] = [RateLimit.make({ ...options, shared }), RateLimit.make({ ...options, shared })];
 * one.throttled(1, 2);
 * console.assert(other.pace().rate === 25);
 * ```
 */
export const share = (options: Omit<RateLimitOptions, "shared"> = {}): SharedArrayBuffer =>
  fresh(new SharedArrayBuffer(BYTES), settle(options).ceiling);

/** A gate with a rate of its own, or with one that it shares with other threads. */
export const make = (options: RateLimitOptions = {}): RateLimit => {
  const { ceiling, burst } = settle(options);
  const state = new BigInt64Array(options.shared ?? fresh(new ArrayBuffer(BYTES), ceiling));

  // What a pause saves up, in milliseconds.
  const slack = (burst - 1) * 1000 / ceiling;
  const rate = cell(state, RATE);
  const heldUntil = cell(state, HELD_UNTIL);
  const slowedAt = cell(state, SLOWED_AT);
  // The last turn lies in the past by as much as is saved up: with a burst, timers that fire late cost none of the rate.
  const lastTurn = cell(state, LAST_TURN);
  // In order of arrival. Only the first looks at the clock: a rate that changes concerns all of them at once, and one
  // that is interrupted costs the others nothing.
  const line = new Set<{ call: () => void }>();
  const first = () => line.values().next().value;

  /** Takes a turn if there is one now: 0 if there was, else how long to wait before trying again. */
  const tryTurn = (now: number): number => {
    for (;;) {
      const last = lastTurn.get();
      const free = last + 1000 / rate.get();
      const pause = Math.max(heldUntil.get() - now, free - now);
      if (pause > 0) return Math.ceil(pause);
      // Where another thread took the turn meanwhile, the next one is tried for.
      if (lastTurn.replace(last, Math.max(free, now - slack))) return 0;
    }
  };

  const turn = (patience: number): Effect.Effect<number, { readonly heldFor: number }> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const heldFor = heldUntil.get() - now;
      if (heldFor > patience) return Effect.fail({ heldFor });
      const pause = tryTurn(now);
      return pause === 0 ? Effect.succeed(now) : Effect.flatMap(Effect.sleep(pause), () => turn(patience));
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
        (now) => {
          const heldFor = heldUntil.get() - now;
          if (heldFor > patience) return Effect.fail({ heldFor });
          // Where nobody waits there is no line to stand in.
          return line.size === 0 && tryTurn(now) === 0 ? Effect.succeed(now) : wait(patience);
        },
      ),
    hold: (until) => change(heldUntil, (held) => Math.max(held, until)),
    throttled: (leftAt, now) => {
      const read = slowedAt.get();
      // Of several threads whose requests were refused together, the first to say so halves the rate for all.
      if (leftAt <= read || !slowedAt.replace(read, now)) return;
      change(rate, (rate) => Math.max(ceiling * FLOOR, rate / 2));
    },
    accepted: () => change(rate, (rate) => Math.min(ceiling, rate + ceiling * RECOVERY / rate)),
    pace: () => ({ rate: rate.get(), waiting: line.size, heldUntil: heldUntil.get() }),
  };
};
