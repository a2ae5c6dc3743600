/**
 * A rate for a tenant whose limit nobody knows: begins modestly, finds the limit, and stays just below it.
 *
 * The rate doubles every 1.5 seconds until a first request is refused. From well below it climbs again, slowly, and so meets
 * the limit at a rate that says what it is. There it settles, 1.5 % below, and tries for more from time to time: first by a
 * fraction of a percent, then by more and more for as long as none is refused.
 *
 * A tenant that allows bursts refuses long after its limit was passed, so the rate that was refused is no measure. It shows
 * when the settled rate is refused as well, and then what was accepted since the refusal before is the measure: a bucket
 * that was empty both times has given away just what flowed in. Where the tenant asked to be left alone in between, that may
 * have been wasted, and the count is trusted only if it says twice the same.
 *
 * @module
 */
type Phase = 0 | 1 | 2 | 3;
/** Nothing is known. */
const SEEKING: Phase = 0;
/** The limit is not far above. */
const CLIMBING: Phase = 1;
/** The limit is known. */
const SETTLED: Phase = 2;
/** The limit is known by a count across a hold, which may be too low. */
const COUNTED: Phase = 3;

/** Requests a second to begin with. */
export const START = 20;
const LEAST = 0.1;
const MOST = 1e6;

/** The growth of the rate in each phase: by this share of where it began, and twice as much after every so many ms. */
const GROWTH = [[1, 1500], [0.15, 3000], [0.01, 3000], [0.01, 3000]] as const;

/** The share of a refused rate at which to settle. */
const BELOW = 0.985;
/** Rate after a refusal that costs a hold, when the one before was met at another rate. */
const WELL_BELOW = 0.92;
/** From here on two rates count as the same. */
const ALIKE = 0.93;
/** The share of a refused rate from which to climb. */
const AGAIN_FROM = 0.6;
/** A settled rate that is refused is lowered by this; more and more if that is not enough. */
const STEP = 0.97;
const SMALL_STEPS = 3;
/** Counts that differ by no more say the same. */
const SAME_COUNT = 0.03;
/** The most that a count across a hold lowers the rate. */
const COUNT_LOWERS = 0.75;
/** Fewer requests are no measure. */
const ENOUGH = 10;

/**
 * The time that a settled rate is kept before more is tried for, in ms: the longer the more a refusal costs, so that holds
 * take no more than a sixtieth of the time.
 */
const KEEP = 15_000;
const KEEP_PER_HOLD = 60;
const KEEP_LONGEST = 300_000;
/** A settled rate refused after this was right until then. */
const CALM = 10_000;

/** The pause after a refusal without `Retry-After`, in ms: twice as long while nothing is accepted. */
const PAUSE = 50;
const LONGEST_PAUSE = 1000;

/** The numbers that it shares with the limiter. Times are in milliseconds since the epoch. */
export interface SharedRate {
  /** Requests a second in force. */
  rate: number;
  /** Until when the tenant asked to be left alone. */
  heldUntil: number;
  /** The time at which the rate was lowered last. */
  slowedAt: number;
  /** The time from which requests may leave again that a sought rate holds back by itself. */
  pausedUntil: number;
}

export interface AdaptiveRate {
  /** A request had to wait for its turn, which came now: only a rate that holds requests back is raised. */
  readonly waited: (now: number) => void;
  readonly accepted: () => void;
  /** To be called after the hold that came with the refusal. */
  readonly throttled: (leftAt: number, now: number) => void;
}

const between = (least: number, value: number, most: number) => Math.max(least, Math.min(value, most));

