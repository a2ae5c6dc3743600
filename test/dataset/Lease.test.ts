/** Who may write into a folder, of processes of Node and of Deno: the latter with no more permissions than they need. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, rename, rm, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Logger from "effect/Logger";
import * as Scope from "effect/Scope";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import * as Lease from "../../src/dataset/Lease.ts";
import * as Writer from "../../src/dataset/Writer.ts";
import { begin, beginDeno, keysOf, type Running, tenant, until } from "../cli/command.ts";
import { keysInEach } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { isLong } from "../size.ts";

const slow = (latencyMs: number) => ({ users: 150, sessionsPerUser: 20, faults: { latencyMs } });

/** What starts exports into a folder, and goes on with them. */
const exportsInto = async (data: string, latencyMs: number) => {
  const { sandbox, env } = await tenant(slow(latencyMs));
  const args = [
    ...["export", "--all-users", "--rate", "5000/s", "--out", data, "--format", "ndjson,csv,parquet"],
    ...["--part-rows", "200", "--resume"],
  ];
  const permissions = [
    "--allow-env=MONOCLOUD_DOMAIN,MONOCLOUD_API_KEY",
    "--allow-net=127.0.0.1",
    `--allow-read=${data}`,
    `--allow-write=${data}`,
  ];
  const node = () => begin(args, { env });
  const deno = () => beginDeno(permissions, args, { env });
  return { sandbox, by: { Node: node, Deno: deno } };
};

const hasPart = async (data: string) => {
  const names = await readdir(join(data, "ndjson")).catch(() => []);
  return names.some((name) => name.endsWith(".ndjson"));
};

const expectRefused = async (running: Running) => {
  const { code, err } = await running.done;
  expect(err).toMatch(
    /^Error: Cannot write to \S+: process \d+( on \S+)?, since 20\S+, is writing there(\.|, by its heartbeat\.)/m,
  );
  expect(code).toBe(75);
};

describe("a folder", () => {
  it.each(["Node", "Deno"] as const)(
    "that a process of %s writes to is refused to any other",
    async (name) => {
      const data = join(await newFolder(), "data");
      // It takes two heartbeats and more, of which the others see one.
      const { sandbox, by } = await exportsInto(data, 900);
      const first = by[name]();
      await until(() => hasPart(data), "a part is there");
      await Promise.all([by.Node(), by.Deno()].map(expectRefused));
      expect((await first.done).code).toBe(0);
      for (const keys of await keysInEach(data)) expect(keys).toEqual(keysOf(sandbox));
    },
  );

  it("of a process of Deno that was killed goes at once to one other of Deno, and to one alone", async (context) => {
    if (process.platform === "win32") return context.skip("there, half a minute of silence has to tell");
    for (let round = 0; round < (isLong ? 10 : 1); round++) {
      const data = join(await newFolder(), "data");
      const { sandbox, by } = await exportsInto(data, 100);
      const killed = by.Deno();
      await until(() => hasPart(data), "a part is there");
      killed.kill("SIGKILL");
      expect((await killed.done).signal).toBe("SIGKILL");
      const codes = [by.Deno(), by.Deno(), by.Deno()].map(({ done }) => done.then(({ code }) => code));
      expect((await Promise.all(codes)).sort()).toEqual([0, 75, 75]);
      for (const keys of await keysInEach(data)) expect(keys).toEqual(keysOf(sandbox));
    }
  });
});

const foreign = { id: "x", host: "elsewhere", pid: 1, since: "2026-01-01T00:00:00.000Z" };
const where = (root: string) => join(root, "lock.json");
const place = (root: string, fields: object) =>
  writeFile(where(root), JSON.stringify({ ...foreign, ...fields }));

/** Half a minute of silence takes half a second. */
const waitLess = () => {
  const original = globalThis.setTimeout;
  vi.stubGlobal(
    "setTimeout",
    (work: () => void, delay = 0, ...args: ReadonlyArray<never>) =>
      original(work, delay >= 500 ? delay / 50 : delay, ...args),
  );
  onTestFinished(() => void vi.unstubAllGlobals());
};

/** Tries to acquire the lease; what was logged meanwhile. */
const acquire = async (root: string, options?: Lease.LeaseOptions) => {
  const logged: Array<string> = [];
  const logger = Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ message }) => void logged.push(String(message))),
  );
  const scope = await Effect.runPromise(Scope.make());
  const exit = await Effect.runPromise(
    Lease.acquire(root, options).pipe(Scope.extend(scope), Effect.either, Effect.provide(logger)),
  );
  const release = () => Effect.runPromise(Scope.close(scope, Exit.void));
  onTestFinished(release);
  return { exit, logged, release };
};

const leaseOf = ({ exit }: Awaited<ReturnType<typeof acquire>>): Lease.Lease => {
  if (exit._tag === "Left") throw exit.left;
  return exit.right;
};

