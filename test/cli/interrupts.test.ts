/** Ctrl-C at every phase of every command: what is printed, what is left, and that the next run is as if nothing had been. */
import { spawn } from "node:child_process";
import { cp, readdir } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { join } from "node:path";
import process from "node:process";
import { afterAll, describe, expect, it } from "vitest";
import { exportInto, present, problemsOf } from "../dataset/written.ts";
import { newFolder } from "../folders.ts";
import { make, type SandboxOptions } from "../../src/sandbox/mod.ts";
import { isLong, oneIn } from "../size.ts";
import {
  answering,
  begin,
  type Finished,
  keysOf,
  quotedCommand,
  run,
  tenant,
  until,
  untilItReads,
} from "./command.ts";

const told: Array<Record<string, unknown>> = [];
afterAll(() => void (isLong && console.table(told)));

/** The lines that are no progress. */
const messagesOf = (err: string): ReadonlyArray<string> =>
  err.split("\n").filter((line) => line !== "" && !/^\d{4}-\d\d-\d\dT/.test(line));

const noFile = "Interrupted: no file was written. Export into a folder to be able to go on with --resume";
const kept =
  "Interrupted. What has come so far is kept in data: run the same again with --resume to go on from there";

const all = ["export", "--all-users", "--rate", "10000/s"];
const toFiles = [...all, "--out", "s.csv", "--out", "s.parquet"];
const toStdout = [...all, "--out", "-", "--format", "csv"];
const toFolder = [...all, "--out", "data", "--format", "csv,parquet", "--part-rows", "100", "--resume"];

const long: SandboxOptions = { users: 100_000, sessionsPerUser: 20, faults: { latencyMs: 2 } };

/** The paths of the files beneath a folder, sorted. */
const pathsIn = async (folder: string): Promise<ReadonlyArray<string>> => {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map(({ name, parentPath }) =>
    join(parentPath, name).slice(folder.length + 1)
  ).sort();
};

const note = (command: string, phase: string, { code, err }: Finished, paths: ReadonlyArray<string>) =>
  told.push({
    command,
    phase,
    says: messagesOf(err).join(" "),
    left: paths.length > 4 ? `${paths.length} files` : paths.join(),
    code,
  });

const listUsers = ["users", "--rate", "10000/s"];
const listIncomplete = "Interrupted: the list is incomplete";

/** Commands that do not end by themselves, with the message of each and the file that it leaves, if any. */
const endless = [
  { command: "export to files", args: toFiles, says: noFile },
  {
    command: "export to standard output",
    args: toStdout,
    says: "Interrupted: whoever reads has got a part of the export",
  },
  { command: "export into a folder", args: toFolder, says: kept, leaves: "data/journal.ndjson" },
  { command: "users", args: listUsers, says: listIncomplete },
] as const;

const waiting = [
  { command: "export to files", args: toFiles, says: noFile },
  { command: "export into a folder", args: toFolder, says: "Interrupted: nothing was written to data" },
  { command: "users", args: listUsers, says: listIncomplete },
  { command: "check", args: ["check"], says: "Interrupted: the tenant has not answered to the end" },
] as const;

/** Tenants that keep whoever asks waiting. */
const keeping: Readonly<Record<string, RequestListener>> = {
  "before the tenant answers": () => {},
  "while the tenant wants to be left alone": (_, response) =>
    void response.writeHead(429, { "retry-after": "100", "content-type": "application/json" }).end("{}"),
};

const preload = new URL("../dataset/killAt.mjs", import.meta.url);

