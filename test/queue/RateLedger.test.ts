import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as RateLedger from "../../src/queue/RateLedger.ts";
import { some } from "../size.ts";

const asked = (
  state: RateLedger.State | undefined,
  now: number,
  rest: Partial<Omit<RateLedger.Asked, "state" | "now" | "reports">> & {
    readonly reports?: Partial<RateLedger.Reports>;
  } = {},
) =>
  RateLedger.decide({
    state,
    now,
    turns: 1,
    ceiling: 20,
    ...rest,
    reports: { accepted: 0, throttled: [], heldUntil: 0, waited: false, ...rest.reports },
  });

/** The times of a lease's turns, on the server's clock. */
const timesOf = (now: number, lease: RateLedger.Lease | undefined): ReadonlyArray<number> =>
  lease === undefined
    ? []
    : Array.from({ length: lease.turns }, (_, nth) => now + lease.startsIn + nth * lease.interval);

/** Tell the worst excess over what flows in and one more, in any window. */
const excess = (times: ReadonlyArray<number>, rate: number): number => {
  const sorted = [...times].sort((one, other) => one - other);
  // Each as far ahead of an even pace as it is: the worst window begins at the lowest before.
  let [worst, lowest] = [-Infinity, Infinity];
  sorted.forEach((at, nth) => {
    const over = nth - at * rate / 1000;
    lowest = Math.min(lowest, over);
    worst = Math.max(worst, over - lowest);
  });
  return worst;
};

const BEGIN = 1.7e12;

const aRate = fc.oneof(
  fc.double({ min: 0.1, max: 20, noNaN: true }),
  fc.double({ min: 20, max: 10_000, noNaN: true }),
);
/** Something that a machine does after a time: leases turns, and tells of what befell it. */
const aStep = fc.record({
  after: fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 3000 })),
  turns: fc.integer({ min: 0, max: 1000 }),
  accepted: fc.integer({ min: 0, max: 100 }),
  refusedAgo: fc.option(fc.integer({ min: 0, max: 500 }), { nil: undefined, freq: 8 }),
  hold: fc.option(fc.integer({ min: 1, max: 5000 }), { nil: undefined, freq: 8 }),
});
const steps = fc.array(aStep, { minLength: 1, maxLength: 60 });

/** Play steps; give the turns that can be used, for no machine uses one that is void for whoever looks, and holds. */
const play = (
  rate: RateLedger.Ceiling,
  all: ReadonlyArray<typeof aStep extends fc.Arbitrary<infer A> ? A : never>,
) => {
  let state: RateLedger.State | undefined;
  let now = BEGIN;
  let turns: Array<number> = [];
  const holds: Array<{ readonly from: number; readonly until: number }> = [];
  for (const { after, turns: wanted, accepted, refusedAgo, hold } of all) {
    now += after;
    const decision = asked(state, now, {
      turns: wanted,
      ceiling: rate,
      reports: {
        accepted,
        throttled: refusedAgo === undefined ? [] : [now - refusedAgo],
        heldUntil: hold === undefined ? 0 : now + hold,
        waited: true,
      },
    });
    const isVoid = state !== undefined && decision.state.epoch !== state.epoch;
    if (isVoid) turns = turns.filter((at) => at < now + RateLedger.FRESH);
    if (hold !== undefined) holds.push({ from: now, until: now + hold });
    const leased = timesOf(now, decision.lease);
    // Beyond any hold that is known.
    for (const at of leased) expect(at).toBeGreaterThanOrEqual(decision.state.heldUntil - 1e-2);
    turns.push(...leased);
    state = RateLedger.parse(JSON.stringify(decision.state));
    expect(state).toEqual(decision.state);
  }
  return { turns, holds, state: state! };
};