describe("the lease of a folder", () => {
  it("goes at once from a process of this system that is no more, zombie or not", async (context) => {
    const own = await Writer.self();
    if (own.boot === undefined) return context.skip("this system does not tell of its processes");
    const root = await newFolder();
    // A shell that turns into a program which never asks what has become of its child.
    const parent = spawn("sh", ["-c", "sh -c 'echo $$; read line' & exec sleep 60"], {
      stdio: ["pipe", "pipe", "ignore"],
    });
    onTestFinished(() => void parent.kill("SIGKILL"));
    const [line] = await once(parent.stdout, "data");
    const pid = Number(line);
    const stat = await readFile(`/proc/${pid}/stat`, "utf8");
    const began = stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
    await place(root, { ...own, pid, process: began });
    // A shell gives what it runs beside it no input: it may have ended by itself.
    await until(async () => (await readFile(`/proc/${pid}/stat`, "utf8")).includes(") Z "), "it is a zombie");
    leaseOf(await acquire(root, { wait: false }));
  });

  it("is refused at once while a process of this system runs, whatever its heartbeat says", async (context) => {
    const own = await Writer.self();
    if (own.boot === undefined) return context.skip("this system does not tell of its processes");
    const root = await newFolder();
    await place(root, own);
    const { exit, logged } = await acquire(root);
    expect(exit).toMatchObject({ left: { _tag: "DatasetError", reason: "Locked" } });
    expect(logged).toEqual([]);
  });

  it.each([
    { what: "of another boot", fields: { boot: "another" } },
    { what: "of another pid namespace", fields: { namespaces: "pid:[1]" } },
    { what: "of version 0.1", fields: { boot: undefined, namespaces: undefined } },
    { what: "that can't be read", fields: undefined },
  ])("is watched for where the writer is one $what: taken over from if it is silent", async ({ fields }) => {
    waitLess();
    const root = await newFolder();
    // It has the number and the beginning of a process that runs here, or of none: neither says anything.
    for (const began of ["1", (await Writer.self()).process]) {
      if (fields === undefined) await writeFile(where(root), "{");
      else await place(root, { ...await Writer.self(), process: began, ...fields });
      const refused = await acquire(root, { wait: false });
      expect(refused.exit).toMatchObject({ left: { reason: "Locked" } });
      const acquired = await acquire(root);
      await leaseOf(acquired).prove();
      expect(acquired.logged).toEqual([
        expect.stringMatching(/^Waiting up to 30 s: .* may be writing to /),
        expect.stringMatching(/^Taking over .* has not been heard of for 30 s$/),
      ]);
      await acquired.release();
      expect(await readdir(root)).toEqual([]);
    }
  });

  it.each([
    { how: "by its text", beat: (root: string, beat: number) => place(root, { beat: String(beat) }) },
    {
      how: "by the time of the file, whatever clock that is of",
      beat: (root: string, beat: number) => utimes(where(root), beat, 1e9 - 1000 * beat),
    },
  ])("is refused as soon as a heartbeat moves, $how", async ({ beat }) => {
    waitLess();
    const root = await newFolder();
    await place(root, {});
    const began = performance.now();
    const trying = acquire(root);
    setTimeout(() => void beat(root, 1), 5000);
    const { exit, logged } = await trying;
    expect(exit).toMatchObject({
      left: { reason: "Locked", message: expect.stringContaining("by its heartbeat") },
    });
    expect(performance.now() - began).toBeLessThan(400);
    expect(logged).toHaveLength(1);
    expect(await readdir(root)).toEqual(["lock.json"]);
  });

  it("beats so that others see it, also through the file that was moved away", async () => {
    waitLess();
    const root = await newFolder();
    leaseOf(await acquire(root));
    const text = await readFile(where(root), "utf8");
    await until(async () => await readFile(where(root), "utf8") !== text, "it has beaten");
    expect(JSON.parse(await readFile(where(root), "utf8"))).toMatchObject({ id: JSON.parse(text).id });
    // What it must never touch is the file of another writer.
    await rename(where(root), join(root, "moved"));
    await place(root, {});
    const moved = await readFile(join(root, "moved"), "utf8");
    await until(async () => await readFile(join(root, "moved"), "utf8") !== moved, "it has beaten again");
    expect(JSON.parse(await readFile(where(root), "utf8"))).toEqual(foreign);
  });

  it("is not proven once another one has it, nor by who comes back to an empty place", async () => {
    const root = await newFolder();
    const first = await acquire(root);
    const { prove } = leaseOf(first);
    await prove();
    await rm(where(root));
    await expect(prove()).rejects.toMatchObject({ _tag: "DatasetError", reason: "LeaseLost" });
    const second = await acquire(root);
    await expect(prove()).rejects.toMatchObject({ reason: "LeaseLost" });
    await first.release();
    await leaseOf(second).prove();
  });

  it("goes to one of many, from one that is no more", async (context) => {
    const own = await Writer.self();
    if (own.boot === undefined) return context.skip("this system does not tell of its processes");
    for (let round = 0; round < 20; round++) {
      const root = await newFolder();
      await place(root, { ...own, process: "1" });
      const all = await Promise.all(Array.from({ length: 6 }, () => acquire(root)));
      const holders = all.filter(({ exit }) => exit._tag === "Right");
      const proven = await Promise.all(
        holders.map((one) => leaseOf(one).prove().then(() => true, () => false)),
      );
      expect(proven.filter((isProven) => isProven)).toHaveLength(1);
      for (const { release } of all) await release();
      expect(await readdir(root)).toEqual([]);
    }
  });

  it("removes what others have left half done, and nothing else", async () => {
    const root = await newFolder();
    const { mkdir } = await import("node:fs/promises");
    await mkdir(join(root, "csv"));
    const kept = ["journal.ndjson", "csv/part-00001.csv", "csv/mine.csv.0a1b2c3d.partial", "notes.txt"];
    const left = [
      ...["lock.json.0a1b2c3d", "manifest.json.0a1b2c3d.partial", "journal.ndjson.0a1b2c3d.partial"],
      ...["users-0a1b2c3d.txt.0a1b2c3d.partial", "csv/part-00001.csv.gz.0a1b2c3d.partial"],
    ];
    for (const path of [...kept, ...left]) await writeFile(join(root, path), "");
    const acquired = await acquire(root);
    leaseOf(acquired);
    await acquired.release();
    expect((await readdir(root, { recursive: true })).filter((path) => path !== "csv").sort()).toEqual(
      kept.sort(),
    );
  });
});