/** Seeks the rate, and keeps it in the state. */
export const make = (state: SharedRate): AdaptiveRate => {
  let phase: Phase = SEEKING;
  // The rate that the phase began with.
  let from = START;
  // How long the rate has held requests back in this phase, in ms, and until when that has been counted.
  let age = 0;
  let agedUntil = 0;
  // What was accepted since the refusal that began the phase, when that came, and when requests could leave again.
  let taken = 0;
  let since = 0;
  let resumed = 0;
  // Refusals in a row with nothing accepted between them.
  let shut = 0;
  // Of the refusal before: at which rate, and requests a second accepted until then.
  let refusedAt = 0;
  let countBefore = 0;
  // How many times in a row a settled rate was lowered.
  let steps = 0;
  // Whether anything was accepted since the rate was last raised.
  let isAnswered = false;

  const held = () => Math.max(state.heldUntil, state.pausedUntil);

  const keep = (): number =>
    phase === SETTLED
      ? between(KEEP, KEEP_PER_HOLD * (resumed - since), KEEP_LONGEST)
      : phase === COUNTED
      ? KEEP
      : 0;

  const rateAt = (age: number): number => {
    const growing = age - keep();
    if (growing <= 0) return from;
    const [step, doubling] = GROWTH[phase];
    return Math.min(MOST, from * (1 + step * (2 ** (growing / doubling) - 1)));
  };

  const pause = (now: number, length: number) => {
    if (state.heldUntil <= now) state.pausedUntil = Math.max(state.pausedUntil, now + length);
  };

  /** Decides on the next phase and rate after a refusal at this rate, which was kept or growing when the request left. */
  const decide = (refused: number, isKept: boolean, now: number): readonly [Phase, number] => {
    const idle = Math.max(0, resumed - since);
    const asking = now - since - idle;
    const count = taken / (now - since) * 1000;
    if (!isKept || asking > CALM) steps = 0;
    if (phase === SEEKING || (phase === CLIMBING && taken < ENOUGH)) {
      return [CLIMBING, refused * AGAIN_FROM];
    }
    if (!isKept) {
      const isAlike = refused >= refusedAt * ALIKE && refused * ALIKE <= refusedAt;
      return [SETTLED, refused * (isAlike || state.heldUntil <= now ? BELOW : WELL_BELOW)];
    }
    const isTrusted = taken >= ENOUGH &&
      (idle === 0 || (asking >= 2 * idle && Math.abs(count / countBefore - 1) <= SAME_COUNT));
    if (!isTrusted) {
      steps++;
      return [steps > SMALL_STEPS ? CLIMBING : SETTLED, refused * STEP ** (2 ** Math.max(0, steps - 2))];
    }
    if (idle > 0) return [COUNTED, refused * between(COUNT_LOWERS, count / refused, STEP)];
    // Far too low: little was asked for.
    if (count < refused / 2) return [CLIMBING, refused * AGAIN_FROM];
    return [SETTLED, Math.min(count * BELOW, refused * STEP)];
  };

  return {
    waited: (now) => {
      if (!isAnswered) return;
      isAnswered = false;
      // Time in which nothing was asked for, or nothing could be sent, is no time in which the rate held back.
      const began = Math.max(agedUntil || now, since, Math.min(held(), now));
      agedUntil = now;
      age += between(0, now - began, 1000);
      state.rate = rateAt(age);
    },
    accepted: () => {
      taken++;
      isAnswered = true;
    },
    throttled: (leftAt, now) => {
      if (leftAt <= state.slowedAt) {
        // The same refusal, which may have asked for a longer hold.
        resumed = Math.max(resumed, held());
        return;
      }
      state.slowedAt = now;
      if (taken === 0) {
        // Shut: it says nothing of the rate.
        pause(now, Math.min(LONGEST_PAUSE, PAUSE * 2 ** shut));
        shut++;
        return;
      }
      const then = Math.max(0, age - (now - leftAt));
      const refused = rateAt(then);
      const isKept = phase >= SETTLED && then <= keep();
      const [next, rateThere] = decide(refused, isKept, now);
      countBefore = taken / (now - since) * 1000;
      refusedAt = refused;
      phase = next;
      from = between(LEAST, rateThere, MOST);
      age = 0;
      agedUntil = now;
      taken = 0;
      since = now;
      resumed = Math.max(now, state.heldUntil);
      shut = 0;
      state.rate = from;
      pause(now, PAUSE);
    },
  };
};
