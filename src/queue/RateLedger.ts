/**
 * The rate of one tenant, as all machines share it: who reads it decides on the next lease of turns, and writes it back. Turns
 * lie one after the other on the clock of the queue's server, so that no machine's clock matters.
 *
 * @module
 */
import * as AdaptiveRate from "../api/rate/AdaptiveRate.ts";
import * as RateLimiter from "../api/rate/RateLimiter.ts";

export type Ceiling = number | "auto";

/** All that is written down, as JSON. Times are in milliseconds on the server's clock. */
export interface State extends AdaptiveRate.SharedRate {
  /** The time of the next turn that nobody has. */
  next: number;
  /** The time of the last decision. */
  at: number;
  /** Changes when leases become void. */
  epoch: number;
  ceiling: Ceiling;
  /** The time at which each ceiling was named last. */
  named: Readonly<Record<string, number>>;
  /** The lowest rate of leases that may not be over. */
  laid: number;
  search: AdaptiveRate.Memory;
}

/** Events at one machine since it last told of them. */
export interface Reports {
  /** The number of requests that the tenant accepted. */
  readonly accepted: number;
  /** Requests that it answered 429, by the time at which they left. */
  readonly throttled: ReadonlyArray<number>;
  /** The end of the pause that the tenant asked for; 0 if it did not. */
  readonly heldUntil: number;
  /** True if a request had to wait for the time of its turn. */
  readonly waited: boolean;
}

export interface Asked {
  /** Undefined where nobody has asked before. */
  readonly state: State | undefined;
  readonly now: number;
  /** The number of turns that are wanted; with 0 it only reports. */
  readonly turns: number;
  /** The time that it takes until the machine can use them, in milliseconds. @default {0} */
  readonly lead?: number | undefined;
  readonly ceiling: Ceiling;
  readonly reports: Reports;
}

/** Turns in a row. */
export interface Lease {
  /** The time until the first, in milliseconds. Below 0 where it was saved up. */
  readonly startsIn: number;
  readonly interval: number;
  readonly turns: number;
}

export interface Decision {
  readonly state: State;
  readonly lease: Lease | undefined;
}

/** The time of most leases, in milliseconds: as many are asked for in a second, whatever the rate. */
export const LENGTH = 50;
/** The longest time for which a machine may rely on what it has read, in milliseconds. */
export const FRESH = 500;
/** The time that a pause saves up, in milliseconds: less of a rate that is sought, which is measured by how even it is. */
const SLACK = 20;
const AUTO_SLACK = 10;
/** Time for which a ceiling counts that was named. */
const NAMED = 60_000;
/** Turns farther ahead than this, at a rate lower by this, are laid anew. */
const FAR = 1000;
const FAR_BELOW = 1.5;
/** The share of a rate below which a lower one makes leases void. */
const MUCH = 0.75;

/** Give the time of a lease, in milliseconds: longer where it takes long to get one, else there were gaps between them. */
export const lengthOf = (lead: number): number => Math.max(LENGTH, Math.min(FRESH, 2 * lead));

/** Give the number of turns of a whole lease. */
export const whole = (rate: number, lead = 0): number =>
  Math.max(1, Math.round(rate * lengthOf(lead) / 1000));

const rateOf = (ceiling: Ceiling): number => ceiling === "auto" ? AdaptiveRate.START : ceiling;

const begin = (ceiling: Ceiling, now: number): State => ({
  rate: rateOf(ceiling),
  heldUntil: 0,
  slowedAt: 0,
  pausedUntil: 0,
  next: 0,
  at: now,
  epoch: 0,
  ceiling,
  named: {},
  laid: rateOf(ceiling),
  search: AdaptiveRate.blank(),
});

/** Read what was written down; undefined where it is none of this. */
export const parse = (text: string | undefined): State | undefined => {
  try {
    const state: Partial<State> | null = JSON.parse(text ?? "null");
    const { next, rate, at, search, named } = state ?? {};
    const isWhole = [next, rate, at].every(Number.isFinite) && search !== undefined && named !== undefined;
    return isWhole ? state as State : undefined;
  } catch {
    return undefined;
  }
};

