/**
 * Speed of an export, and the time it still takes: measured over what this process did lately, not over what an earlier one
 * had done, nor over the time in which the users were listed.
 *
 * @module
 */

export interface Counts {
  readonly users: number;
  readonly sessions: number;
  /** Sessions that the tenant says there are, summed over the users that were begun. */
  readonly listed: number;
  readonly walking?: number | undefined;
  readonly usersTotal: number | undefined;
}

export interface Estimate {
  /** Sessions a second. */
  readonly speed: number;
  /** Unknown before anything has been done, and once all is. */
  readonly secondsLeft: number | undefined;
}

/** Users whose lists may differ widely: of no more than so many, sessions tell how much is done. */
const FEW = 16;

/** Give the share that is done, from 0 to 1. */
export const fraction = (
  { users, usersTotal, sessions, listed, walking = 1 }: Counts,
): number | undefined => {
  if (usersTotal === undefined || usersTotal === 0) return undefined;
  const byUsers = users / usersTotal;
  const share = usersTotal <= FEW && listed > 0
    ? Math.max(byUsers, sessions / listed * Math.min(1, (users + Math.max(1, walking)) / usersTotal))
    : byUsers;
  return Math.min(1, share);
};

type Sample = Omit<Counts, "usersTotal"> & { readonly now: number };

/** The least time to measure over, in milliseconds; of a long run a quarter, if that is more. */
const WINDOW = 60_000;

const SAMPLES = 60;

/** Keep samples of the window that ends now, and the last one before it. */
const slide = (samples: Array<Sample>, sample: Sample, began: number): void => {
  const window = Math.max(WINDOW, (sample.now - began) / 4);
  if (sample.now - samples.at(-1)!.now >= window / SAMPLES) samples.push(sample);
  while (samples.length > 2 && samples[1]!.now <= sample.now - window) samples.shift();
};

const between = (from: Sample, to: Sample, usersTotal: number | undefined): Estimate => {
  const seconds = (to.now - from.now) / 1000;
  if (seconds <= 0) return { speed: 0, secondsLeft: undefined };
  const doneOf = (at: Sample) => fraction({ ...at, usersTotal });
  const done = doneOf(to);
  const gained = (done ?? 0) - (doneOf(from) ?? 0);
  return {
    speed: Math.max(0, to.sessions - from.sessions) / seconds,
    secondsLeft: done === undefined || done >= 1 || gained <= 0 ? undefined : (1 - done) / gained * seconds,
  };
};

type Done = Pick<Counts, "users" | "sessions" | "listed">;

const nothing: Done = { users: 0, sessions: 0, listed: 0 };

/** Make what estimates anew with each look at an export that began at a time, in milliseconds since the epoch. */
export const make = () => {
  let samples: Array<Sample> = [];
  let walkBegan: number | undefined;
  return (
    { usersTotal, before = nothing, users, sessions, listed, walking }: Counts & {
      readonly before?: Done | undefined;
    },
    began: number,
    now: number,
  ): Estimate => {
    const sample: Sample = { users, sessions, listed, walking, now };
    if (users <= before.users && sessions <= before.sessions) {
      samples = [sample];
      return { speed: 0, secondsLeft: undefined };
    }
    if (walkBegan === undefined) {
      const { now: start } = samples[0] ?? { now: began };
      walkBegan = start;
      samples = [{ ...before, walking, now: start }];
    }
    const estimate = between(samples[0]!, sample, usersTotal);
    slide(samples, sample, walkBegan);
    return estimate;
  };
};
