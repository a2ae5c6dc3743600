/**
 * Exports by a real process in which calls of the file system fail. Each ends with a clear error or is whole; what it leaves
 * verifies, and is gone on with to what it would have been. `npm run test:long` injects 200 faults and more, `npm test` some
 * dozens. Those of `libfaults.c` (short writes among them) need a compiler.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import type { Sandbox } from "../../src/sandbox/mod.ts";
import { type CommandOptions, type Finished, keysOf, run, tenant } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { onDeno } from "../runtime.ts";
import { draws } from "../source/paging/histories.ts";
import { present, problemsOf } from "./written.ts";
import { isLong } from "../size.ts";

const preload = new URL("failAt.mjs", import.meta.url);

const args = [
  ...["export", "--all-users", "--out", "data", "--format", "ndjson,csv,parquet", "--resume"],
  ...["--rate", "5000/s", "--part-rows", "40", "--quiet", "--since-last", "--prune"],
];

/** A dataset of one run, and a tenant that has changed since. */
const prepared = async () => {
  const { sandbox, env } = await tenant({ users: 8, sessionsPerUser: 15 });
  const begun = await newFolder();
  expect(await run(args, { env, cwd: begun })).toMatchObject({ code: 0, err: "" });
  for (const userId of sandbox.userIds()) {
    const [first] = sandbox.sessions(userId);
    sandbox.remove(userId, first!.session_id);
    for (let i = 0; i < 9; i++) sandbox.add(userId);
  }
  const anew = async () => {
    const cwd = await newFolder();
    await cp(begun, cwd, { recursive: true });
    return cwd;
  };
  return { sandbox, env, anew };
};

/** What became of a run with a fault, of the dataset after it, and of the run that goes on. */
const judge = async (
  { code, err, signal }: Finished,
  { sandbox, env, cwd, what }: {
    readonly sandbox: Sandbox;
    readonly env: Record<string, string>;
    readonly cwd: string;
    readonly what: string;
  },
) => {
  expect(signal, what).toBeNull();
  expect([0, 65, 73, 74, 75], `${what}: ${err}`).toContain(code);
  if (code !== 0) expect(err, what).toMatch(/^(Error: Cannot |What has come so far is kept)/m);
  expect(err, what).not.toContain("Unexpected");
  expect(await problemsOf(join(cwd, "data")), what).toEqual([]);
  expect(await run(args, { env, cwd }), what).toMatchObject({ code: 0, err: "" });
  expect(await problemsOf(join(cwd, "data")), what).toEqual([]);
  expect(await present(join(cwd, "data")), what).toEqual(keysOf(sandbox));
  return code;
};

const codes = ["EIO", "ENOSPC"] as const;

/** Which of the calls fail, and with which code: so many of all there are. */
const chosen = (calls: Record<string, number>, wanted: number, draw: () => number) => {
  const all = Object.entries(calls).flatMap(([call, count]) =>
    Array.from({ length: count }, (_, i) => codes.map((code) => ({ call, at: i + 1, code }))).flat()
  );
  const step = Math.max(1, all.length / wanted);
  return Array.from(
    { length: Math.min(wanted, all.length) },
    (_, i) => all[Math.floor((i + draw()) * step) % all.length]!,
  );
};

const say = (what: string) => process.stdout.write(`${what}\n`);

it.skipIf(onDeno)(
  "a call of the file system that fails ends the run with a clear error, or it is whole",
  async () => {
    const { sandbox, env, anew } = await prepared();
    const draw = draws(11);
    const counted = await run(args, { env, cwd: await anew(), preload });
    expect(counted.code).toBe(0);
    const calls = JSON.parse(/^calls (.*)$/m.exec(counted.err)![1]!);
    const faults = chosen(calls, isLong ? 150 : 2, draw);
    let [whole, failed] = [0, 0];
    for (const [i, { call, at, code: FAIL_CODE }] of faults.entries()) {
      const cwd = await anew();
      const half = i % 3 === 0;
      const fault = { FAIL_CALL: call, FAIL_AT: String(at), FAIL_CODE, ...(half && { FAIL_HALF: "yes" }) };
      const options: CommandOptions = { env: { ...env, ...fault }, cwd, preload };
      const what = `${FAIL_CODE} at ${call} ${at}`;
      if (await judge(await run(args, options), { sandbox, env, cwd, what }) === 0) whole++;
      else failed++;
    }
    say(
      `${faults.length} faults of ${
        JSON.stringify(calls)
      }: ${failed} runs failed clearly, ${whole} were whole`,
    );
    expect(failed).toBeGreaterThan(0);
  },
  1_800_000,
);

const canCompile = process.platform === "linux" && !onDeno && spawnSync("gcc", ["--version"]).status === 0;

it.skipIf(!canCompile)("so does a call of the system itself; a short write is gone on with", async () => {
  const { sandbox, env, anew } = await prepared();
  const draw = draws(12);
  const library = join(await newFolder(), "libfaults.so");
  const source = fileURLToPath(new URL("libfaults.c", import.meta.url));
  execFileSync("gcc", ["-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]);
  const hooked = (cwd: string, variables: Record<string, string>): CommandOptions => ({
    env: { ...env, LD_PRELOAD: library, FAULT_FOLDER: join(cwd, "data"), ...variables },
    cwd,
  });
  const cwd = await anew();
  const counted = await run(args, hooked(cwd, {}));
  expect(counted.code).toBe(0);
  const calls = JSON.parse(/^calls (.*)$/m.exec(counted.err)![1]!);
  for (const count of Object.values(calls)) expect(count).toBeGreaterThan(3);
  const faults = chosen(calls, isLong ? 60 : 1, draw);
  let [whole, failed, short, writes] = [0, 0, 0, 0];
  for (const { call, at, code: failure } of faults) {
    const cwd = await anew();
    const FAULT_CODE = call === "write" && writes++ % 2 === 0 ? "short" : failure;
    const fault = { FAULT_CALL: call, FAULT_AT: String(at), FAULT_CODE };
    const code = await judge(await run(args, hooked(cwd, fault)), {
      ...{ sandbox, env, cwd },
      what: `${FAULT_CODE} at ${call} ${at} of the system`,
    });
    if (FAULT_CODE === "short") {
      short++;
      expect(code).toBe(0);
    }
    if (code === 0) whole++;
    else failed++;
  }
  say(
    `${faults.length} faults of the system, ${short} of them short writes, of ${
      JSON.stringify(calls)
    }: ${failed} runs failed clearly, ${whole} were whole`,
  );
}, 1_800_000);
