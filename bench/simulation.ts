/**
 * A run over many machines, simulated: shards as the plan deals them, machines that are slow or die, one rate for all. Requests
 * flow: those that are under way share the rate, and none is faster than its walk can be.
 */
import { deal } from "../src/source/ShardPlan.ts";

export interface Scenario {
  readonly users: number;
  readonly machines: number;
  /** Shards of a machine at once, and requests of a shard under way. */
  readonly atOnce: number;
  readonly concurrency: number;
  readonly shards: number;
  /** Requests a second that the tenant allows, over all machines. */
  readonly rate: number;
  /** Seconds that an answer takes. */
  readonly latency: number;
  /** The longest user, in requests. */
  readonly longest: number;
  /** The share of machines that are slow, and how many times longer their requests take. */
  readonly slow: number;
  readonly slowness: number;
  /** Mean hours between two deaths of a machine; one that died is replaced after so many seconds. */
  readonly hoursToDeath: number;
  readonly replacedAfter: number;
  /** Seconds until a shard of a dead machine goes to another, and of its work that is done again. */
  readonly lease: number;
  readonly checkpoint: number;
  /** False to take the shards in the order in which users are listed. */
  readonly longestFirst: boolean;
}

export interface Outcome {
  readonly requests: number;
  readonly hours: number;
  /** Hours that the rate alone would take, and the longest user alone. */
  readonly boundByRate: number;
  readonly boundByUser: number;
  readonly deaths: number;
}

/** Users that are planned as one. */
const BLOCK = 1000;
/** Users from here on are planned one by one. */
const LONG = 50;

const randomOf = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
};

/** Something to plan: users in a range, or one that is long. */
interface Unit {
  readonly requests: number;
  /** The longest of its users, whose requests come one after the other. */
  readonly longest: number;
}

/** Draw users: nine of ten take one request; the others as many as a Pareto distribution says. */
const unitsOf = ({ users, longest }: Scenario, random: () => number): ReadonlyArray<Unit> => {
  const blocks = Math.ceil(users / BLOCK);
  const units: Array<Unit> = [];
  for (let block = 0; block < blocks; block++) {
    let [requests, most] = [BLOCK, 1];
    // Of the users with more than a page, a sample of ten stands for a hundred.
    for (let user = 0; user < 10; user++) {
      const pages = Math.min(longest, Math.floor(1 / (1 - random()) ** (1 / 1.5)));
      if (pages < LONG) requests += 10 * (pages - 1);
      else units.push({ requests: pages, longest: pages });
      most = Math.max(most, Math.min(pages, LONG));
    }
    units.push({ requests, longest: most });
  }
  units.splice(Math.floor(units.length * 0.9), 0, { requests: longest, longest });
  return units;
};

interface Shard {
  left: number;
  readonly all: number;
  readonly longest: number;
}

interface Slot {
  readonly machine: number;
  shard: Shard | undefined;
  /** Time from which it can take a shard, in seconds. */
  readyAt: number;
}

export const simulate = (scenario: Scenario, seed = 1): Outcome => {
  const random = randomOf(seed);
  const units = unitsOf(scenario, random);
  const names = units.map((_, index) => String(index));
  const dealt = deal(names, scenario.shards, (name) => units[Number(name)]!.requests);
  const order = scenario.longestFirst
    ? dealt
    : [...dealt].sort((one, other) => Number(one[0]) - Number(other[0]));
  const waiting: Array<Shard> = order.map((names) => {
    const its = names.map((name) => units[Number(name)]!);
    const all = its.reduce((sum, { requests }) => sum + requests, 0);
    return { left: all, all, longest: its.reduce((most, { longest }) => Math.max(most, longest), 0) };
  });
  const total = waiting.reduce((sum, { all }) => sum + all, 0);
  const { machines, atOnce, concurrency, rate, latency, slow, slowness } = scenario;
  const speedOf = Array.from({ length: machines }, () => random() < slow ? slowness : 1);
  const slots: Array<Slot> = Array.from({ length: machines * atOnce }, (_, at) => ({
    machine: at % machines,
    shard: undefined,
    readyAt: 0,
  }));
  const deathAfter = () => -Math.log(1 - random()) * scenario.hoursToDeath * 3600;
  const deathAt = speedOf.map(deathAfter);
  /** Shards that wait for their lease to end. */
  const leased: Array<{ readonly shard: Shard; readonly until: number }> = [];
  let [now, deaths] = [0, 0];

  while (true) {
    for (let at = leased.length - 1; at >= 0; at--) {
      if (leased[at]!.until <= now) waiting.unshift(leased.splice(at, 1)[0]!.shard);
    }
    for (const slot of slots) {
      if (slot.shard === undefined && slot.readyAt <= now) slot.shard = waiting.shift();
    }
    const active = slots.filter(({ shard }) => shard !== undefined);
    if (active.length === 0 && waiting.length === 0 && leased.length === 0) break;

    // The most that each could send; what it may, by sharing the rate: the small ones get all they want.
    const wanted = active.map((slot) => {
      const { left, all, longest } = slot.shard!;
      // Besides the longest user there is less and less to do at once.
      const lanes = Math.max(1, Math.min(concurrency, left / Math.max(1, longest * left / all)));
      return { slot, most: lanes / (latency * speedOf[slot.machine]!) };
    }).sort((one, other) => one.most - other.most);
    let [free, left] = [rate, wanted.length];
    const flows = wanted.map(({ slot, most }) => {
      const flow = Math.min(most, free / left);
      free -= flow;
      left--;
      return { slot, flow };
    });

    const next = Math.min(
      ...flows.map(({ slot, flow }) => now + slot.shard!.left / flow),
      ...deathAt,
      ...leased.map(({ until }) => until),
      ...(waiting.length === 0
        ? []
        : slots.filter(({ readyAt }) => readyAt > now).map(({ readyAt }) => readyAt)),
    );
    for (const { slot, flow } of flows) {
      const shard = slot.shard!;
      shard.left -= flow * (next - now);
      if (shard.left < 1e-6) slot.shard = undefined;
    }
    now = next;
    for (const [machine, at] of deathAt.entries()) {
      if (at > now) continue;
      deaths++;
      deathAt[machine] = now + scenario.replacedAfter + deathAfter();
      for (const slot of slots) {
        if (slot.machine !== machine) continue;
        slot.readyAt = now + scenario.replacedAfter;
        if (slot.shard === undefined) continue;
        const flow = flows.find((its) => its.slot === slot)?.flow ?? 0;
        slot.shard.left = Math.min(slot.shard.all, slot.shard.left + flow * scenario.checkpoint * random());
        leased.push({ shard: slot.shard, until: now + scenario.lease });
        slot.shard = undefined;
      }
    }
  }
  return {
    requests: total,
    hours: now / 3600,
    boundByRate: total / rate / 3600,
    boundByUser: scenario.longest * latency / 3600,
    deaths,
  };
};
