/**
 * Checks of the sandbox's options: each throws a RangeError that names the option, what is required and what was found.
 *
 * @module
 */

const fail = (option: string, required: string, found: unknown): never => {
  throw new RangeError(`Cannot make a sandbox as '${option}' must be ${required}: found ${String(found)}`);
};

/** Checks a whole number from `least` to `most`. */
export const whole = (option: string, value: number, least: number, most = Number.MAX_SAFE_INTEGER): number =>
  Number.isInteger(value) && value >= least && value <= most
    ? value
    : fail(option, `an integer from ${least} to ${most}`, value);

export const rate = (option: string, value: number): number =>
  value >= 0 && value <= 1 ? value : fail(option, "a rate from 0 to 1", value);

/** Checks a sum of rates; decimal ones such as ten times 0.1 come out a little beside their sum. */
export const atMostOne = (option: string, sum: number): number =>
  sum <= 1 + 1e-9 ? sum : fail(option, "rates that add up to no more than 1", sum);

/** Checks a finite number of at least `least`. */
export const atLeast = (option: string, value: number, least: number): number =>
  Number.isFinite(value) && value >= least ? value : fail(option, `a number of at least ${least}`, value);

export const positive = (option: string, value: number): number =>
  Number.isFinite(value) && value > 0 ? value : fail(option, "a number above 0", value);

export const oneOf = <const Word extends string>(option: string, value: Word, words: readonly Word[]): Word =>
  words.includes(value)
    ? value
    : fail(option, `one of ${words.map((word) => `"${word}"`).join(", ")}`, value);
