/** Faults as one writes them on a command line. */
import type { ChurnOptions } from "./Churn.ts";
import { faultNames, type FaultOptions, retryAfterForms } from "./Faults.ts";

type Mutable<A> = { -readonly [K in keyof A]: A[K] };

/** The options that the parts have filled in so far. */
interface Draft extends Mutable<Omit<FaultOptions, "churn" | "rateLimit">> {
  churn?: Mutable<ChurnOptions>;
  rateLimit?: { perSecond: number; burst?: number };
}

type Setting = { readonly required: string; readonly set: (draft: Draft, text: string) => boolean };

const setting = <A>(
  required: string,
  read: (text: string) => A | undefined,
  put: (draft: Draft, value: A) => void,
): Setting => ({
  required,
  set(draft, text) {
    const value = read(text);
    if (value !== undefined) put(draft, value);
    return value !== undefined;
  },
});

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

const settings: ReadonlyMap<string, Setting> = new Map([
  ...[...faultNames, "slow" as const].map((name) =>
    [name, setting(aRate, rate, (draft, value) => draft[name] = value)] as const
  ),
  ["slow-for", setting(aTime, milliseconds, (draft, value) => draft.slowMs = value)],
  ["latency", setting(aTime, milliseconds, (draft, value) => draft.latencyMs = value)],
  [
    "retry-after",
    setting(
      `${retryAfterForms.slice(0, -1).join(", ")} or ${retryAfterForms.at(-1)}`,
      (text) => retryAfterForms.find((form) => form === text),
      (draft, value) => draft.retryAfter = value,
    ),
  ],
  ["retry-after-seconds", setting(aWhole, whole, (draft, value) => draft.retryAfterSeconds = value)],
  ["max-in-a-row", setting(aWhole, whole, (draft, value) => draft.maxInARow = value)],
  [
    "per-second",
    setting("a number above 0", (text) => decimal(text) || undefined, (draft, perSecond) => {
      draft.rateLimit = { ...draft.rateLimit, perSecond };
    }),
  ],
  [
    "burst",
    setting("a whole number above 0", (text) => whole(text) || undefined, (draft, burst) => {
      draft.rateLimit = { perSecond: Number.NaN, ...draft.rateLimit, burst };
    }),
  ],
  ["deletes", setting(aNumber, decimal, (draft, deletes) => draft.churn = { ...draft.churn, deletes })],
  ["inserts", setting(aNumber, decimal, (draft, inserts) => draft.churn = { ...draft.churn, inserts })],
  ["updates", setting(aNumber, decimal, (draft, updates) => draft.churn = { ...draft.churn, updates })],
]);

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
  const draft: Draft = {};
  const names = new Set<string>();
  for (const part of text.split(",").map((part) => part.trim())) {
    if (part === "") continue;
    const [name = "", value, ...more] = part.split("=").map((side) => side.trim());
    const found = settings.get(name) ?? fail(part, `the names are ${[...settings.keys()].join(", ")}`);
    if (names.has(name)) fail(part, `'${name}' is there twice`);
    names.add(name);
    const read = value !== undefined && more.length === 0 && found.set(draft, value);
    if (!read) fail(part, `'${name}' needs ${found.required} after one '='`);
  }
  if (names.has("burst") && !names.has("per-second")) fail("burst", "'burst' needs a 'per-second' beside it");
  return draft;
};
