/**
 * Writers of one dataset in pid namespaces of their own, as in two containers of one host name: neither can ask whether the
 * other one runs. They are stopped and continued at any moment. `npm run test:long` plays 50 rounds and takes the times as they
 * are; `npm test` plays a few, in which every wait takes a tenth of its time.
 */
import { spawnSync } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { expect, it } from "vitest";
import { command, keysOf, run, type Running, start, tenant, until } from "../cli/command.ts";
import { keysInEach } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { onDeno } from "../runtime.ts";
import { draws } from "../source/paging/histories.ts";
import { witness } from "./witness.ts";
import { isLong } from "../size.ts";

const shortWaits = new URL("shortWaits.mjs", import.meta.url).href;
/** Milliseconds of a writer, as the test has them. */
const scaled = (milliseconds: number) => isLong ? milliseconds : milliseconds / 10;

const canUnshare = !onDeno &&
  spawnSync("unshare", ["--pid", "--fork", "--mount-proc", "true"]).status === 0;

const [program = "", ...main] = command;

/** Starts the command in a pid namespace of its own. */
const contained = (
  args: ReadonlyArray<string>,
  options: { readonly env: Record<string, string>; readonly cwd: string },
) =>
  start("unshare", [
    ...["--pid", "--fork", "--kill-child", "--mount-proc", program],
    ...(isLong ? [] : ["--import", shortWaits]),
    ...main,
    ...args,
  ], options);

/** The process inside, by its number outside. */
const inside = async ({ child }: Running): Promise<number> => {
  const path = `/proc/${child.pid}/task/${child.pid}/children`;
  const pid = async () => Number((await readFile(path, "utf8").catch(() => "")).trim());
  await until(async () => await pid() > 0, "there is a process inside");
  return await pid();
};

const signal = (pid: number, name: NodeJS.Signals) => {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended.
  }
};

const rest = (milliseconds: number) => new Promise((resume) => setTimeout(resume, milliseconds));

const namesIn = (folder: string): Promise<ReadonlyArray<string>> => readdir(folder).catch(() => []);

const args = (rate = "5000/s") => [
  "export",
  ...["--all-users", "--out", "data", "--format", "ndjson,csv,parquet", "--resume", "--since-last"],
  ...["--rate", rate, "--part-rows", "60", "--quiet"],
];

const counts = { rounds: 0, takeovers: 0, refusals: 0, lost: 0 };

const playRound = async (seed: number) => {
  const draw = draws(seed);
  const { sandbox, env } = await tenant({
    users: 60,
    sessionsPerUser: { mean: 20 },
    seed,
    faults: { latencyMs: 100 + Math.floor(draw() * 300) },
  });
  const cwd = await newFolder();
  const root = join(cwd, "data");
  const look = witness(root);
  const first = contained(args(), { env, cwd });
  const pid = await inside(first);
  await until(async () => (await namesIn(root)).includes("journal.ndjson"), "the first has begun");
  await rest(draw() * 900);
  signal(pid, "SIGSTOP");
  await look();
  const second = contained(args(), { env, cwd });
  // It goes on before the second one has taken over, while that one works, or when it has done its work.
  const stopped = draw();
  if (stopped < 0.2) await rest(scaled(draw() * 25_000));
  else if (stopped < 0.6) {
    await until(
      () => second.err().includes("Taking over") || second.child.exitCode !== null,
      "it is taken over",
      60_000,
    );
    await rest(draw() * 1200);
  } else await second.done;
  await look();
  signal(pid, "SIGCONT");
  const [one, other] = [await first.done, await second.done];
  await look();
  expect([0, 75]).toContain(one.code);
  expect([0, 75]).toContain(other.code);
  counts.rounds++;
  if (other.err.includes("Taking over")) {
    counts.takeovers++;
    expect(other.code).toBe(0);
  } else if (other.code === 75) {
    counts.refusals++;
    expect(other.err).toContain("is writing there, by its heartbeat");
  }
  if (one.code === 75) {
    counts.lost++;
    expect(one.err).toContain("this process was not heard of for a while, and another one has taken over");
  }
  // One of them at least has done it, and no finished run is gone.
  expect(Math.min(one.code!, other.code!)).toBe(0);
  const manifest = JSON.parse(await readFile(join(root, "manifest.json"), "utf8"));
  const runs = Number(one.code === 0) + Number(other.code === 0);
  // The first may have lost the lease when its run was in the manifest already.
  expect(manifest.runs.length).toBeGreaterThanOrEqual(runs);
  expect(await run(["verify", "data"], { cwd })).toEqual({
    code: 0,
    signal: null,
    out: expect.any(String),
    err: expect.any(String),
  });
  for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
  // What follows finds nothing amiss, and leaves nothing of the two behind.
  expect(await run(args(), { env, cwd })).toMatchObject({ code: 0, err: "" });
  await look();
  expect((await readdir(root)).filter((name) => !/^(ndjson|csv|parquet|cursors|manifest\.json)$/.test(name)))
    .toEqual([]);
};

it.skipIf(!canUnshare || !isLong)(
  "of two writers in two pid namespaces, one is held off or the other stops; the dataset is exact",
  async () => {
    const [rounds, atOnce] = [50, 5];
    for (let seed = 1; seed <= rounds; seed += atOnce) {
      const group = Array.from(
        { length: Math.min(atOnce, rounds - seed + 1) },
        (_, i) => playRound(seed + i),
      );
      await Promise.all(group);
    }
    const { takeovers, refusals, lost } = counts;
    process.stdout.write(
      `${counts.rounds} rounds, ${takeovers} takeovers, ${refusals} refusals, ${lost} leases lost\n`,
    );
    expect(takeovers).toBeGreaterThan(0);
    expect(lost).toBeGreaterThan(0);
  },
  1_800_000,
);

it.skipIf(!canUnshare)("a restart after SIGKILL in a fresh pid namespace goes on in under 40 s", async () => {
  const { sandbox, env } = await tenant({ users: 150, sessionsPerUser: 20 });
  const cwd = await newFolder();
  // Slow enough to be under way still when it is killed, however busy the machine.
  const first = contained(args("10/s"), { env, cwd });
  await until(
    async () => (await namesIn(join(cwd, "data", "csv"))).length > 1,
    "a part is there",
  );
  signal(await inside(first), "SIGKILL");
  await first.done;
  const lock = async () =>
    JSON.parse(await readFile(join(cwd, "data", "lock.json"), "utf8").catch(() => "{}"));
  const left = await lock();
  expect(left.namespaces).toMatch(/^pid:/);
  const began = performance.now();
  const second = contained(args(), { env, cwd });
  let taken = left;
  await until(async () => {
    taken = await lock();
    return taken.id !== undefined && taken.id !== left.id;
  }, "the folder is taken over");
  const { code, err } = await second.done;
  const seconds = (performance.now() - began) / 1000;
  // The system may give the number of a namespace again once nothing of it is left: then it tells that the writer is gone.
  const isWaitedFor = taken.namespaces !== left.namespaces;
  expect({ code, err }).toEqual({
    code: 0,
    err: isWaitedFor ? expect.stringMatching(/^Waiting up to 30 s: .*\nTaking over data: .*\n$/) : "",
  });
  // Who waited for the whole of 30 s would be seen in the short form as well.
  expect(seconds).toBeLessThan(isLong ? 40 : 20);
  process.stdout.write(
    `a restart ${isWaitedFor ? "waited" : "did not wait"}, went on and ended after ${seconds.toFixed(1)} s\n`,
  );
  for (const keys of await keysInEach(join(cwd, "data"))) expect(keys).toEqual(keysOf(sandbox));
}, 120_000);
