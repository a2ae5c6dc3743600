/**
 * Exports by a real process that is killed, at any moment and between any two changes it makes to the disk, and gone on with
 * until they are done. `npm run test:long` kills several hundred times, `npm test` some dozens.
 */
import { cp, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { expect, it } from "vitest";
import { begin, type CommandOptions, keysOf, run, tenant } from "../cli/command.ts";
import { keysInEach } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import type { Sandbox } from "../../src/sandbox/mod.ts";
import { draws } from "../source/paging/histories.ts";
import { onDeno } from "../runtime.ts";
import { witness } from "./witness.ts";
import { present, problemsOf } from "./written.ts";
import { isLong } from "../size.ts";

const preload = new URL("killAt.mjs", import.meta.url);

const args = (partRows: number, ...more: ReadonlyArray<string>) => [
  "export",
  ...["--all-users", "--out", "data", "--format", "ndjson,csv,parquet", "--resume"],
  ...["--rate", "5000/s", "--part-rows", String(partRows), "--quiet", ...more],
];

const changing = ["--since-last", "--prune"];

/** Goes on until the export ends by itself, and verifies what is there. */
const finish = async (
  command: ReadonlyArray<string>,
  { env, cwd }: { readonly env: Record<string, string>; readonly cwd: string },
) => {
  const finished = await run(command, { env, cwd });
  expect(finished).toMatchObject({ code: 0, err: "" });
  expect(await problemsOf(join(cwd, "data"))).toEqual([]);
};

const say = (what: string) => process.stdout.write(`${what}\n`);

/** Runs the export and kills it after so long. Says whether it was still running. */
const killAfter = async (milliseconds: number, command: ReadonlyArray<string>, options: CommandOptions) => {
  const running = begin(command, options);
  const timer = setTimeout(() => running.kill("SIGKILL"), milliseconds);
  const { signal, code, err } = await running.done;
  clearTimeout(timer);
  if (signal !== "SIGKILL") expect({ code, err }).toEqual({ code: 0, err: "" });
  return signal === "SIGKILL";
};

it("killed at any moment, an export of 200 users loses and repeats nothing", async () => {
  let kills = 0;
  for (let seed = 1; kills < (isLong ? 150 : 2); seed++) {
    const draw = draws(seed);
    const { sandbox, env } = await tenant({ users: 200, sessionsPerUser: { mean: 20 }, seed });
    const cwd = await newFolder();
    const partRows = 50 + Math.floor(draw() * 300);
    const look = witness(join(cwd, "data"));
    for (let tries = 0; tries < (isLong ? 12 : 3); tries++) {
      if (!await killAfter(150 + draw() * 900, args(partRows), { env, cwd })) break;
      kills++;
      await look();
    }
    await finish(args(partRows), { env, cwd });
    await look();
    for (const keys of await keysInEach(join(cwd, "data"))) expect(keys).toEqual(keysOf(sandbox));
  }
  say(`${kills} kills at random moments`);
}, 900_000);

it("killed while the list changes, it keeps the promise of the walk across what follows", async () => {
  let kills = 0;
  for (let seed = 1; kills < (isLong ? 60 : 1); seed++) {
    const draw = draws(seed);
    const gone = new Set<string>();
    const { sandbox, env } = await tenant({
      users: 200,
      sessionsPerUser: { mean: 20 },
      seed,
      ties: "unstable",
      beforeAnswer: ({ userId }) => {
        if (userId === undefined || draw() < 0.3) return;
        const present = [...sandbox.sessions(userId)];
        const any = present[Math.floor(draw() * present.length)];
        if (any === undefined || draw() < 0.5) sandbox.add(userId);
        else {
          sandbox.remove(userId, any.session_id);
          gone.add(`${userId} ${any.session_id}`);
        }
      },
    });
    const there = keysOf(sandbox);
    const cwd = await newFolder();
    for (let tries = 0; tries < (isLong ? 12 : 3); tries++) {
      if (!await killAfter(300 + draw() * 900, args(100), { env, cwd })) break;
      kills++;
    }
    await finish(args(100), { env, cwd });
    const [ndjson = [], csv, parquet] = await keysInEach(join(cwd, "data"));
    expect(csv).toEqual(ndjson);
    expect(parquet).toEqual(ndjson);
    const found = new Set(ndjson);
    expect(found.size).toBe(ndjson.length);
    expect(there.filter((key) => !gone.has(key) && !found.has(key))).toEqual([]);
  }
  say(`${kills} kills while the list changed`);
}, 900_000);

/** Some sessions of every user begin, some are used, some end. */
const change = (sandbox: Sandbox, draw: () => number) => {
  for (const userId of sandbox.userIds()) {
    for (let left = Math.floor(draw() * 4); left > 0; left--) {
      const sessions = [...sandbox.sessions(userId)];
      const any = sessions[Math.floor(draw() * sessions.length)];
      const kind = draw();
      if (any === undefined || kind < 0.3) sandbox.add(userId);
      else if (kind < 0.6) sandbox.update(userId, any.session_id);
      else sandbox.remove(userId, any.session_id);
    }
  }
};

it("killed at any moment, runs that add what has changed lose and repeat nothing either", async () => {
  let kills = 0;
  for (let seed = 1; kills < (isLong ? 60 : 1); seed++) {
    const draw = draws(seed);
    const { sandbox, env } = await tenant({ users: 200, sessionsPerUser: { mean: 15 }, seed });
    const cwd = await newFolder();
    await finish(args(1000), { env, cwd });
    for (let runs = 0; runs < (isLong ? 3 : 1); runs++) {
      change(sandbox, draw);
      const command = args(20 + Math.floor(draw() * 100), ...changing);
      for (let tries = 0; tries < (isLong ? 6 : 2); tries++) {
        if (!await killAfter(150 + draw() * 900, command, { env, cwd })) break;
        kills++;
      }
      await finish(command, { env, cwd });
      expect(await present(join(cwd, "data"))).toEqual(keysOf(sandbox));
    }
  }
  say(`${kills} kills of runs that add what has changed`);
}, 900_000);

/** What is in a dataset: its sessions by format, what was quarantined, and what is said to be gone. */
const contents = async (root: string) => {
  const linesOf = async (folder: string) => {
    const names = await readdir(join(root, folder)).catch(() => []);
    const texts = await Promise.all(names.map((name) => readFile(join(root, folder, name), "utf8")));
    return texts.join("").split("\n").filter((line) => line).map((line) => {
      const { user_id, session_id, row } = JSON.parse(line);
      return `${user_id} ${session_id ?? row}`;
    }).sort();
  };
  return [...await keysInEach(root), await linesOf("quarantine"), await linesOf("tombstones")];
};

it.each([
  { what: "an export", before: false },
  { what: "a run that adds what has changed, and tells what was removed", before: true },
])("killed between any two changes to the disk, $what comes to the same", async ({ what, before }) => {
  const { sandbox, env } = await tenant({ users: 8, sessionsPerUser: 40, malformed: 0.02 });
  const draw = draws(7);
  const begun = await newFolder();
  if (before) {
    expect((await run(args(1000), { env, cwd: begun })).code).toBe(4);
    change(sandbox, draw);
  }
  const command = before ? args(10, ...changing) : args(100);
  const code = before ? 0 : 4;
  const anew = async () => {
    const cwd = await newFolder();
    await cp(begun, cwd, { recursive: true });
    return cwd;
  };
  const hooked = (variables: Record<string, string> = {}) => ({ env: { ...env, ...variables }, preload });
  const cwd = await anew();
  const whole = await run(command, { ...hooked(), cwd });
  expect(whole.code).toBe(code);
  const changes = Number(/^(\d+) changes/m.exec(whole.err)?.[1]);
  expect(changes).toBeGreaterThan(50);
  const expected = await contents(join(cwd, "data"));
  if (before) expect(expected.at(-1)).not.toEqual([]);
  else expect(expected[0]!.length + expected[3]!.length).toBe(8 * 40);

  let kills = 0;
  const ways = ["before", "half", "after"];
  // Each way once, at a third of the changes, and one of them on Deno; or all of them at each.
  const step = isLong ? 1 : Math.floor(changes / (onDeno ? 1 : ways.length));
  for (let change = 1 + Math.floor(draw() * step), nth = 0; change <= changes; change += step, nth++) {
    for (const how of isLong ? ways : [ways[nth % ways.length]!]) {
      const cwd = await anew();
      const killAt = (change: number) => hooked({ KILL_HOW: how, KILL_AT: String(change) });
      const killed = await run(command, { ...killAt(change), cwd });
      // How many heartbeats and checkpoints there are is chance: the last change of one run is behind the end of another.
      if (killed.signal === null) {
        expect(change).toBeGreaterThan(0.8 * changes);
        expect(killed.code).toBe(code);
      } else expect(killed.signal).toBe("SIGKILL");
      const look = witness(join(cwd, "data"));
      await look();
      // What goes on is killed as well, early in its own work.
      const again = await run(command, { ...killAt(1 + Math.floor(draw() * 30)), cwd });
      await look();
      expect((await run(command, { env, cwd })).code).toBe(code);
      await look();
      // A run that was complete when it was killed is not gone on with: another one follows, and adds nothing.
      expect(await contents(join(cwd, "data"))).toEqual(expected);
      expect(await problemsOf(join(cwd, "data"))).toEqual([]);
      kills += [killed, again].filter(({ signal }) => signal === "SIGKILL").length;
    }
  }
  expect(kills).toBeGreaterThan(1);
  say(`${kills} kills between ${changes} changes to the disk by ${what}`);
}, 1_800_000);
