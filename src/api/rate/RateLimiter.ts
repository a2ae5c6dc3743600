/**
 * One pace for all requests to a tenant: a token bucket whose rate gives way when the tenant says it is too much, or seeks
 * what the tenant allows.
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Options from "../../options/Options.ts";
import type { RateLimiterOptions } from "../RequestOptions.ts";
import * as AdaptiveRate from "./AdaptiveRate.ts";
import * as Line from "./Line.ts";

export type { RateLimiterOptions } from "../RequestOptions.ts";

export const optionNames: Options.Names<RateLimiterOptions> = {
  rate: Options.textOr(Options.oneOf(["auto"]), Options.number),
  burst: Options.number,
};

export interface RateState {
  /** Requests a second in force. */
  readonly rate: number;
  /** The number of requests that wait for their turn. */
  readonly waiting: number;
  /** The end of the pause that the tenant asked for, in milliseconds since the epoch; 0 if it did not. */
  readonly heldUntil: number;
}

export interface RateLimiter {
  /** Takes a turn if nobody waits and there is one now. */
  readonly tryAcquire: (now: number) => boolean;
  /**
   * Waits for its turn, first come, first served, and gives the time at which it came. If the tenant wants to be left alone
   * for longer than the patience, in milliseconds, it fails at once or when its turn would have come.
   */
  readonly acquire: (patience: number) => Effect.Effect<number, { readonly heldFor: number }>;
  /** Lets nothing through before this time, in milliseconds since the epoch. */
  readonly pauseUntil: (until: number) => void;
  /**
   * The tenant answered 429 to a request that left at this time: halves the rate, once for all that were under way, or draws
   * its conclusions where the rate is sought. To be called after `pauseUntil` where the answer asks for one.
   */
  readonly throttled: (leftAt: number, now: number) => void;
  /** The tenant answered: the rate grows back by 5 % of the ceiling each second, or on in search of the limit. */
  readonly accepted: () => void;
  readonly state: () => RateState;
}

/** The share of the ceiling below which the rate never falls. */
const FLOOR = 1 / 100;
/** The share of the ceiling that a second without a 429 gives back. */
const RECOVERY = 0.05;

/** Lowers a rate that the tenant found too much. */
export const lowered = (rate: number, ceiling: number): number => Math.max(ceiling * FLOOR, rate / 2);

/** Raises a rate as an accepted request allows. */
export const raised = (rate: number, ceiling: number): number =>
  Math.min(ceiling, rate + ceiling * RECOVERY / rate);

/** Checks options. The ceiling of a rate that is sought is what it begins with. */
export const normalizeOptions = ({ rate = 20, burst }: RateLimiterOptions) => {
  if (rate !== "auto" && !(rate > 0 && rate <= 1e6)) {
    throw new RangeError(
      `Cannot limit requests as 'rate' must be above 0 and at most 1,000,000 a second: it is ${rate}`,
    );
  }
  if (burst !== undefined && !(burst >= 1)) {
    throw new RangeError(`Cannot limit requests as 'burst' must be at least 1: it is ${burst}`);
  }
  const isAuto = rate === "auto";
  return { isAuto, ceiling: isAuto ? AdaptiveRate.START : rate, given: burst };
};

/** The time that a pause saves up of a rate that is sought, in milliseconds: as much as timers are late. */
const AUTO_SLACK = 10;

/** Makes a limiter with a rate of its own. */
export const make = (options: RateLimiterOptions = {}): RateLimiter => {
  const { isAuto, ceiling, given } = normalizeOptions(options);
  const state: AdaptiveRate.SharedRate = {
    rate: ceiling,
    heldUntil: 0,
    slowedAt: -Infinity,
    pausedUntil: 0,
  };
  const auto = isAuto ? AdaptiveRate.make(state) : undefined;
  // What a pause saves up, in milliseconds.
  const burst = given ?? Math.max(1, ceiling / 10);
  const slackAtCeiling = (burst - 1) * 1000 / ceiling;
  const slack = (): number =>
    !isAuto ? slackAtCeiling : given === undefined ? AUTO_SLACK : (burst - 1) * 1000 / state.rate;
  // The last turn lies in the past by as much as is saved up: with a burst, timers that fire late cost none of the rate.
  let lastTurn = -Infinity;
  const line = Line.make();

  /** Takes a turn if there is one now: 0 if there was, else how long to wait before trying again. */
  const tryTurn = (now: number): number => {
    const free = lastTurn + 1000 / state.rate;
    const closed = Math.max(state.heldUntil, state.pausedUntil);
    const pause = Math.max(closed - now, free - now);
    if (pause > 0) return Math.ceil(pause);
    // A rate that is sought is measured by how evenly it is kept to: there is no burst after a 429.
    const saved = isAuto ? Math.max(now - slack(), closed) : now - slackAtCeiling;
    lastTurn = Math.max(free, saved);
    return 0;
  };

  const turn = (patience: number): Effect.Effect<number, { readonly heldFor: number }> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const heldFor = state.heldUntil - now;
      if (heldFor > patience) return Effect.fail({ heldFor });
      const pause = tryTurn(now);
      if (pause === 0) {
        auto?.waited(now);
        return Effect.succeed(now);
      }
      return Effect.flatMap(Effect.sleep(pause), () => turn(patience));
    });

  // Where nobody waits there is no line to stand in.
  const tryAcquire = (now: number) => line.size() === 0 && tryTurn(now) === 0;

  return {
    tryAcquire,
    acquire: (patience) =>
      Effect.flatMap(
        Clock.currentTimeMillis,
        (now) => {
          const heldFor = state.heldUntil - now;
          if (heldFor > patience) return Effect.fail({ heldFor });
          return tryAcquire(now) ? Effect.succeed(now) : line.wait(turn(patience));
        },
      ),
    pauseUntil: (until) => void (state.heldUntil = Math.max(state.heldUntil, until)),
    throttled: auto?.throttled ?? ((leftAt, now) => {
      if (leftAt <= state.slowedAt) return;
      state.slowedAt = now;
      state.rate = lowered(state.rate, ceiling);
    }),
    accepted: auto?.accepted ?? (() => void (state.rate = raised(state.rate, ceiling))),
    state: () => ({ rate: state.rate, waiting: line.size(), heldUntil: state.heldUntil }),
  };
};
