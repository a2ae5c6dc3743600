import { execFileSync } from "node:child_process";
import { closeSync, constants, openSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { describe, expect, it, onTestFinished } from "vitest";
import { newFolder } from "../folders.ts";
import { begin, filesIn, run, type Running, shell, tenant, until } from "./command.ts";
import { oneIn } from "../size.ts";

/** So many users, answered so slowly, that an export of them does not end within a test. */
const endless = { users: 100_000, sessionsPerUser: 20, faults: { latencyMs: 2 } };
const all = ["export", "--all-users", "--rate", "10000/s"];

const partials = (folder: string) => async () =>
  (await readdir(folder)).filter((name) => name.endsWith(".partial")).length > 0;

const endedWithin = async (running: Running, milliseconds: number) => {
  const began = Date.now();
  const finished = await running.done;
  expect(Date.now() - began).toBeLessThan(milliseconds);
  return finished;
};

describe.skipIf(process.platform === "win32")("a reader that goes", () => {
  it("ends an export to standard output quietly, quickly, and with a code of its own", async () => {
    const { sandbox, env } = await tenant(endless);
    const script = `"$@" ${all.join(" ")} --out - --format ndjson | head -1; exit "\${PIPESTATUS[0]}"`;
    const { code, out, err } = await endedWithin(shell(script, { env }), 15_000);
    expect(out.trimEnd().split("\n")).toHaveLength(1);
    expect(err).toBe("");
    expect(code).toBe(141);
    expect(sandbox.counts.total).toBeLessThan(2000);
  });

  it("without a byte ends it as well, compressed or not", async () => {
    const { env } = await tenant(endless);
    for (const format of ["csv", "csv.gz"]) {
      const script = `"$@" ${all.join(" ")} --out - --format ${format} | true; exit "\${PIPESTATUS[0]}"`;
      expect((await endedWithin(shell(script, { env }), 15_000)).code).toBe(141);
    }
  });

  it("of the report is no crash", async () => {
    const { env } = await tenant();
    const cwd = await newFolder();
    const script = `("$@" ${all.join(" ")} --out s.csv --json; echo "code $?" >&2) | true`;
    const { err } = await endedWithin(shell(script, { env, cwd }), 15_000);
    expect(err).toMatch(/code (0|141)\n$/);
    expect(err).not.toMatch(/Error|node:/);
    expect(Object.keys(await filesIn(cwd))).toEqual(["s.csv"]);
  });

  it("of what is said on standard error does not stop an export", async () => {
    const { env } = await tenant();
    const cwd = await newFolder();
    const script = `{ "$@" ${all.join(" ")} --out s.csv 2>&1; echo "code $?" >&2; } | true`;
    const { err } = await endedWithin(shell(script, { env, cwd }), 15_000);
    expect(err).toBe("code 0\n");
    expect(Object.keys(await filesIn(cwd))).toEqual(["s.csv"]);
  });
});

describe.skipIf(process.platform === "win32")("a signal", () => {
  it.each(oneIn(2, ["SIGTERM", "SIGHUP"]))(
    "%s ends an export as Ctrl-C does: with code 75, says so, and leaves no file",
    async (signal) => {
      const { sandbox, env } = await tenant(endless);
      const cwd = await newFolder();
      const outs = ["--out", "s.csv", "--out", "s.ndjson.gz", "--out", "s.parquet"];
      const running = begin([...all, ...outs], { env, cwd });
      await until(async () => sandbox.counts.total > 50 && await partials(cwd)(), "the export is under way");
      running.kill(signal);
      const { err, ...finished } = await endedWithin(running, 5000);
      expect(finished).toMatchObject({ code: 75, signal: null, out: "" });
      expect(err.split("\n").filter((line) => !line.startsWith("20"))).toEqual([
        "Interrupted: no file was written. Export into a folder to be able to go on with --resume",
        "",
      ]);
      expect(await readdir(cwd)).toEqual([]);
    },
  );

  it("does not surprise whoever exports for long into a file: a folder is advised beforehand", async () => {
    const { env } = await tenant(endless);
    const cwd = await newFolder();
    const advice = "files that are interrupted begin anew. To be able to go on with --resume, name a folder";
    const told = async (args: ReadonlyArray<string>) => {
      const running = begin(["export", "--all-users", ...args], { env, cwd });
      await until(() => running.err().split("\n").length > 1, "something is said");
      running.kill("SIGTERM");
      return (await running.done).err;
    };
    expect(await told(["--rate", "20/s", "--out", "s.csv"])).toMatch(
      new RegExp(`^This takes 1h 23m or more at --rate, and ${advice}`),
    );
    expect(await told(["--rate", "10000/s", "--out", "s.csv"])).not.toContain(advice);
    expect(await told(["--rate", "20/s", "--out", "data", "--format", "csv"])).not.toContain(advice);
  });

  it("ends an export whose reader has stopped reading, at once", async () => {
    const { sandbox, env } = await tenant(endless);
    const cwd = await newFolder();
    for (const format of ["ndjson", "ndjson.gz"]) {
      const pipe = join(cwd, format);
      execFileSync("mkfifo", [pipe]);
      const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
      onTestFinished(() => closeSync(reader));
      const running = shell(`exec "$@" ${all.join(" ")} --out - --format ${format} > '${pipe}'`, { env });
      const already = sandbox.counts.total;
      let requests = -1;
      await until(async () => {
        const before = requests;
        requests = sandbox.counts.total;
        await new Promise((resume) => setTimeout(resume, 200));
        return requests > already && requests === before;
      }, "the export is held back");
      running.kill("SIGTERM");
      expect(await endedWithin(running, 5000)).toMatchObject({ code: 75, signal: null });
    }
  });

  it("SIGKILL leaves no file under its name, and what it leaves does not disturb the next export", async () => {
    const { sandbox, env } = await tenant(endless);
    const cwd = await newFolder();
    const running = begin([...all, "--out", "s.csv", "--out", "s.parquet"], { env, cwd });
    await until(() => sandbox.counts.total > 500, "the export is under way");
    running.kill("SIGKILL");
    await running.done;
    const left = await readdir(cwd);
    expect(left).toHaveLength(2);
    for (const name of left) expect(name).toMatch(/^s\.(csv|parquet)\.[0-9a-f]{8}\.partial$/);
    const [userId = ""] = sandbox.userIds();
    expect((await run(["export", "--user", userId, "--out", "s.csv"], { env, cwd })).code).toBe(0);
    expect(await readdir(cwd)).toContain("s.csv");
  });

  it("ends the sandbox", async () => {
    const running = begin(["sandbox", "--users", "3"]);
    await until(() => running.out().includes("MONOCLOUD_API_KEY"), "the sandbox listens");
    running.kill("SIGINT");
    expect((await endedWithin(running, 5000)).code).toBe(75);
  });
});

describe("sandbox and check", () => {
  it("go together as the sandbox says", async () => {
    const running = begin(["sandbox", "--users", "7", "--sessions", "4", "--exactly"]);
    await until(() => running.err().includes("export --all-users"), "the sandbox listens");
    const env = Object.fromEntries(
      [...running.out().toString().matchAll(/^export (\w+)=(\S+)$/gm)].map((
        [, name, value],
      ) => [name!, value!]),
    );
    expect(Object.keys(env)).toEqual(["MONOCLOUD_DOMAIN", "MONOCLOUD_API_KEY"]);
    const [, suggested = ""] = /check --user (\S+)/.exec(running.err()) ?? [];
    const ofUser = await run(["check", "--user", suggested], { env });
    expect(ofUser).toMatchObject({ code: 0, err: "" });
    expect(ofUser.out).toContain(
      `There are 4 sessions of ${suggested}.\nAn export takes about 1 request: 1s at 20/s.`,
    );
    const json = await run(["check", "--json", "--rate", "30/min"], { env });
    expect(JSON.parse(json.out)).toMatchObject({
      tenant: env["MONOCLOUD_DOMAIN"],
      users: 7,
      requests: 8,
      seconds: 16,
      active_users: 0,
      estimates: {
        full: { requests: 8, seconds: 16 },
        hourly: { requests: 8, seconds: 16 },
        hourly_by_activity: { requests: 4, seconds: 8 },
        prune: { requests: 8, seconds: 16 },
      },
    });
    const looked = await run(["check", "--activity", "--json"], { env });
    expect(JSON.parse(looked.out).activity).toEqual({
      users: 7,
      with_sessions: 7,
      contradicted: 0,
      unknown: 0,
    });
    expect((await run(["check", "--activity"], { env })).out).toContain(
      "Of 7 users looked at, 7 have sessions. None has one that is newer than the user's activity",
    );
    const both = await run(["check", "--activity", "--user", suggested], { env });
    expect(both).toMatchObject({ code: 2 });
    expect(both.err).toContain("leave out --user");
    const cwd = await newFolder();
    const exported = await run(["export", "--all-users", "--out", "sessions.csv", "--rate", "500/s"], {
      env,
      cwd,
    });
    expect(exported.err).toContain("28 sessions of 7 users");
    expect(await readdir(cwd)).toEqual(["sessions.csv"]);
  });

  it("refuse a port that is taken", async () => {
    const { url } = await tenant();
    const { code, err } = await run(["sandbox", "--port", new URL(url).port]);
    expect(err).toMatch(/^Error: Cannot listen on port \d+: /);
    expect(code).toBe(2);
  });
});
