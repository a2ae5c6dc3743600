/**
 * Exports by a real process that is killed, at any moment and between any two changes it makes to the disk, and gone on with
 * until they are done. `npm run test:kill` kills several hundred times, `npm test` some dozens.
 */
import { join } from "node:path";
import process from "node:process";
import { expect, it } from "vitest";
import { begin, type CommandOptions, keysOf, run, tenant } from "../cli/command.ts";
import { keysInEach, sql } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { draws } from "../walk/histories.ts";

const isLong = process.env["KILL_TEST"] === "long";
const hook = new URL("killAt.mjs", import.meta.url);

const args = (partRows: number) => [
  "export",
  ...["--all-users", "--out", "data", "--format", "ndjson,csv,parquet", "--resume"],
  ...["--rate", "5000/s", "--part-rows", String(partRows), "--quiet"],
];

/** Goes on until the export ends by itself, and verifies what is there. */
const finish = async (
  partRows: number,
  { env, cwd }: { readonly env: Record<string, string>; readonly cwd: string },
) => {
  const finished = await run(args(partRows), { env, cwd });
  expect(finished).toMatchObject({ code: 0, err: "" });
  expect(await run(["verify", "data", "--quiet"], { cwd })).toMatchObject({ code: 0 });
};

const say = (what: string) => process.stdout.write(`${what}\n`);

/** Runs the export and kills it after so long. Says whether it was still running. */
const killAfter = async (milliseconds: number, partRows: number, options: CommandOptions) => {
  const running = begin(args(partRows), options);
  const timer = setTimeout(() => running.child.kill("SIGKILL"), milliseconds);
  const { signal, code, err } = await running.done;
  clearTimeout(timer);
  if (signal !== "SIGKILL") expect({ code, err }).toEqual({ code: 0, err: "" });
  return signal === "SIGKILL";
};

it("killed at any moment, an export of 200 users loses and repeats nothing", async () => {
  let kills = 0;
  for (let seed = 1; kills < (isLong ? 150 : 14); seed++) {
    const draw = draws(seed);
    const { sandbox, env } = await tenant({ users: 200, sessionsPerUser: { mean: 20 }, seed });
    const cwd = await newFolder();
    const partRows = 50 + Math.floor(draw() * 300);
    for (let tries = 0; tries < 12; tries++) {
      if (!await killAfter(150 + draw() * 900, partRows, { env, cwd })) break;
      kills++;
    }
    await finish(partRows, { env, cwd });
    for (const keys of await keysInEach(join(cwd, "data"))) expect(keys).toEqual(keysOf(sandbox));
  }
  say(`${kills} kills at random moments`);
}, 900_000);

it("killed while the list changes, it keeps the promise of the walk across what follows", async () => {
  let kills = 0;
  for (let seed = 1; kills < (isLong ? 60 : 6); seed++) {
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
    for (let tries = 0; tries < 12; tries++) {
      if (!await killAfter(300 + draw() * 900, 100, { env, cwd })) break;
      kills++;
    }
    await finish(100, { env, cwd });
    const [ndjson = [], csv, parquet] = await keysInEach(join(cwd, "data"));
    expect(csv).toEqual(ndjson);
    expect(parquet).toEqual(ndjson);
    const found = new Set(ndjson);
    expect(found.size).toBe(ndjson.length);
    expect(there.filter((key) => !gone.has(key) && !found.has(key))).toEqual([]);
  }
  say(`${kills} kills while the list changed`);
}, 900_000);

it("killed between any two changes to the disk, an export comes to the same", async () => {
  const { sandbox, env } = await tenant({ users: 8, sessionsPerUser: 40, malformed: 0.02 });
  const malformed = async (cwd: string) =>
    Number((await sql(`SELECT count(*) AS n FROM read_json('${cwd}/data/rejected/*.ndjson')`))[0]!["n"]);
  const hooked = { ...env, NODE_OPTIONS: `--import=${hook}` };
  const cwd = await newFolder();
  const whole = await run(args(100), { env: hooked, cwd });
  const changes = Number(/^(\d+) changes/m.exec(whole.err)?.[1]);
  expect(changes).toBeGreaterThan(50);
  const [expected] = await keysInEach(join(cwd, "data"));
  const rejected = await malformed(cwd);
  expect(expected!.length + rejected).toBe(8 * 40);
  expect(keysOf(sandbox)).toHaveLength(8 * 40);

  let kills = 0;
  const draw = draws(7);
  const step = isLong ? 1 : 9;
  for (let change = 1 + Math.floor(draw() * step); change <= changes; change += step) {
    for (const how of isLong ? ["before", "half", "after"] : [["before", "half", "after"][change % 3]!]) {
      const cwd = await newFolder();
      const kill = { ...hooked, KILL_HOW: how };
      const killed = await run(args(100), { env: { ...kill, KILL_AT: String(change) }, cwd });
      expect(killed.signal).toBe("SIGKILL");
      // What goes on is killed as well, early in its own work.
      const again = await run(args(100), {
        env: { ...kill, KILL_AT: String(1 + Math.floor(draw() * 30)) },
        cwd,
      });
      const { code } = await run(args(100), { env, cwd });
      expect(code).toBe(4);
      for (const keys of await keysInEach(join(cwd, "data"))) expect(keys).toEqual(expected);
      expect(await malformed(cwd)).toBe(rejected);
      expect((await run(["verify", "data", "--quiet"], { cwd })).code).toBe(0);
      kills += again.signal === "SIGKILL" ? 2 : 1;
    }
  }
  say(`${kills} kills between ${changes} changes to the disk`);
}, 1_800_000);