describe.skipIf(process.platform === "win32")("Ctrl-C", () => {
  it.each(endless)("while rows come ends $command", async ({ command, args, says, ...more }) => {
    const { sandbox, env } = await tenant(long);
    const cwd = await newFolder();
    const running = begin(args, { env, cwd });
    const leaves = "leaves" in more ? [more.leaves] : [];
    await until(async () => {
      const paths = await pathsIn(cwd);
      return sandbox.counts.total > 20 && leaves.every((path) => paths.includes(path));
    }, "rows come");
    running.kill("SIGINT");
    const finished = await running.done;
    const left = await pathsIn(cwd);
    note(command, "while rows come", finished, left);
    expect({ ...finished, err: messagesOf(finished.err) }).toMatchObject({ code: 75, err: [says] });
    expect(left).toEqual(leaves.length > 0 ? expect.arrayContaining(leaves) : []);
  });

  it.each(oneIn(3, waiting.flatMap((one) => Object.keys(keeping).map((phase) => ({ phase, ...one })))))(
    "$phase ends $command",
    async ({ phase, command, args, says }) => {
      let asked = 0;
      const { env } = await answering((...exchange) => {
        asked++;
        keeping[phase]!(...exchange);
      });
      const cwd = await newFolder();
      const running = begin([...args, "--max-elapsed", "10m"], { env, cwd });
      await until(() => asked > 0, "the tenant has been asked");
      running.kill("SIGINT");
      const finished = await running.done;
      const left = await pathsIn(cwd);
      note(command, phase, finished, left);
      expect({ code: finished.code, err: messagesOf(finished.err), left }).toEqual({
        code: 75,
        err: [says],
        left: [],
      });
    },
  );

  it.each([
    { command: "export to files", args: toFiles },
    { command: "export into a folder", args: toFolder },
    { command: "export --since-last --prune", args: [...toFolder, "--since-last", "--prune"] },
  ])("at any change to the disk leaves all or nothing of $command", async ({ command, args }) => {
    const { sandbox, env } = await tenant({ users: 8, sessionsPerUser: 40 });
    const before = await newFolder();
    if (args.includes("--prune")) {
      expect((await run(toFolder, { env, cwd: before })).code).toBe(0);
      for (const userId of [...sandbox.userIds()].slice(0, 4)) {
        sandbox.remove(userId, [...sandbox.sessions(userId)][0]!.session_id);
        sandbox.add(userId);
      }
    }
    const anew = async () => {
      const cwd = await newFolder();
      await cp(before, cwd, { recursive: true });
      return cwd;
    };
    const hooked = async (variables: Record<string, string>) => {
      const cwd = await anew();
      return { cwd, ...await run(args, { env: { ...env, ...variables }, preload, cwd }) };
    };
    const whole = await hooked({});
    const changes = Number(/^(\d+) changes/m.exec(whole.err)?.[1]);
    expect(changes).toBeGreaterThan(5);
    const step = isLong ? 1 : Math.ceil(changes / 2);
    for (let at = step; at <= changes; at += step) {
      const { cwd, code, err } = await hooked({ KILL_HOW: "interrupt", KILL_AT: String(at) });
      const left = await pathsIn(cwd);
      note(command, `at change ${at} of ${changes} to the disk`, { code, err, out: "", signal: null }, left);
      const said = messagesOf(err);
      // Whoever interrupts the very last change is told that all is done.
      expect([0, 75]).toContain(code);
      if (args === toFiles) {
        expect(left).toEqual(code === 0 ? ["s.csv", "s.parquet"] : []);
        if (code === 75) expect(said).toEqual([noFile]);
      } else {
        if (code === 75) {
          expect(said.join()).toMatch(/^Interrupted(: nothing was written to data|\. What has come)/);
        }
        expect((await run(args, { env, cwd })).code).toBe(0);
        expect(await present(join(cwd, "data"))).toEqual(keysOf(sandbox));
        expect(await problemsOf(join(cwd, "data"))).toEqual([]);
      }
    }
  }, 900_000);

  it.each([
    { command: "verify", says: "Interrupted: the folder was not read to its end" },
    { command: "replay", says: "Interrupted: the next replay finishes what this one began" },
  ])("while it reads ends $command, which changes nothing", async ({ command, says }) => {
    const cwd = await newFolder();
    await exportInto(make({ users: 20, sessionsPerUser: 250, malformed: 0.2 }), join(cwd, "data"));
    const before = await pathsIn(cwd);
    const running = begin([command, "data"], { cwd });
    await untilItReads(running, "/part-");
    running.kill("SIGINT");
    const finished = await running.done;
    const left = await pathsIn(cwd);
    note(command, "while it reads", finished, left);
    expect({ code: finished.code, err: messagesOf(finished.err) }).toEqual({ code: 75, err: [says] });
    expect(left).toEqual(before);
    expect(await problemsOf(join(cwd, "data"))).toEqual([]);
  });

  it("at a terminal clears the bar, and says it on a line of its own", async (context) => {
    const { env } = await tenant(long);
    const cwd = await newFolder();
    const line = `exec ${quotedCommand} ${toFiles.join(" ")}`;
    const child = spawn("script", ["-qec", line, "/dev/null"], {
      cwd,
      env: { PATH: process.env["PATH"], TERM: "xterm", ...env },
    });
    let out = "";
    child.stdout.on("data", (chunk) => void (out += chunk));
    const ended = new Promise<number | undefined>((resolve) => {
      child.once("error", () => resolve(undefined));
      child.once("close", (code) => resolve(code ?? undefined));
    });
    await Promise.race([ended, until(() => out.includes("users"), "there is a bar")]);
    child.stdin.write("\u0003");
    const code = await ended;
    if (code === undefined) return context.skip("needs script of util-linux");
    expect({ code, last: out.split("\r\n").at(-2) }).toEqual({
      code: 75,
      last: expect.stringMatching(new RegExp(`\u001b\\[K${noFile}$`)),
    });
    expect(await pathsIn(cwd)).toEqual([]);
  });
});
