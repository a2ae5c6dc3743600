import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { describe, expect, it, onTestFinished } from "vitest";
import * as Writer from "../../src/dataset/Writer.ts";
import { make, type SandboxOptions } from "../../src/sandbox/mod.ts";
import { problemsOf } from "../dataset/written.ts";
import { newFolder } from "../folders.ts";
import { onDeno } from "../runtime.ts";
import { begin, filesIn, intercepted, keysIn, keysOf, run, shell, tenant, until } from "./command.ts";
import { oneIn } from "../size.ts";

const args = ["export", "--all-users", "--out", "data", "--format", "ndjson", "--part-rows", "200"];
const quick = [...args, "--rate", "5000/s"];

const slow: SandboxOptions = { users: 150, sessionsPerUser: 20, faults: { latencyMs: 60 } };

const keysUnder = async (cwd: string): Promise<Array<string>> => {
  const folder = join(cwd, "data", "ndjson");
  const names = (await readdir(folder)).filter((name) => name.endsWith(".ndjson"));
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
  return keysIn(texts.join(""));
};

const hasParts = (cwd: string, count: number) => async () =>
  (await readdir(join(cwd, "data", "ndjson")).catch(() => [])).filter((name) => name.endsWith(".ndjson"))
    .length >=
    count;

const kept = "What has come so far is kept in data: run the same again with --resume to go on from there\n";

