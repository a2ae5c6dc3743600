/**
 * Faults on request: which requests fail, how, and for how long. Decided by the seed, the URL and how often that URL has
 * failed in a row, so that a run can be repeated whatever its concurrency.
 */
import * as Check from "../data/Check.ts";
import type { ChurnOptions } from "./Churn.ts";
import { Draws, hashText, seedOf } from "../data/Hash.ts";
import type { RateLimiterOptions } from "./TokenBucket.ts";

/**
 * A fault of an answer: an error status; `reset`, the connection reset before any of the answer; `cut`, the connection
 * broken in mid-body; `truncated`, a body that ends in the middle as if that were all; `html`, a page that is no JSON under
 * status 200.
 */
export type FaultName = typeof faultNames[number];

/** Every {@link FaultName}. */
export const faultNames = ["429", "500", "502", "503", "reset", "cut", "truncated", "html"] as const;

/** Every way of {@link FaultOptions.retryAfter}. */
export const retryAfterForms = ["seconds", "date", "none", "mixed"] as const;

/** Faults, and how often each occurs. The rates, 0 to 1, must not add up to more than 1; `slow` is apart from them. */
export interface FaultOptions extends Readonly<Partial<Record<FaultName, number>>> {
  /** Any safe integer. @default {the sandbox's seed} */
  readonly seed?: number;
  /** The share of answers that take `slowMs` longer. @default {0} */
  readonly slow?: number;
  /** @default {300} */
  readonly slowMs?: number;
  /** The time that every answer takes, in milliseconds. @default {0} */
  readonly latencyMs?: number;
  /**
   * The form in which a 429 or 503 says when to come back: seconds, an HTTP date, not, or any of these.
   * @default {"seconds"}
   */
  readonly retryAfter?: "seconds" | "date" | "none" | "mixed";
  /** Whole seconds. A rate limit says how long it takes instead, when that is longer. @default {1} */
  readonly retryAfterSeconds?: number;
  /** The most times in a row that one URL fails; Infinity for a server that is down. @default {3} */
  readonly maxInARow?: number;
  /** Beyond it, requests are answered 429, in a row or not. @default {none} */
  readonly rateLimit?: RateLimiterOptions;
  /** Changes to the sessions while they are being read. @default {none} */
  readonly churn?: ChurnOptions;
}

/** The fate of one request. */
export interface Fate {
  readonly fault: FaultName | undefined;
  readonly waitMs: number;
  /** The value of `retry-after` for an answer that asks to wait, given the least number of seconds. */
  readonly retryAfter: (seconds?: number) => string | undefined;
}

/** The most URLs in trouble that are remembered. */
const remembered = 65_536;

/** Makes the judge of requests. Holds a number for each URL whose last answer was a fault, and no more than 65,536. */
export const make = (options: FaultOptions, sandboxSeed: number): (target: string) => Fate => {
  const rates = faultNames.map((name) => Check.rate(`faults.${name}`, options[name] ?? 0));
  const slow = Check.rate("faults.slow", options.slow ?? 0);
  const slowMs = Check.atLeast("faults.slowMs", options.slowMs ?? 300, 0);
  const latencyMs = Check.atLeast("faults.latencyMs", options.latencyMs ?? 0, 0);
  const form = Check.oneOf("faults.retryAfter", options.retryAfter ?? "seconds", retryAfterForms);
  const leastSeconds = Check.whole("faults.retryAfterSeconds", options.retryAfterSeconds ?? 1, 0);
  const maxInARow = options.maxInARow ?? 3;
  if (maxInARow !== Infinity) Check.whole("faults.maxInARow", maxInARow, 0);
  Check.atMostOne("faults", rates.reduce((sum, rate) => sum + rate, 0));
  const seed = options.seed === undefined
    ? sandboxSeed
    : seedOf(Check.whole("faults.seed", options.seed, Number.MIN_SAFE_INTEGER));

  const troubled = new Map<string, number>();

  const failOrNot = (target: string, attempt: number, draws: Draws): FaultName | undefined => {
    let left = draws.fraction();
    const at = rates.findIndex((rate) => (left -= rate) < 0);
    const fault = attempt < maxInARow ? faultNames[at] : undefined;
    troubled.delete(target);
    if (fault !== undefined) {
      troubled.set(target, attempt + 1);
      if (troubled.size > remembered) troubled.delete(troubled.keys().next().value as string);
    }
    return fault;
  };

  return (target) => {
    const attempt = troubled.get(target) ?? 0;
    const draws = new Draws(hashText(seed + attempt, target));
    const fault = failOrNot(target, attempt, draws);
    const waitMs = latencyMs + (draws.chance(slow) ? slowMs : 0);
    return {
      fault,
      waitMs,
      retryAfter(least = 0) {
        const seconds = Math.max(leastSeconds, Math.ceil(least));
        const written = form === "mixed" ? draws.pick(["seconds", "date", "none"] as const) : form;
        if (written === "none") return undefined;
        if (written === "seconds") return String(seconds);
        return new Date(Math.ceil(Date.now() / 1000 + seconds) * 1000).toUTCString();
      },
    };
  };
};
