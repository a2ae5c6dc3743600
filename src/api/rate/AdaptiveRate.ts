/**
 * A rate for a tenant whose limit nobody knows: begins modestly, finds the limit, and stays just below it.
 *
 * The rate doubles every 1.5 seconds until a first request is refused. From well below it climbs again, slowly, and so
 * meets the limit at a rate that says what it is. There it settles, 1.5 % below, and tries for more from time to time:
 * first by a fraction of a percent, then by more and more for as long as none is refused.
 *
 * A tenant that allows bursts refuses long after its limit was passed, so the rate that was refused is no measure. It
 * shows when the settled rate is refused as well, and then what was accepted since the refusal before is the measure: a
 * bucket that was empty both times has given away just what flowed in. Where the tenant asked to be left alone in
 * between, that may have been wasted, and the count is trusted only if it says twice the same.
 *
 * @module
 */
import { type Cell, change } from "./Cells.ts";

/** What is done next. */
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

/** How the rate grows in each phase: by this share of where it began, and twice as much after every so many ms. */
const GROWTH = [[1, 1500], [0.15, 3000], [0.01, 3000], [0.01, 3000]] as const;

/** Where to settle below a rate that was refused. */
const BELOW = 0.985;
/** The same where a refusal costs a hold, and the one before was met at another rate. */
const WELL_BELOW = 0.92;
/** From here on two rates count as the same. */
const ALIKE = 0.93;
/** Where to climb from. */
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
 * How long a settled rate is kept before more is tried for, in ms: the longer the more a refusal costs, so that holds take
 * no more than a sixtieth of the time.
 */
const KEEP = 15_000;
const KEEP_PER_HOLD = 60;
const KEEP_LONGEST = 300_000;
/** A settled rate refused after this was right until then. */
const CALM = 10_000;

/** How long nothing is sent after a refusal without `Retry-After`, in ms: twice as long while nothing is accepted. */
const PAUSE = 50;
const LONGEST_PAUSE = 1000;

/** How many numbers it keeps. */
export const CELLS = 13;

/** What it shares with the gate. */
export interface AutoRateCells {
  readonly rate: Cell;
  readonly heldUntil: Cell;
  readonly slowedAt: Cell;
  /** When requests may leave again that it holds back by itself. */
  readonly pausedUntil: Cell;
  /** Its own: {@link CELLS} numbers, 0 to begin with. */
  readonly own: (index: number) => Cell;
}

/** A rate that is sought. */
export interface AutoRate {
  /** A request had to wait for its turn, which came now: only a rate that holds requests back is raised. */
  readonly waited: (now: number) => void;
  readonly accepted: () => void;
  /** To be called after the hold that came with the refusal. */
  readonly throttled: (leftAt: number, now: number) => void;
}

const between = (least: number, value: number, most: number) => Math.max(least, Math.min(value, most));

/**
 * Several threads may use the same numbers. One of them decides what a refusal means, whoever replaces `slowedAt`. The
 * rate is computed from the other numbers anew with every turn, so one computed while they change does not last.
 */
export const make = ({ rate, heldUntil, slowedAt, pausedUntil, own }: AutoRateCells): AutoRate => {
  const phase = own(0);
  // The rate that the phase began with; 0 before the first.
  const from = own(1);
  // How long the rate has held requests back in this phase, in ms, and until when that has been counted.
  const age = own(2);
  const agedUntil = own(3);
  // What was accepted since the refusal that began the phase, when that came, and when requests could leave again.
  const taken = own(4);
  const since = own(5);
  const resumed = own(6);
  // Refusals in a row with nothing accepted between them.
  const shut = own(7);
  // Of the refusal before: at which rate, and requests a second accepted until then.
  const refusedAt = own(8);
  const countBefore = own(9);
  // How many times in a row a settled rate was lowered.
  const steps = own(10);
  // Whether anything was accepted since the rate was last raised: of this thread alone.
  let isAnswered = false;

  const set = (cell: Cell, value: number) => change(cell, () => value);
  const held = () => Math.max(heldUntil.get(), pausedUntil.get());

  const keep = (): number => {
    const now = phase.get();
    return now === SETTLED
      ? between(KEEP, KEEP_PER_HOLD * (resumed.get() - since.get()), KEEP_LONGEST)
      : now === COUNTED
      ? KEEP
      : 0;
  };

  const rateAt = (age: number): number => {
    const began = from.get() || START;
    const growing = age - keep();
    if (growing <= 0) return began;
    const [step, doubling] = GROWTH[phase.get() as Phase];
    return Math.min(MOST, began * (1 + step * (2 ** (growing / doubling) - 1)));
  };

  const pause = (now: number, length: number) => {
    if (heldUntil.get() <= now) change(pausedUntil, (until) => Math.max(until, now + length));
  };

  /** What to do about a refusal at this rate, which has left while the rate was kept, or was growing. */
  const decide = (refused: number, isKept: boolean, now: number): readonly [Phase, number] => {
    const began = phase.get();
    const idle = Math.max(0, resumed.get() - since.get());
    const asking = now - since.get() - idle;
    const count = taken.get() / (now - since.get()) * 1000;
    if (!isKept || asking > CALM) set(steps, 0);
    if (began === SEEKING || (began === CLIMBING && taken.get() < ENOUGH)) {
      return [CLIMBING, refused * AGAIN_FROM];
    }
    if (!isKept) {
      const before = refusedAt.get();
      const isAlike = refused >= before * ALIKE && refused * ALIKE <= before;
      return [SETTLED, refused * (isAlike || heldUntil.get() <= now ? BELOW : WELL_BELOW)];
    }
    const isTrusted = taken.get() >= ENOUGH &&
      (idle === 0 || (asking >= 2 * idle && Math.abs(count / countBefore.get() - 1) <= SAME_COUNT));
    if (!isTrusted) {
      const nth = steps.get() + 1;
      set(steps, nth);
      return [nth > SMALL_STEPS ? CLIMBING : SETTLED, refused * STEP ** (2 ** Math.max(0, nth - 2))];
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
      const until = agedUntil.get();
      if (!agedUntil.replace(until, now)) return;
      // Time in which nothing was asked for, or nothing could be sent, is no time in which the rate held back.
      const began = Math.max(until || now, since.get(), Math.min(held(), now));
      change(age, (age) => age + between(0, now - began, 1000));
      set(rate, rateAt(age.get()));
    },
    accepted: () => {
      change(taken, (count) => count + 1);
      isAnswered = true;
    },
    throttled: (leftAt, now) => {
      const last = slowedAt.get();
      if (leftAt <= last || !slowedAt.replace(last, now)) {
        // The same refusal, which may have asked for a longer hold.
        change(resumed, (until) => Math.max(until, held()));
        return;
      }
      if (taken.get() === 0) {
        // Shut: it says nothing of the rate.
        pause(now, Math.min(LONGEST_PAUSE, PAUSE * 2 ** shut.get()));
        change(shut, (times) => times + 1);
        return;
      }
      const then = Math.max(0, age.get() - (now - leftAt));
      const refused = rateAt(then);
      const isKept = phase.get() >= SETTLED && then <= keep();
      const [next, rateThere] = decide(refused, isKept, now);
      set(countBefore, taken.get() / (now - since.get()) * 1000);
      set(refusedAt, refused);
      set(phase, next);
      set(from, between(LEAST, rateThere, MOST));
      set(age, 0);
      set(agedUntil, now);
      set(taken, 0);
      set(since, now);
      set(resumed, Math.max(now, heldUntil.get()));
      set(shut, 0);
      set(rate, from.get());
      pause(now, PAUSE);
    },
  };
};
