/** Faults as one writes them on a command line. */
import type { ChurnOptions } from "./Churn.ts";
import { faultNames, type FaultOptions, retryAfterForms } from "./Faults.ts";
import type { RateLimiterOptions } from "./TokenBucket.ts";

const decimal = (text: string): number | undefined =>
  /^(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : undefined;

const whole = (text: string): number | undefined => /^\d{1,9}$/.test(text) ? Number(text) : undefined;

const rate = (text: string): number | undefined => {
  const value = decimal(text.replace(/%$/, ""));
  const share = value === undefined || !text.endsWith("%") ? value : value / 100;
  return share !== undefined && share <= 1 ? share : undefined;
};

const milliseconds = (text: string): number | undefined => {
  const [, digits = "", unit] = /^([\d.]+)(ms|s)?$/.exec(text) ?? [];
  const value = decimal(digits);
  return value === undefined ? undefined : unit === "s" ? value * 1000 : value;
};

const aRate = "a rate such as 10% or 0.1";
const aTime = "a time such as 20ms or 1.5s";
const aNumber = "a number such as 0.5";
const aWhole = "a whole number";

/** A reader of values, what they must be, and the option that they become, or the one within it. */
type Setting = readonly [
  name: string,
  read: (text: string) => number | string | undefined,
  must: string,
  option: keyof FaultOptions,
  inner?: keyof ChurnOptions | keyof RateLimiterOptions,
];

const settings: ReadonlyArray<Setting> = [
  ...[...faultNames, "slow" as const].map((name): Setting => [name, rate, aRate, name]),
  ["slow-for", milliseconds, aTime, "slowMs"],
  ["latency", milliseconds, aTime, "latencyMs"],
  [
    "retry-after",
    (text) => retryAfterForms.find((form) => form === text),
    `${retryAfterForms.slice(0, -1).join(", ")} or ${retryAfterForms.at(-1)}`,
    "retryAfter",
  ],
  ["retry-after-seconds", whole, aWhole, "retryAfterSeconds"],
  ["max-in-a-row", whole, aWhole, "maxInARow"],
  ["per-second", (text) => decimal(text) || undefined, "a number above 0", "rateLimit", "perSecond"],
  ["burst", (text) => whole(text) || undefined, "a whole number above 0", "rateLimit", "burst"],
  ["deletes", decimal, aNumber, "churn", "deletes"],
  ["inserts", decimal, aNumber, "churn", "inserts"],
  ["updates", decimal, aNumber, "churn", "updates"],
];

const fail = (part: string, problem: string): never => {
  throw new RangeError(`Cannot read the faults at ${JSON.stringify(part)}: ${problem}`);
};

/**
 * Reads faults from text: `name=value`, separated by commas. Names are those of the faults and `slow` with a rate, `latency`
 * and `slow-for` with a time, `retry-after` with its form, `retry-after-seconds` and `max-in-a-row` with a number,
 * `per-second` and `burst` for a rate limit, and `deletes`, `inserts` and `updates` for churn.
 *
 * @throws RangeError that quotes the part it could not read and says what would do.
 *
 * @example
 * ```ts
 * import { parseFaults } from "monocloud-sessions/sandbox";
 *
 * const faults = parseFaults("429=10%,reset=0.05,latency=20ms");
 * console.assert(faults["429"] === 0.1 && faults.reset === 0.05 && faults.latencyMs === 20);
 * ```
 */
export const parseFaults = (text: string): FaultOptions => {
  const options: { [name: string]: unknown } = {};
  const names = new Set<string>();
  for (const part of text.split(",").map((part) => part.trim())) {
    if (part === "") continue;
    const [name = "", value, ...more] = part.split("=").map((side) => side.trim());
    const [, read, must, option, inner] = settings.find(([known]) => known === name) ??
      fail(part, `the names are ${settings.map(([known]) => known).join(", ")}`);
    if (names.has(name)) fail(part, `'${name}' is there twice`);
    names.add(name);
    const found = value === undefined || more.length > 0 ? undefined : read(value);
    if (found === undefined) fail(part, `'${name}' needs ${must} after one '='`);
    options[option] = inner === undefined ? found : { ...options[option] as object, [inner]: found };
  }
  if (names.has("burst") && !names.has("per-second")) fail("burst", "'burst' needs a 'per-second' beside it");
  return options as FaultOptions;
};
