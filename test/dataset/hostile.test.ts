/**
 * Folders that were received, and do what they can to harm whoever opens them: nothing outside of them is opened, made, moved
 * or removed, nothing hangs, and every refusal names the file. `npm run test:long` tries thousands, some of them by processes
 * under strace where there is one; `npm test` tries some dozens.
 */
import { spawnSync } from "node:child_process";
import { cp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import * as Replay from "../../src/dataset/quarantine/Replay.ts";
import * as Verify from "../../src/dataset/verify/Verify.ts";
import { command, project, start, tenant } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { onDeno } from "../runtime.ts";
import { type Attack, attack, attacks, datasets, outsideOf, secret } from "./hostile.ts";
import { touched } from "./recordPaths.mjs";
import { exportOf } from "./written.ts";
import { isLong, some } from "../size.ts";

/** The longest that anything may take, where the machine has much else to do. */
const PATIENCE = 30_000;

const outcomes: Record<string, number> = {};

const count = (operation: string, exit: Exit.Exit<unknown, unknown>) => {
  const error = Exit.isFailure(exit)
    ? Cause.squash(exit.cause) as { _tag?: string; reason?: string }
    : undefined;
  const name = `${operation}: ${error === undefined ? "done" : `${error._tag} ${error.reason}`}`;
  outcomes[name] = (outcomes[name] ?? 0) + 1;
};

/** Tells which of the paths touched are neither in the folder nor of what runs the test. */
const strangers = async (root: string, paths: ReadonlyArray<string>): Promise<ReadonlyArray<string>> => {
  const real = await realpath(root);
  const allowed = [real, project.replace(/\/$/, ""), "/proc/", join(await realpath(tmpdir()), "vitest")];
  const isAllowed = (path: string) =>
    allowed.some((start) => path === start || path.startsWith(start.endsWith("/") ? start : `${start}/`));
  return [...new Set(paths)].filter((path) => !isAllowed(path.slice(path.indexOf(" ") + 1)));
};

/** Expects what was meant to come of it: a refusal names a file of the folder, or the folder, and says nothing of others. */
const checkExit = (root: string, exit: Exit.Exit<unknown, unknown>, told: string) => {
  expect(told).not.toContain(secret);
  if (Exit.isSuccess(exit)) return;
  expect(Cause.defects(exit.cause).length, told).toBe(0);
  const error = Cause.squash(exit.cause) as { readonly _tag: string; readonly message: string };
  expect(["DatasetError", "SinkError", "ExportError", "ApiError"], told).toContain(error._tag);
  if (error._tag === "DatasetError" || error._tag === "SinkError") expect(error.message).toContain(root);
  expect(error.message.length).toBeLessThan(2000);
};

const names = ["verify", "replay", "resume", "since-last", "prune"] as const;

it("a folder that does what it can harms nothing, whatever is asked of it", async () => {
  const { sandbox, options, roots } = await datasets();
  const operations: Record<typeof names[number], (root: string) => Effect.Effect<unknown, unknown>> = {
    verify: (root: string) => Verify.run(root),
    replay: (root: string) => Replay.run(root),
    resume: (root: string) => exportOf(sandbox, root, { ...options, mode: "resume", changes: { since: 0 } }),
    "since-last": (root: string) =>
      exportOf(sandbox, root, { ...options, mode: "resume", changes: "since-last" }),
    prune: (root: string) =>
      exportOf(sandbox, root, { ...options, mode: "resume", changes: "since-last", prune: true }),
  };
  const folder = await newFolder();
  const root = join(folder, "data");
  const { look } = await outsideOf(root, roots[0]);
  const before = await look();
  const play = async (template: string, chosen: ReadonlyArray<Attack>, operation: typeof names[number]) => {
    await rm(root, { recursive: true, force: true });
    await cp(template, root, { recursive: true });
    await attack(root, chosen);
    touched.length = 0;
    const exit = await Effect.runPromiseExit(Effect.timeout(operations[operation](root), PATIENCE));
    const paths = [...touched];
    count(operation, exit);
    checkExit(root, exit, JSON.stringify(exit));
    expect(await strangers(root, paths)).toEqual([]);
    expect(await look()).toBe(before);
  };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...roots), attacks, fc.constantFrom(...names), play),
    { seed: 20, numRuns: isLong ? 6000 : some(60), endOnFailure: true },
  );
  if (isLong) process.stdout.write(`${JSON.stringify(outcomes, null, 2)}\n`);
}, 3_600_000);

const hasStrace = !onDeno && process.platform === "linux" && spawnSync("strace", ["-V"]).status === 0;

/** The calls by which a process gets at files, but for those that only look. */
const calls = "open,openat,creat,unlink,unlinkat,rename,renameat,renameat2,link,linkat,mkdir,mkdirat,rmdir," +
  "symlink,symlinkat,truncate,chmod,fchmodat,chown,fchownat,utimensat,getdents64";

it.skipIf(!isLong || !hasStrace)("nor does the command, by what strace sees of it", async () => {
  const { env } = await tenant({ users: 4, sessionsPerUser: 12, seed: 3, malformed: 0.05 });
  const { roots } = await datasets(env.MONOCLOUD_DOMAIN);
  const folder = await realpath(await newFolder());
  const root = join(folder, "data");
  const { outside, look } = await outsideOf(root, roots[0]);
  const before = await look();
  const [program = "", ...main] = command;
  const exporting = [
    "export",
    "--all-users",
    "--out",
    "data",
    "--format",
    "ndjson.gz,csv,parquet",
    "--resume",
  ];
  const commands = {
    verify: ["verify", "data"],
    replay: ["replay", "data"],
    resume: [...exporting, "--rate", "5000/s"],
    "since-last": [...exporting, "--since-last", "--rate", "5000/s"],
    prune: [...exporting, "--since-last", "--prune", "--rate", "5000/s"],
  };
  const codes: Record<string, number> = {};
  let lines = 0;
  const play = async (template: string, chosen: ReadonlyArray<Attack>, operation: typeof names[number]) => {
    await rm(root, { recursive: true, force: true });
    await cp(template, root, { recursive: true });
    await attack(root, chosen);
    const args = [
      "-f",
      "-y",
      "-qq",
      "-s",
      "4096",
      "-e",
      `trace=${calls}`,
      program,
      ...main,
      ...commands[operation],
    ];
    const running = start("strace", args, { env, cwd: folder });
    const timer = setTimeout(() => running.kill("SIGKILL"), 2 * PATIENCE);
    const { code, err } = await running.done;
    clearTimeout(timer);
    const said = err.split("\n").filter((line) => !/^(\[pid +\d+\] )?(\w+\(|<\.\.\. |\+\+\+|---)/.test(line));
    codes[`${operation}: ${code}`] = (codes[`${operation}: ${code}`] ?? 0) + 1;
    expect([0, 2, 4, 65, 66, 73, 74, 75, 76], said.join("\n")).toContain(code);
    expect(said.join("\n")).not.toContain(secret);
    const traced = err.split("\n").filter((line) => line.includes("("));
    lines += traced.length;
    expect(traced.filter((line) => line.includes(outside) && !line.includes("ENOENT"))).toEqual([]);
    expect(await look()).toBe(before);
  };
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...roots), attacks, fc.constantFrom(...names), play),
    { seed: 21, numRuns: 300, endOnFailure: true },
  );
  process.stdout.write(`strace: ${lines} calls, ${JSON.stringify(codes)}\n`);
}, 3_600_000);