describe("decide()", () => {
  it("leases no more than rate * t and one more in any time, whoever asks, and whatever befalls", () =>
    fc.assert(
      fc.property(aRate, steps, (rate, all) => {
        const { turns } = play(rate, all);
        // The clock's grain is a quarter of a microsecond.
        expect(excess(turns, rate)).toBeLessThanOrEqual(1 + rate * 1e-5);
      }),
      { seed: 51, numRuns: some(4000) },
    ));

  it("leases nothing that lies within a hold, but for what was leased before and not looked at again", () =>
    fc.assert(
      fc.property(aRate, steps, (rate, all) => {
        const { turns, holds } = play(rate, all);
        for (const { from, until } of holds) {
          expect(turns.filter((at) => at > from + RateLedger.FRESH && at < until - 1e-2)).toEqual([]);
        }
      }),
      { seed: 52, numRuns: some(4000) },
    ));

  it("keeps the rate between a hundredth of the ceiling and the ceiling", () =>
    fc.assert(
      fc.property(aRate, steps, (rate, all) => {
        const { state } = play(rate, all);
        expect(state.rate).toBeLessThanOrEqual(rate);
        expect(state.rate).toBeGreaterThanOrEqual(rate / 100 * (1 - 1e-12));
      }),
      { seed: 53, numRuns: some(2000) },
    ));

  it("wastes nothing: turns that are asked for in time follow each other evenly", () => {
    let state: RateLedger.State | undefined;
    const turns: Array<number> = [];
    for (let now = BEGIN; now < BEGIN + 10_000; now += 40) {
      const decision = asked(state, now, { turns: 100, ceiling: 200 });
      state = decision.state;
      turns.push(...timesOf(now, decision.lease));
    }
    const gaps = turns.slice(1).map((at, nth) => at - turns[nth]!);
    expect(Math.max(...gaps) - Math.min(...gaps)).toBeLessThan(0.01);
  });

  it.each([[0.5, 1], [20, 1], [30, 2], [200, 10], [1000, 50], [100_000, 5000]])(
    "at %d a second gives %d turns, for a twentieth of a second",
    (ceiling, turns) => {
      expect(asked(undefined, BEGIN, { turns: 1e6, ceiling }).lease?.turns).toBe(turns);
    },
  );

  it("gives no more than are asked for, and none to whoever only tells", () => {
    expect(asked(undefined, BEGIN, { turns: 3, ceiling: 1000 }).lease?.turns).toBe(3);
    expect(asked(undefined, BEGIN, { turns: 0, ceiling: 1000 }).lease).toBeUndefined();
  });

  it("halves the rate once for all that were under way", () => {
    const first = asked(undefined, BEGIN, { ceiling: 64 }).state;
    const refused = asked(first, BEGIN + 200, {
      reports: { throttled: [BEGIN + 100, BEGIN + 150] },
      ceiling: 64,
    });
    expect(refused.state.rate).toBe(32);
    const same = asked(refused.state, BEGIN + 300, { reports: { throttled: [BEGIN + 199] }, ceiling: 64 });
    expect(same.state.rate).toBe(32);
    const another = asked(same.state, BEGIN + 400, { reports: { throttled: [BEGIN + 350] }, ceiling: 64 });
    expect(another.state.rate).toBe(16);
  });

  it("gives back 5 % of the ceiling a second under full use", () => {
    let { state } = asked(undefined, BEGIN, { ceiling: 100 });
    for (let n = 0; n < 3; n++) {
      state = asked(state, BEGIN + n + 1, { ceiling: 100, reports: { throttled: [BEGIN + n + 1] } }).state;
    }
    const from = state.rate;
    for (let tenth = 1; tenth <= 50; tenth++) {
      const accepted = Math.round(state.rate / 10);
      state = asked(state, BEGIN + tenth * 100, { ceiling: 100, reports: { accepted } }).state;
    }
    expect(Math.abs(state.rate - (from + 25))).toBeLessThan(3);
  });

  it("counts the lowest ceiling of the last minute, and a number before one that is sought", () => {
    let { state } = asked(undefined, BEGIN, { ceiling: 100 });
    state = asked(state, BEGIN + 10, { ceiling: "auto" }).state;
    expect([state.ceiling, state.rate]).toEqual([100, 100]);
    state = asked(state, BEGIN + 20, { ceiling: 40 }).state;
    expect([state.ceiling, state.rate]).toEqual([40, 40]);
    state = asked(state, BEGIN + 60_000, { ceiling: 100 }).state;
    expect([state.ceiling, state.rate]).toEqual([40, 40]);
    state = asked(state, BEGIN + 60_021, { ceiling: 100 }).state;
    expect([state.ceiling, state.rate]).toEqual([100, 100]);
    state = asked(state, BEGIN + 120_022, { ceiling: "auto" }).state;
    expect([state.ceiling, state.rate]).toEqual(["auto", 20]);
  });

  it("follows a server's clock that is set back, or another server's", () => {
    let { state } = asked(undefined, BEGIN, { reports: { heldUntil: BEGIN + 2000 } });
    const back = BEGIN - 3_600_000;
    const decision = asked(state, back);
    expect(decision.lease?.startsIn).toBeGreaterThanOrEqual(2000);
    expect(decision.lease?.startsIn).toBeLessThanOrEqual(2100);
    state = decision.state;
    expect(asked(state, back + 5000).lease?.startsIn).toBeLessThanOrEqual(0);
  });

  it("lays turns anew that were laid far ahead at a rate that is long past", () => {
    let state: RateLedger.State | undefined;
    for (let n = 0; n < 10; n++) {
      state = asked(state, BEGIN + n, { ceiling: 20, reports: { throttled: [BEGIN + n] } }).state;
    }
    // A hundred machines, at a turn in five seconds.
    for (let n = 0; n < 100; n++) state = asked(state, BEGIN + 20).state;
    expect(state!.next - BEGIN).toBeGreaterThan(400_000);
    state = asked(state, BEGIN + 5000, { reports: { accepted: 3 } }).state;
    expect(state.next - BEGIN).toBeLessThan(6000);
  });

  it("takes what is none of its own for nothing", () => {
    for (const text of [undefined, "", "null", "{}", "[1]", '{"next":null}', '{"next":1,"rate":2,"at":3}']) {
      expect(RateLedger.parse(text)).toBeUndefined();
    }
  });
});