/** Move all times back where the server's clock was set back: else nobody had a turn until it is there again. */
const follow = (state: State, now: number): State => {
  const by = state.at - now;
  if (by <= 0) return state;
  const { search, named } = state;
  const back = (time: number) => time === 0 ? 0 : time - by;
  return {
    ...state,
    heldUntil: back(state.heldUntil),
    slowedAt: back(state.slowedAt),
    pausedUntil: back(state.pausedUntil),
    next: back(state.next),
    named: Object.fromEntries(Object.entries(named).map(([ceiling, time]) => [ceiling, back(time)])),
    search: {
      ...search,
      agedUntil: back(search.agedUntil),
      since: back(search.since),
      resumed: back(search.resumed),
    },
  };
};

/** Name a ceiling, and find the lowest of those that still count. A number goes before a rate that is sought. */
const name = (state: State, ceiling: Ceiling, now: number): void => {
  const named = Object.entries(state.named).filter(([, at]) => now - at <= NAMED);
  state.named = { ...Object.fromEntries(named), [ceiling]: now };
  const numbers = Object.keys(state.named).filter((name) => name !== "auto").map(Number);
  const lowest = numbers.length === 0 ? "auto" : Math.min(...numbers);
  if (lowest === state.ceiling) return;
  const isWhole = lowest === "auto" || state.ceiling === "auto" || state.rate === state.ceiling;
  state.rate = isWhole ? rateOf(lowest) : Math.min(rateOf(lowest), state.rate);
  if (lowest === "auto") state.search = AdaptiveRate.blank();
  state.ceiling = lowest;
};

/** Draw the conclusions from what a machine tells, as a limiter does by itself. */
const conclude = (state: State, { accepted, throttled, waited }: Reports, now: number): void => {
  const { ceiling } = state;
  if (ceiling !== "auto") {
    for (let n = 0; n < accepted && state.rate < ceiling; n++) {
      state.rate = RateLimiter.raised(state.rate, ceiling);
    }
    for (const leftAt of throttled) {
      if (leftAt <= state.slowedAt) continue;
      state.slowedAt = now;
      state.rate = RateLimiter.lowered(state.rate, ceiling);
    }
    return;
  }
  const auto = AdaptiveRate.make(state, state.search);
  for (let n = 0; n < accepted; n++) auto.accepted();
  for (const leftAt of throttled) auto.throttled(leftAt, now);
  if (waited) auto.waited(now);
};

/** Tell if a refusal asks for more than that the next leases are slower. A count of what flows is none with a gap in it. */
const isMuchSlower = (before: State, { slowedAt, rate, pausedUntil }: State, now: number): boolean =>
  slowedAt !== before.slowedAt && (rate < MUCH * before.rate || pausedUntil - now > LENGTH);

/** Decide on what is reported and asked for. */
export const decide = ({ state: before, now, turns, lead = 0, ceiling, reports }: Asked): Decision => {
  const followed = follow(before ?? begin(ceiling, now), now);
  const state: State = { ...followed, search: { ...followed.search }, at: now };
  name(state, ceiling, now);
  const isLonger = reports.heldUntil > Math.max(state.heldUntil, now);
  if (isLonger) state.heldUntil = reports.heldUntil;
  conclude(state, reports, now);

  const isFar = state.next - now > FAR;
  if (!isFar) state.laid = state.rate;
  // Leases of before are void for whoever reads this. Who has not read it yet uses them for a little longer.
  if (isLonger || isMuchSlower(followed, state, now) || (isFar && state.rate > FAR_BELOW * state.laid)) {
    state.epoch++;
    state.next = Math.min(state.next, now + FRESH + 1000 / state.rate);
    state.laid = state.rate;
  }
  if (turns <= 0) return { state, lease: undefined };

  const slack = state.ceiling === "auto" ? AUTO_SLACK : SLACK;
  const start = Math.max(state.next, now + lead - slack, state.heldUntil, state.pausedUntil);
  const interval = 1000 / state.rate;
  const given = Math.min(turns, whole(state.rate, lead));
  state.next = start + given * interval;
  state.laid = Math.min(state.laid, state.rate);
  return { state, lease: { startsIn: start - now, interval, turns: given } };
};