describe.skipIf(process.platform === "win32")("an export into a folder", () => {
  it.each(oneIn(3, ["SIGINT", "SIGTERM", "SIGHUP"]))(
    "cuts and exits with 75 on %s, and goes on with --resume",
    async (signal) => {
      const { sandbox, env } = await tenant(slow);
      const cwd = await newFolder();
      const running = begin(quick, { env, cwd });
      await until(hasParts(cwd, 2), "two parts are there");
      const began = Date.now();
      running.kill(signal);
      expect(await running.done).toMatchObject({
        code: 75,
        signal: null,
        out: "",
        err: `Interrupted. ${kept}`,
      });
      expect(Date.now() - began).toBeLessThan(2000);
      expect(Object.keys(await filesIn(cwd)).filter((name) => /partial|lock|manifest/.test(name))).toEqual(
        [],
      );
      const before = sandbox.counts.total;
      expect((await run([...quick, "--resume"], { env, cwd })).code).toBe(0);
      expect(await keysUnder(cwd)).toEqual(keysOf(sandbox));
      expect(sandbox.counts.total).toBeLessThan(before + 150);
    },
  );

  it("ends at once on a second signal, as safely as if it were killed", async () => {
    const { sandbox, env } = await tenant(slow);
    const cwd = await newFolder();
    const running = begin(quick, { env, cwd });
    await until(hasParts(cwd, 1), "a part is there");
    running.kill("SIGTERM");
    running.kill("SIGTERM");
    const { code, signal } = await running.done;
    expect(signal === "SIGTERM" || code === 75).toBe(true);
    expect((await run([...quick, "--resume"], { env, cwd })).code).toBe(0);
    expect(await keysUnder(cwd)).toEqual(keysOf(sandbox));
  });

  it("cuts and exits with 75 when the tenant limits the rate for longer than the patience given", async () => {
    const sandbox = make({ users: 150, sessionsPerUser: 20 });
    let isLimiting = true;
    const { env } = await intercepted(
      sandbox,
      () =>
        isLimiting && sandbox.counts.total > 60
          ? new Response("", { status: 429, headers: { "retry-after": "60" } })
          : undefined,
    );
    const cwd = await newFolder();
    const stopped = await run([...quick, "--max-elapsed", "20s"], { env, cwd });
    expect(stopped.err).toMatch(/^Error: .*limit/m);
    expect(stopped.err).toContain(kept);
    expect(stopped.code).toBe(75);
    isLimiting = false;
    const before = sandbox.counts.total;
    expect((await run([...quick, "--resume"], { env, cwd })).code).toBe(0);
    expect(await keysUnder(cwd)).toEqual(keysOf(sandbox));
    expect(sandbox.counts.total - before).toBeLessThan(120);
  });

  it("on a disk that is full names the file, and goes on when there is room", async () => {
    const { sandbox, env } = await tenant({ users: 60, sessionsPerUser: 50 });
    const cwd = await newFolder();
    const data = join(cwd, "data");
    await mkdir(data);
    const execute = promisify(execFile);
    // Where no file system can be mounted, a limit on the size of a file has to do.
    const isMounted = await execute("mount", ["-t", "tmpfs", "-o", "size=600k", "tmpfs", data]).then(
      () => true,
      () => false,
    );
    if (isMounted) onTestFinished(() => execute("umount", [data]).then(() => undefined));
    // Node outlives the signal that goes with it by itself.
    const limit = isMounted ? "" : "trap '' XFSZ; ulimit -f 80; ";
    const script = `${limit}exec "$@" ${quick.join(" ")}${
      isMounted ? "" : " --part-bytes 10M --part-rows 100000"
    }`;
    const full = await shell(script, { env, cwd }).done;
    expect(full.err).toMatch(
      /^Error: Cannot \w+ data\/\S+: (the disk is full|the file is larger than the system allows): /m,
    );
    expect(full.code).toBe(74);
    if (isMounted) {
      expect((await filesIn(data))["manifest.json"]).toBeUndefined();
      await execute("mount", ["-o", "remount,size=60m", data]);
    }
    expect((await run([...quick, "--resume"], { env, cwd })).code).toBe(0);
    expect(await keysUnder(cwd)).toEqual(keysOf(sandbox));
  });

  it("is not gone on with by other options, and says which", async () => {
    const { env } = await tenant(slow);
    const cwd = await newFolder();
    const running = begin(quick, { env, cwd });
    await until(hasParts(cwd, 1), "a part is there");
    running.kill("SIGTERM");
    await running.done;
    for (
      const [options, message] of [
        [["--sort", "session_id:asc"], `'sort' was not given when it began and is "session_id:1" now`],
        [["--client-id", "app"], `'clientId' was not given when it began and is "app" now`],
        [["--redact", "ip=drop"], `'redact' was not given when it began and is {`],
        [["--keep-formulas"], `'keepFormulas' was false when it began and is true now`],
      ] as const
    ) {
      const { code, err } = await run([...quick, "--resume", ...options], { env, cwd });
      expect(err).toContain(`Error: Cannot go on with the export in data: ${message}`);
      expect(code).toBe(2);
    }
    const users = quick.flatMap((arg) => arg === "--all-users" ? ["--user", "someone"] : [arg]);
    expect((await run([...users, "--resume"], { env, cwd })).err).toMatch(
      /'users' was "all" when it began and is "sha256:\w{16}" now/,
    );
  });

  it("is not disturbed by a second process, which is told who is there", async () => {
    // So slow that the second one comes while the first one works, however long it takes to start.
    const { sandbox, env } = await tenant({ ...slow, faults: { latencyMs: 500 } });
    const cwd = await newFolder();
    const running = begin(quick, { env, cwd });
    await until(hasParts(cwd, 1), "a part is there");
    const second = await run([...quick, "--resume"], { env, cwd });
    expect(second.err).toMatch(
      new RegExp(
        `^Error: Cannot write to data: process ${running.child.pid}${
          onDeno ? "" : ` on ${hostname()}`
        }, since 20\\S+, is writing there\\.`,
      ),
    );
    expect(second.code).toBe(75);
    expect((await running.done).code).toBe(0);
    expect(await keysUnder(cwd)).toEqual(keysOf(sandbox));
  });

  it("takes over at once from a process that is no more, and from no other of this system", async (context) => {
    if (process.platform !== "linux" || onDeno) return context.skip("only Node on Linux can ask");
    const { env } = await tenant();
    const cwd = await newFolder();
    await mkdir(join(cwd, "data"));
    const path = join(cwd, "data", "lock.json");
    const self = await Writer.self();
    const lock = (fields: object) =>
      writeFile(path, JSON.stringify({ ...self, id: "x", since: "2026-01-01T00:00:00.000Z", ...fields }));
    await lock({});
    expect(await run(quick, { env, cwd })).toMatchObject({
      code: 75,
      err:
        `Error: Cannot write to data: process ${process.pid} on ${hostname()}, since 2026-01-01T00:00:00.000Z, ` +
        "is writing there. Wait until it ends, or choose another folder\n",
    });
    // The number of a running process, which is not the one that took the lock.
    await lock({ process: "1" });
    expect(await run([...quick, "--quiet"], { env, cwd })).toMatchObject({ code: 0, err: "" });
    expect(Object.keys(await filesIn(join(cwd, "data"))).filter((name) => name.startsWith("lock"))).toEqual(
      [],
    );
  });

  it("lists the users that failed, with code 4, and tries them again", async () => {
    const sandbox = make({ users: 10, sessionsPerUser: 5 });
    const [first = ""] = sandbox.userIds();
    let isFailing = true;
    const { env } = await intercepted(
      sandbox,
      (url) => isFailing && url.includes(`/${first}/`) ? new Response("{}", { status: 422 }) : undefined,
    );
    const cwd = await newFolder();
    const some = await run(quick, { env, cwd });
    expect(some.code).toBe(4);
    expect(some.err).toContain(`Warning: 1 user failed, to be tried again with --resume: ${first} (`);
    isFailing = false;
    const rest = await run([...quick, "--resume"], { env, cwd });
    expect(rest).toMatchObject({ code: 0 });
    expect(rest.err).toContain("5 sessions of 1 user in ");
    expect(await keysUnder(cwd)).toEqual(keysOf(sandbox));
    const again = await run([...quick, "--resume"], { env, cwd });
    expect(again.code).toBe(0);
    expect(again.err).toContain("Nothing left to do: the export had finished\n");
  });
});

