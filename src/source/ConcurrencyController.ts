/**
 * The number of requests under way at once, found out by trying: more as long as more answers come of it, and no more than
 * that takes.
 *
 * @module
 */

export interface Answered {
  /** The time that all attempts have waited for their answers, in milliseconds. */
  readonly answerTime: number;
  /** The number of attempts that were answered 429. */
  readonly refused: number;
}

export interface Concurrency {
  readonly limit: () => number;
  /** An answer has come, at this time in milliseconds: says whether the limit is another one now. */
  readonly answered: (now: number) => boolean;
}

/** The limit to begin with. */
const START = 8;
/** The most there may be, and the most rows that pages under way may hold. */
const MOST = 256;
const MOST_ROWS = 32_768;

/**
 * The limit is what holds the walk up where so large a share of it is under way, not the rate nor whoever takes the batches.
 */
const IN_USE = 0.75;
/** The least time that is counted before it is judged, in milliseconds. */
const SHORTEST = 250;

interface Trial {
  readonly factor: number;
  /** It is worth it for this share of the gain or loss in answers that there would be if they went by it. */
  readonly share: number;
  /** The number of answers that are counted, for each that may be under way. */
  readonly answers: number;
}
const DOUBLE: Trial = { factor: 2, share: 0.4, answers: 4 };
const MORE: Trial = { factor: 1.25, share: 0.4, answers: 8 };
const LESS: Trial = { factor: 0.8, share: 0.2, answers: 8 };
/** The time that a limit is kept before another one is tried, in milliseconds, unless answers slow down to this share. */
const KEEP = 20_000;
const SLOWER = 0.7;
/** The time that a limit is kept that was lowered as the tenant refused it, in use or not, so large a share of requests. */
const KEEP_REFUSED = 2000;
const REFUSED = 0.05;

/** Always so many. */
export const fixed = (limit: number): Concurrency => ({ limit: () => limit, answered: () => false });

/**
 * As many as pay. Doubles from {@link START} while answers come faster for it; then keeps to what it has found, and tries
 * from time to time whether a quarter more brings more, or a fifth less as much. Lowered where the tenant refuses it. A
 * limit that is not used is left as it is: where the rate holds requests back there is nothing to find out. `rows` gives those
 * that a page has: of large pages fewer are asked for at once.
 */
export const adaptive = (rows: () => number, traffic: () => Answered): Concurrency => {
  const most = () => Math.max(1, Math.min(MOST, Math.floor(MOST_ROWS / rows())));
  let limit = Math.min(START, most());
  // What is being counted: begun when the limit came into effect.
  let began: { readonly at: number; readonly answerTime: number; readonly refused: number } | undefined;
  let answers = 0;
  let skip = limit;
  // What the limit is compared with while another one is tried.
  let before: { readonly limit: number; readonly perSecond: number; readonly trial: Trial } | undefined;
  let next = DOUBLE;
  // What was found, and until when it is kept.
  let kept = 0;
  let keepUntil = 0;

  const become = (value: number): boolean => {
    const before = limit;
    limit = Math.max(1, Math.min(most(), Math.floor(value)));
    return limit !== before;
  };

  const keep = (perSecond: number, until: number) => {
    kept = perSecond;
    keepUntil = until;
  };

  const tryNext = (perSecond: number, now: number): boolean => {
    if (now < keepUntil) {
      if (perSecond >= SLOWER * kept) return false;
      next = DOUBLE;
    }
    const than = { limit, perSecond, trial: next };
    if (become(next.factor > 1 ? Math.max(limit + 1, limit * next.factor) : limit * next.factor)) {
      before = than;
      return true;
    }
    next = next === LESS ? MORE : LESS;
    keep(perSecond, now + KEEP);
    return false;
  };

  /** Keeps the limit that was tried if it is worth it. */
  const judge = (perSecond: number, now: number, { trial, ...than }: NonNullable<typeof before>): boolean => {
    before = undefined;
    if (perSecond >= than.perSecond * (1 + trial.share * (limit / than.limit - 1))) {
      if (trial === LESS) keep(perSecond, now + KEEP);
      else next = DOUBLE;
      return false;
    }
    next = trial === MORE ? LESS : MORE;
    if (trial !== DOUBLE) keep(than.perSecond, now + KEEP);
    return become(than.limit);
  };

  /** The tenant refuses what is under way. */
  const lower = (perSecond: number, now: number): boolean => {
    next = MORE;
    keep(perSecond, now + KEEP_REFUSED);
    return become(limit * LESS.factor);
  };

  return {
    limit: () => Math.min(limit, most()),
    answered: (now) => {
      if (began === undefined) {
        if (--skip > 0) return false;
        began = { at: now, ...traffic() };
        answers = 0;
        return false;
      }
      answers++;
      const time = now - began.at;
      if (time < 0) {
        // The clock was set back.
        began = undefined;
        return false;
      }
      if (answers < (before?.trial ?? next).answers * limit || time < SHORTEST) return false;
      const { answerTime, refused } = traffic();
      const perSecond = answers / time * 1000;
      const isInUse = answerTime - began.answerTime >= IN_USE * limit * time;
      const refusals = refused - began.refused;
      const isTooMuch = refusals > (isInUse ? 0 : REFUSED * answers);
      const isChanged = before !== undefined
        // A limit that is refused is none, however much it brings.
        ? judge(refusals > 0 ? 0 : perSecond, now, before)
        : isTooMuch
        ? lower(perSecond, now)
        : isInUse && tryNext(perSecond, now);
      // Answers on the way were asked for under another limit.
      [began, skip] = isChanged ? [undefined, limit] : [{ at: now, answerTime, refused }, 0];
      answers = 0;
      return isChanged;
    },
  };
};
