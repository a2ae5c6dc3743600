/** Contenders, each run as a process of its own, in turn: what each took, and what one takes for another. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Job } from "./job.ts";
import { memoryOf } from "./processes.ts";
import type { Account, Behaviour } from "./tenant.ts";

/** The tenant, in a process of its own. */
export interface RunningTenant {
  readonly url: string;
  /** Tells it how to answer from now on, and begins a new account. */
  readonly behave: (behaviour: Partial<Behaviour>) => Promise<void>;
  readonly account: () => Promise<Account>;
  readonly stop: () => void;
}

const built = (name: string) => fileURLToPath(new URL(`./${name}.js`, import.meta.url));

const ask = async (child: ChildProcess, message: unknown): Promise<unknown> => {
  child.send(message as object);
  const [answer] = await once(child, "message");
  return answer;
};

/** Starts the tenant. */
export const startTenant = async (): Promise<RunningTenant> => {
  const child = fork(built("tenant"));
  const [{ port }] = await once(child, "message");
  return {
    url: `http://127.0.0.1:${port}`,
    behave: async (behaviour) => {
      await ask(child, { latencyMs: 0, perSecond: 0, retryAfter: 0, ...behaviour });
    },
    account: async () => await ask(child, "account") as Account,
    stop: () => child.disconnect(),
  };
};

/** What a run took. */
export interface Taken {
  readonly wallSeconds: number;
  /** Of the whole process, its start included, and of its children. */
  readonly cpuSeconds: number;
  readonly peakMB: number;
  /** Of the work alone, once everything was loaded; for those that tell. */
  readonly workSeconds: number;
  readonly workCpuSeconds: number;
}

/** Clock ticks a second: what Linux has on every machine that Node runs on. */
const TICKS = 100;

/** CPU seconds of all children that have ended. */
const childrenCpu = async (): Promise<number> => {
  const stat = await readFile("/proc/self/stat", "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[13]) + Number(fields[14])) / TICKS;
};

/** Runs a program to its end. One at a time: what children take is told only of all of them. */
export const runProgram = async (
  program: string,
  args: ReadonlyArray<string>,
  { input, env, cwd }: { readonly input?: string; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } =
    {},
): Promise<Taken & { readonly out: string; readonly code: number | null; readonly err: string }> => {
  const cpuBefore = await childrenCpu();
  const began = performance.now();
  const child = spawn(program, args, { stdio: "pipe", cwd, env: { ...process.env, ...env } });
  let [out, err, peak] = ["", "", 0];
  child.stdout.setEncoding("utf8").on("data", (data: string) => (out += data));
  child.stderr.setEncoding("utf8").on("data", (data: string) => (err += data));
  child.stdin.end(input);
  // The system keeps the high-water mark: between two looks nothing is missed.
  const watch = setInterval(async () => {
    if (child.pid !== undefined) peak = Math.max(peak, await memoryOf(child.pid, "VmHWM"));
  }, 10);
  const [code] = await once(child, "close") as [number | null];
  const wallSeconds = (performance.now() - began) / 1000;
  clearInterval(watch);
  const cpuSeconds = await childrenCpu() - cpuBefore;
  return {
    wallSeconds,
    cpuSeconds,
    peakMB: peak / 1e6,
    workSeconds: wallSeconds,
    workCpuSeconds: cpuSeconds,
    out,
    err,
    code,
  };
};

/** Runs a contender that is a module of this suite. */
export const runJob = async (job: Job): Promise<Taken> => {
  const [program, ...args] = job.runtime === "deno"
    ? [fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url)), "run", "--allow-all"]
    : ["node"];
  const { out, err, code, ...taken } = await runProgram(program!, [...args, built("contender")], {
    input: JSON.stringify(job),
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
  });
  if (code !== 0) throw new Error(`${job.contender} ended with ${code}: ${err}`);
  return { ...taken, ...JSON.parse(out) };
};

/** The middle of some numbers. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = [...values].sort((one, other) => one - other);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
};

/** A number of each round, with how far rounds differ. */
export interface Spread {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** The spread of some numbers. */
export const spread = (values: ReadonlyArray<number>): Spread => ({
  median: median(values),
  least: Math.min(...values),
  most: Math.max(...values),
});

/** What each contender took, a round after the other. */
export type Rounds = ReadonlyMap<string, ReadonlyArray<Taken>>;

/**
 * Runs the contenders in turn, round after round, the order turned about each time, after one round of each that does not
 * count (it fills caches, and is where outputs are compared).
 */
export const inTurn = async (
  contenders: Readonly<Record<string, () => Promise<Taken>>>,
  rounds: number,
  afterFirst: () => Promise<void> = async () => {},
): Promise<Rounds> => {
  const names = Object.keys(contenders);
  for (const name of names) await contenders[name]!();
  await afterFirst();
  const taken = new Map<string, Array<Taken>>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    const order = round % 2 === 0 ? names : [...names].reverse();
    for (const name of order) taken.get(name)!.push(await contenders[name]!());
  }
  return taken;
};

/** What one contender takes for another one, round by round. */
export const ratio = (rounds: Rounds, one: string, other: string, of: keyof Taken): Spread => {
  const [ones, others] = [rounds.get(one)!, rounds.get(other)!];
  return spread(ones.map((taken, round) => taken[of] / others[round]![of]));
};