it("tells which sessions are listed no more, and how many users nothing can be said of", async () => {
  const sandbox = make({ users: 5, sessionsPerUser: 12 });
  const [first = "", second = ""] = sandbox.userIds();
  let isFailing = false;
  const { env } = await intercepted(
    sandbox,
    (url) => isFailing && url.includes(`/${first}/`) ? new Response("{}", { status: 422 }) : undefined,
  );
  const cwd = await newFolder();
  const prune = [...quick, "--since-last", "--prune"];
  expect(await run(prune, { env, cwd })).toMatchObject({ code: 0 });
  const [gone] = sandbox.sessions(second);
  sandbox.remove(second, gone!.session_id);
  isFailing = true;
  const { code, err } = await run(prune, { env, cwd });
  expect(err).toContain(
    "\n1 session no longer listed since the last run with --prune; nothing can be said of 1 user\n",
  );
  expect(err).toMatch(/^ {2}data\/tombstones: 1 row, \d+ bytes in 1 part$/m);
  expect(code).toBe(4);
  isFailing = false;
  const { out } = await run([...prune, "--json", "--quiet"], { env, cwd });
  expect(JSON.parse(out).tombstones).toEqual({ users: 5, gone: 0, again: 0 });
  expect(await problemsOf(join(cwd, "data"))).toEqual([]);
});

it("tells what was delivered again, and of whom", async () => {
  const sandbox = make({ users: 2, sessionsPerUser: 12 });
  const { env } = await intercepted(sandbox, () => undefined);
  const cwd = await newFolder();
  expect(await run([...quick, "--since-last"], { env, cwd })).toMatchObject({ code: 0 });
  const { code, err } = await run([...quick, "--resume", "--since", "2020-01-01T00:00:00Z"], { env, cwd });
  expect(err).toMatch(/^24 sessions of 2 users in .*; verified: nothing missed$/m);
  expect(err).toMatch(
    /^24 sessions of 2 users delivered again, which may be there unchanged: [^ ]+, [^ ]+$/m,
  );
  expect(code).toBe(0);
  expect(await problemsOf(join(cwd, "data"))).toEqual([]);
});

it.each(oneIn(3, [
  [["--out", "data", "--format", "csv", "--prune"], "--prune goes with --since-last"],
  [["--out", "s.csv", "--resume"], "--resume goes with a folder"],
  [["--out", "data", "--format", "csv", "--quarantine", "r.ndjson"], "--quarantine goes with files"],
  [
    ["--out", "data", "--format", "csv", "--part-bytes", "1X"],
    "--part-bytes must be a size such as 64M or 1G",
  ],
  [
    ["--out", "data", "--format", "csv", "--max-elapsed", "soon"],
    "--max-elapsed must be a time such as 90s, 5m or 2h",
  ],
]))("refuses %j", async (options, message) => {
  const { env, sandbox } = await tenant();
  const { code, err } = await run(["export", "--all-users", ...options], { env, cwd: await newFolder() });
  expect(err).toContain(message);
  expect(code).toBe(2);
  expect(sandbox.counts.total).toBe(0);
});
