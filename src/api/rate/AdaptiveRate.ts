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
/** Phases of the search. */
export type Phase = 0 | 1 | 2 | 3;
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

/** All that is known of the limit: numbers that are written down and taken up elsewhere. Times as of the rate's. */
export interface Memory {
  phase: Phase;
  /** The rate that the phase began with. */
  from: number;
  /** The time for which the rate has held requests back in this phase, in ms, and until when that has been counted. */
  age: number;
  agedUntil: number;
  /** The number of requests accepted since the refusal that began the phase. */
  taken: number;
  /** The time of that refusal, and when requests could leave again. */
  since: number;
  resumed: number;
  /** Refusals in a row with nothing accepted between them. */
  shut: number;
  /** Rate of the refusal before, and requests a second accepted until then. */
  refusedAt: number;
  countBefore: number;
  /** The number of times in a row that a settled rate was lowered. */
  steps: number;
  /** True if anything was accepted since the rate was last raised. */
  isAnswered: boolean;
}

const between = (least: number, value: number, most: number) => Math.max(least, Math.min(value, most));

/** Makes the memory of a search that begins. */
export const blank = (): Memory => ({
  phase: SEEKING,
  from: START,
  age: 0,
  agedUntil: 0,
  taken: 0,
  since: 0,
  resumed: 0,
  shut: 0,
  refusedAt: 0,
  countBefore: 0,
  steps: 0,
  isAnswered: false,
});

/** Seeks the rate, and keeps it in the state, and what it knows in the memory. */
export const make = (state: SharedRate, memory: Memory = blank()) => {
  const held = () => Math.max(state.heldUntil, state.pausedUntil);

  const keep = (): number =>
    memory.phase === SETTLED
      ? between(KEEP, KEEP_PER_HOLD * (memory.resumed - memory.since), KEEP_LONGEST)
      : memory.phase === COUNTED
      ? KEEP
      : 0;

  const rateAt = (age: number): number => {
    const growing = age - keep();
    if (growing <= 0) return memory.from;
    const [step, doubling] = GROWTH[memory.phase];
    return Math.min(MOST, memory.from * (1 + step * (2 ** (growing / doubling) - 1)));
  };

  const pause = (now: number, length: number) => {
    if (state.heldUntil <= now) state.pausedUntil = Math.max(state.pausedUntil, now + length);
  };

  /** Decides on the next phase and rate after a refusal at this rate, which was kept or growing when the request left. */
  const decide = (refused: number, isKept: boolean, now: number): readonly [Phase, number] => {
    const idle = Math.max(0, memory.resumed - memory.since);
    const asking = now - memory.since - idle;
    const count = memory.taken / (now - memory.since) * 1000;
    if (!isKept || asking > CALM) memory.steps = 0;
    if (memory.phase === SEEKING || (memory.phase === CLIMBING && memory.taken < ENOUGH)) {
      return [CLIMBING, refused * AGAIN_FROM];
    }
    if (!isKept) {
      const isAlike = refused >= memory.refusedAt * ALIKE && refused * ALIKE <= memory.refusedAt;
      return [SETTLED, refused * (isAlike || state.heldUntil <= now ? BELOW : WELL_BELOW)];
    }
    const isTrusted = memory.taken >= ENOUGH &&
      (idle === 0 || (asking >= 2 * idle && Math.abs(count / memory.countBefore - 1) <= SAME_COUNT));
    if (!isTrusted) {
      memory.steps++;
      return [
        memory.steps > SMALL_STEPS ? CLIMBING : SETTLED,
        refused * STEP ** (2 ** Math.max(0, memory.steps - 2)),
      ];
    }
    if (idle > 0) return [COUNTED, refused * between(COUNT_LOWERS, count / refused, STEP)];
    // Far too low: little was asked for.
    if (count < refused / 2) return [CLIMBING, refused * AGAIN_FROM];
    return [SETTLED, Math.min(count * BELOW, refused * STEP)];
  };

  return {
    /** A request had to wait for its turn, which came now: only a rate that holds requests back is raised. */
    waited: (now: number): void => {
      if (!memory.isAnswered) return;
      memory.isAnswered = false;
      // Time in which nothing was asked for, or nothing could be sent, is no time in which the rate held back.
      const began = Math.max(memory.agedUntil || now, memory.since, Math.min(held(), now));
      memory.agedUntil = now;
      memory.age += between(0, now - began, 1000);
      state.rate = rateAt(memory.age);
    },
    accepted: (): void => {
      memory.taken++;
      memory.isAnswered = true;
    },
    /** To be called after the hold that came with the refusal. */
    throttled: (leftAt: number, now: number): void => {
      if (leftAt <= state.slowedAt) {
        // The same refusal, which may have asked for a longer hold.
        memory.resumed = Math.max(memory.resumed, held());
        return;
      }
      state.slowedAt = now;
      if (memory.taken === 0) {
        // Shut: it says nothing of the rate.
        pause(now, Math.min(LONGEST_PAUSE, PAUSE * 2 ** memory.shut));
        memory.shut++;
        return;
      }
      const then = Math.max(0, memory.age - (now - leftAt));
      const refused = rateAt(then);
      const isKept = memory.phase >= SETTLED && then <= keep();
      const [next, rateThere] = decide(refused, isKept, now);
      // Finite, so that JSON can hold it.
      memory.countBefore = Math.min(Number.MAX_VALUE, memory.taken / (now - memory.since) * 1000);
      memory.refusedAt = refused;
      memory.phase = next;
      memory.from = between(LEAST, rateThere, MOST);
      memory.age = 0;
      memory.agedUntil = now;
      memory.taken = 0;
      memory.since = now;
      memory.resumed = Math.max(now, state.heldUntil);
      memory.shut = 0;
      state.rate = memory.from;
      pause(now, PAUSE);
    },
  };
};