/** Machines that ask side by side for what a tenant allows, in steps of 5 ms; each is told late what became of a request. */
const search = (limit: number, burst: number, machines: number, seconds: number, retryAfter = 0) => {
  let state: RateLedger.State | undefined;
  let [tokens, filled] = [burst, BEGIN];
  const LATENCY = 50;
  const each = Array.from({ length: machines }, () => ({
    turns: [] as Array<number>,
    epoch: 0,
    slowedAt: 0,
    learned: 0,
    answers: [] as Array<{ readonly at: number; readonly leftAt: number; readonly isAccepted: boolean }>,
    accepted: 0,
    throttled: [] as Array<number>,
    heldUntil: 0,
  }));
  const seen: Array<{ readonly at: number; readonly isAccepted: boolean }> = [];
  for (let now = BEGIN; now < BEGIN + seconds * 1000; now += 5) {
    for (const machine of each) {
      const due = machine.turns.filter((at) => at <= now);
      machine.turns = machine.turns.filter((at) => at > now);
      for (const at of due) {
        tokens = Math.min(burst, tokens + Math.max(0, at - filled) / 1000 * limit);
        filled = Math.max(filled, at);
        const isAccepted = tokens >= 1;
        if (isAccepted) tokens--;
        seen.push({ at, isAccepted });
        machine.answers.push({ at: now + LATENCY, leftAt: at, isAccepted });
      }
      const come = machine.answers.filter(({ at }) => at <= now);
      machine.answers = machine.answers.filter(({ at }) => at > now);
      for (const { leftAt, isAccepted } of come) {
        if (isAccepted) machine.accepted++;
        else {
          machine.throttled.push(leftAt < machine.learned ? 0 : leftAt);
          if (retryAfter > 0) machine.heldUntil = now + retryAfter;
        }
      }
      const wanted = machine.turns.length === 0 || machine.turns.at(-1)! - now < 60;
      if (!wanted && machine.throttled.length === 0) continue;
      const { accepted, throttled, heldUntil } = machine;
      const decision = asked(state, now, {
        turns: wanted ? 1000 : 0,
        ceiling: "auto",
        reports: { accepted, throttled, heldUntil, waited: true },
      });
      [machine.accepted, machine.throttled, machine.heldUntil] = [0, [], 0];
      if (decision.state.epoch !== machine.epoch) machine.turns = [];
      if (decision.state.slowedAt !== machine.slowedAt) machine.learned = Math.max(now, ...machine.turns) + 1;
      [machine.epoch, machine.slowedAt] = [decision.state.epoch, decision.state.slowedAt];
      state = decision.state;
      machine.turns.push(...timesOf(now, decision.lease));
    }
  }
  const later = seen.filter(({ at }) => at >= BEGIN + 20_000);
  return {
    used: later.filter(({ isAccepted }) => isAccepted).length / (seconds - 20) / limit,
    refused: later.filter(({ isAccepted }) => !isAccepted).length / later.length,
  };
};

describe("rate: auto, over several machines", () => {
  it.each([
    [50, 50, 1],
    [50, 5, 3],
    [50, 50, 3],
    [150, 15, 3],
    [150, 150, 10],
    [400, 40, 5],
  ])(
    "a limit of %d a second, burst %d, by %d machines: most is used, few are refused",
    (limit, burst, machines) => {
      const { used, refused } = search(limit, burst, machines, 80);
      expect(used).toBeGreaterThan(0.94);
      expect(used).toBeLessThan(1.05);
      expect(refused).toBeLessThan(0.02);
    },
  );

  it("also where a refusal costs a hold", () => {
    const { used, refused } = search(100, 20, 3, 120, 1000);
    expect(used).toBeGreaterThan(0.88);
    expect(refused).toBeLessThan(0.01);
  });
});
