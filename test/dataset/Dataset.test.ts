import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import { describe, expect, it } from "vitest";
import { columns } from "../../src/session/Columns.ts";
import type * as Dataset from "../../src/dataset/Dataset.ts";
import { make, type Sandbox, type SandboxOptions } from "../../src/sandbox/mod.ts";
import { version } from "../../src/version.ts";
import { keysOf } from "../cli/command.ts";
import { keysFrom, keysInEach, sql } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { onDeno } from "../runtime.ts";
import { draws } from "../source/paging/histories.ts";
import { choices, exportInto, exportOf, failureOf, manifestOf, mend, type Options } from "./written.ts";
import { isLong } from "../size.ts";

const small = (options: SandboxOptions = {}) => make({ users: 12, sessionsPerUser: 35, seed: 5, ...options });

const tree = async (root: string): Promise<Array<string>> => {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1)).sort();
};

const journalOf = async (root: string) =>
  (await readFile(join(root, "journal.ndjson"), "utf8")).trimEnd().split("\n").map((line) =>
    JSON.parse(line)
  );

/** Begins an export and interrupts it when it has come so far. */
const breakOff = async (sandbox: Sandbox, root: string, when: () => boolean, options?: Options) => {
  const fiber = Effect.runFork(exportOf(sandbox, root, options));
  await Effect.runPromise(
    Effect.repeat(Effect.sleep(1), { until: () => when() || fiber.unsafePoll() !== null }),
  );
  const exit = await Effect.runPromise(Fiber.interrupt(fiber));
  if (Exit.isSuccess(exit)) throw new Error("the export had ended");
};

/** A sandbox whose answers take a while, and that has begun an export broken off in the middle. */
const brokenOff = async (root: string, options?: Options) => {
  const sandbox = small({ faults: { latencyMs: 3 } });
  await breakOff(sandbox, root, () => sandbox.counts.total > 8, { walk: { concurrency: 2 }, ...options });
  return sandbox;
};

describe("a dataset", () => {
  it("has parts of every format that are cut at the same rows, and a manifest that says what is really there", async () => {
    const sandbox = small({ malformed: 0.05 });
    const root = join(await newFolder(), "made", "as", "needed");
    const report = await exportInto(sandbox, root);
    const manifest = await manifestOf(root);
    expect(manifest).toMatchObject({
      manifest_version: 2,
      created_by: `monocloud-sessions ${version}`,
      tenant: "https://sandbox.example",
      failed: [],
      runs: [{ run: 1, kind: "full", users: 12, sessions: report.sessions, verified: true, requests: 12 }],
    });
    expect(manifest.columns.map(({ name }: { name: string }) => name)).toEqual(
      columns.map(({ name }) => name),
    );
    const numbers = [...new Set(manifest.parts.map(({ part }: { part: number }) => part))];
    expect(numbers.length).toBeGreaterThan(3);
    for (const number of numbers) {
      const of = manifest.parts.filter(({ part }: { part: number }) => part === number);
      const sessions = of.filter(({ format }: { format: string }) =>
        !["quarantine", "cursors"].includes(format)
      );
      expect(sessions.map(({ format }: { format: string }) => format)).toEqual(["ndjson", "csv", "parquet"]);
      expect(new Set(sessions.map(({ rows }: { rows: number }) => rows)).size).toBe(1);
    }
    for (const { path, bytes, sha256, rows, format, initiated_at } of manifest.parts) {
      const file = await readFile(join(root, path));
      expect([path, bytes]).toEqual([path, file.length]);
      expect(sha256).toBe(createHash("sha256").update(file).digest("hex"));
      if (format !== "ndjson") continue;
      const times = file.toString().trimEnd().split("\n").map((line) => JSON.parse(line).initiated_at);
      expect(times).toHaveLength(rows);
      expect(initiated_at).toEqual({ min: Math.min(...times), max: Math.max(...times) });
    }
    expect(await tree(root)).toEqual(
      ["manifest.json", ...manifest.parts.map(({ path }: { path: string }) => path)].sort(),
    );
    const [ndjson, csv, parquet] = await keysInEach(root);
    expect(ndjson).toHaveLength(report.sessions);
    expect(csv).toEqual(ndjson);
    expect(parquet).toEqual(ndjson);
  });

  it("of no session is one as well, with its columns", async () => {
    const root = await newFolder();
    await exportInto(make({ users: 3, sessionsPerUser: 0 }), root, { formats: choices("csv.gz", "parquet") });
    expect(await tree(root)).toEqual([
      "csv/part-00000.csv.gz",
      "cursors/part-00000.ndjson",
      "manifest.json",
      "parquet/part-00000.parquet",
    ]);
    const text = gunzipSync(await readFile(join(root, "csv/part-00000.csv.gz"))).toString();
    expect(text.split("\r\n")[0]).toBe(columns.map(({ name }) => name).join());
  });

  it("checkpoints parts by their bytes as well", async () => {
    const root = await newFolder();
    await exportInto(small(), root, { formats: choices("ndjson"), partRows: 1e9, partBytes: 40_000 });
    const manifest = await manifestOf(root);
    const parts = manifest.parts.filter(({ format }: { format: string }) => format === "ndjson");
    expect(parts.length).toBeGreaterThan(3);
    for (const { bytes } of parts.slice(0, -1)) expect(bytes).toBeGreaterThanOrEqual(40_000);
  });
});

describe("an export that was broken off", () => {
  it("keeps what has come, without a manifest, and goes on from there to the same sessions", async () => {
    const root = await newFolder();
    const sandbox = await brokenOff(root, { partRows: 50 });
    expect((await tree(root)).filter((path) => !path.includes("/"))).toEqual([
      "journal.ndjson",
      expect.stringMatching(/^users-[0-9a-f]{8}\.txt$/),
    ]);
    const checkpoints = (await journalOf(root)).slice(1);
    expect(checkpoints.length).toBeGreaterThan(1);
    const before = sandbox.counts.total;
    const report = await exportInto(sandbox, root, { mode: "resume" });
    expect(report).toMatchObject({ users: 12, sessions: 12 * 35, verified: true });
    expect(report.requests).toBe(sandbox.counts.total);
    expect(sandbox.counts.total - before).toBeLessThan(12);
    expect((await tree(root)).filter((path) => !path.includes("/"))).toEqual(["manifest.json"]);
    for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
  });

  it("any number of times, at any moment, while the list changes, loses and repeats nothing", async () => {
    for (let seed = 1; seed <= (isLong ? 100 : 2); seed++) {
      const draw = draws(seed);
      const root = await newFolder();
      const gone = new Set<string>();
      const sandbox: Sandbox = make({
        users: 6,
        sessionsPerUser: 60,
        seed,
        faults: { latencyMs: 1 },
        ties: draw() < 0.5 ? "stable" : "unstable",
        tieSeconds: draw() < 0.3 ? 100 * 86_400 : 1,
        beforeAnswer: ({ userId }) => {
          if (draw() < 0.5 || userId === undefined) return;
          const present = [...sandbox.sessions(userId)];
          const any = present[Math.floor(draw() * present.length)];
          if (any === undefined || draw() < 0.4) sandbox.add(userId);
          else {
            sandbox.remove(userId, any.session_id);
            gone.add(`${userId} ${any.session_id}`);
          }
        },
      });
      const there = keysOf(sandbox);
      const options: Options = {
        formats: choices("ndjson"),
        partRows: 1 + Math.floor(draw() * 60),
        walk: { pageSize: 10 + Math.floor(draw() * 20), concurrency: 1 + Math.floor(draw() * 4) },
        mode: "resume",
      };
      let report: Dataset.Report | undefined;
      for (let runs = 0; report === undefined; runs++) {
        const fiber = Effect.runFork(exportOf(sandbox, root, options));
        const patience = runs > 12 ? Infinity : draw() * 120;
        const exit = await Effect.runPromise(
          Effect.timeoutTo(Fiber.await(fiber), {
            duration: Duration.millis(Math.min(patience, 1e6)),
            onTimeout: () => undefined,
            onSuccess: (exit) => exit,
          }),
        ) ?? await Effect.runPromise(Fiber.interrupt(fiber));
        if (Exit.isSuccess(exit)) report = exit.value;
        else if (!Exit.isInterrupted(exit)) throw new Error(String(exit.cause));
      }
      expect(report.verified).toBe(true);
      const keys = await keysFrom(
        `read_json('${root}/ndjson/*.ndjson', columns = {user_id: 'VARCHAR', session_id: 'VARCHAR'})`,
      );
      expect(new Set(keys).size).toBe(keys.length);
      expect(there.filter((key) => !gone.has(key) && !keys.includes(key))).toEqual([]);
    }
  }, 120_000);

  it("takes parts that no journal line names for never written", async () => {
    const root = await newFolder();
    const sandbox = await brokenOff(root, { partRows: 50 });
    // The power went before the last line was written.
    const journal = await journalOf(root);
    const [{ path, part }] = journal.at(-1).parts;
    await writeFile(
      join(root, "journal.ndjson"),
      journal.slice(0, -1).map((line) => `${JSON.stringify(line)}\n`).join(""),
    );
    await writeFile(join(root, `${path}.0a1b2c3d.partial`), "half");
    await writeFile(join(root, "lock.json.0a1b2c3d"), "");
    await exportInto(sandbox, root, { mode: "resume" });
    const { parts } = await manifestOf(root);
    expect(parts.filter((other: { part: number }) => other.part === part)).toEqual([]);
    expect(parts.at(-1).part).toBeGreaterThan(part);
    for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
    expect((await tree(root)).filter((path) => /partial$|^lock/.test(path))).toEqual([]);
  });

  it("takes a journal line that was being written for never written", async () => {
    const root = await newFolder();
    const sandbox = await brokenOff(root, { partRows: 50 });
    const path = join(root, "journal.ndjson");
    const text = await readFile(path, "utf8");
    await writeFile(path, text.slice(0, -200));
    await exportInto(sandbox, root, { mode: "resume" });
    for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
  });

  it("is not begun anew by mistake", async () => {
    const root = await newFolder();
    const sandbox = await brokenOff(root);
    const before = await tree(root);
    expect((await failureOf(sandbox, root)).message).toBe(
      `Cannot export into ${root}: it holds an export that did not finish. Go on with it (--resume), choose another folder, ` +
        "or remove this one",
    );
    expect(await tree(root)).toEqual(before);
  });

  it.each<[string, Options, string]>([
    [
      "formats",
      { formats: choices("csv") },
      `'format' was ["csv","ndjson","parquet"] when it began and is ["csv"] now`,
    ],
    [
      "order",
      { walk: { sort: "session_id:1" } },
      `'sort' was not given when it began and is "session_id:1" now`,
    ],
    ["client", { walk: { clientId: "app" } }, `'clientId' was not given when it began and is "app" now`],
    ["tenant", { tenant: "https://other.example" }, `'tenant' was "https://sandbox.example" when it began`],
    ["invalid", { onInvalid: "fail" }, `'onInvalid' was "quarantine" when it began and is "fail" now`],
    ["others", { options: { redact: "ip" } }, `'redact' was not given when it began and is "ip" now`],
  ])("is not gone on with by other options: %s", async (_, options, message) => {
    const root = await newFolder();
    const sandbox = await brokenOff(root);
    const error = await failureOf(sandbox, root, { mode: "resume", ...options });
    expect(error).toMatchObject({ _tag: "DatasetError", reason: "Options" });
    expect(error.message).toContain(`Cannot go on with the export in ${root}: ${message}`);
  });

  it("keeps what has come when the tenant refuses the key", async () => {
    const root = await newFolder();
    let isRefusing = false;
    const sandbox = small({ beforeAnswer: () => void (isRefusing ||= sandbox.counts.total >= 7) });
    const refusing: Sandbox = {
      ...sandbox,
      fetch: (request) =>
        isRefusing ? Promise.resolve(new Response("", { status: 401 })) : sandbox.fetch(request),
    };
    const error = await failureOf(refusing, root, { walk: { concurrency: 1 } });
    expect(error).toMatchObject({ _tag: "ApiError", reason: "Unauthorized" });
    expect((await journalOf(root)).at(-1).run_progress.progress.sessions).toBeGreaterThan(0);
    await exportInto(sandbox, root, { mode: "resume" });
    for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
  });

  it("before its first part is complete leaves nothing in the way of the next", async () => {
    const root = await newFolder();
    const refusing = { ...small(), fetch: () => Promise.resolve(new Response("", { status: 401 })) };
    await failureOf(refusing, root);
    await exportInto(small(), root);
    for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(small()));
  });
});

describe("changes since the last run", () => {
  /** The newest version of each session, as the README reads it. */
  const newest = async (root: string) =>
    (await sql(`SELECT user_id || ' ' || session_id || ' ' || last_updated AS key FROM (
      SELECT *, row_number() OVER (
        PARTITION BY user_id, session_id ORDER BY last_updated DESC, filename DESC
      ) AS version FROM read_json('${root}/ndjson/*.ndjson', filename = true, columns = {
        user_id: 'VARCHAR', session_id: 'VARCHAR', last_updated: 'BIGINT'
      })) WHERE version = 1`)).map(({ key }) => String(key)).sort();

  const live = (sandbox: Sandbox) =>
    [...sandbox.userIds()].flatMap((userId) =>
      [...sandbox.sessions(userId)].map((session) =>
        `${userId} ${session.session_id} ${session.last_updated}`
      )
    ).sort();

  const changing: Options = { changes: "since-last", mode: "resume" };

  it("are added as parts of a further run; a user without one costs a request, and nothing is repeated", async () => {
    const root = await newFolder();
    const sandbox = small();
    const [first = "", second = ""] = sandbox.userIds();
    expect((await exportInto(sandbox, root, changing)).kind).toBe("full");
    const [session] = sandbox.sessions(first);
    sandbox.update(first, session!.session_id);
    sandbox.add(second);
    const run = await exportInto(sandbox, root, changing);
    expect(run).toMatchObject({
      run: 2,
      kind: "changes",
      users: 12,
      sessions: 2,
      requests: 12,
      verified: true,
    });
    expect(await newest(root)).toEqual(live(sandbox));
    const before = await tree(root);
    const idle = await exportInto(sandbox, root, changing);
    expect(idle).toMatchObject({ run: 3, sessions: 0, requests: 12, files: [] });
    expect(await tree(root)).toEqual(before);
    const keys = await keysFrom(
      `read_json('${root}/ndjson/*.ndjson', columns = {user_id: 'VARCHAR', session_id: 'VARCHAR'})`,
    );
    expect(keys).toHaveLength(12 * 35 + 2);
    expect((await manifestOf(root)).runs.map(({ kind }: { kind: string }) => kind)).toEqual([
      "full",
      "changes",
      "changes",
    ]);
  });

  it("are found whatever happens in between, run after run broken off and gone on with", async () => {
    for (let seed = 1; seed <= (isLong ? 24 : 1); seed++) {
      const draw = draws(seed);
      const root = await newFolder();
      const sandbox = make({ users: 8, sessionsPerUser: 30, seed, faults: { latencyMs: 1 } });
      const gone = new Set<string>();
      for (let runs = 0; runs < 6; runs++) {
        let isDone = false;
        for (let tries = 0; !isDone; tries++) {
          const fiber = Effect.runFork(
            exportOf(sandbox, root, {
              ...changing,
              partRows: 1 + Math.floor(draw() * 40),
              formats: choices("ndjson"),
            }),
          );
          const exit = await Effect.runPromise(
            Effect.timeoutTo(Fiber.await(fiber), {
              duration: Duration.millis(tries > 4 ? 1e6 : draw() * 40),
              onTimeout: () => undefined,
              onSuccess: (exit) => exit,
            }),
          ) ?? await Effect.runPromise(Fiber.interrupt(fiber));
          isDone = Exit.isSuccess(exit);
          if (!isDone && !Exit.isInterrupted(exit)) throw new Error(String(exit));
        }
        expect((await newest(root)).filter((key) => !gone.has(key.split(" ", 2).join(" ")))).toEqual(
          live(sandbox),
        );
        for (const userId of sandbox.userIds()) {
          for (let left = Math.floor(draw() * 5); left > 0; left--) {
            const present = [...sandbox.sessions(userId)];
            const any = present[Math.floor(draw() * present.length)]!;
            const kind = draw();
            if (kind < 0.4) sandbox.add(userId);
            else if (kind < 0.8) sandbox.update(userId, any.session_id);
            else {
              sandbox.remove(userId, any.session_id);
              gone.add(`${userId} ${any.session_id}`);
            }
          }
        }
      }
      const versions = await keysFrom(
        `(SELECT user_id, session_id || ' ' || last_updated AS session_id FROM read_json('${root}/ndjson/*.ndjson',
          columns = {user_id: 'VARCHAR', session_id: 'VARCHAR', last_updated: 'BIGINT'}))`,
      );
      expect(new Set(versions).size).toBe(versions.length);
    }
  }, 120_000);

  it("can be asked for from a time on, which must not lie ahead of the tenant's clock", async () => {
    const root = await newFolder();
    const sandbox = small();
    const sessions = [...sandbox.userIds()].flatMap((userId) => [...sandbox.sessions(userId)]);
    const times = sessions.map(({ last_updated }) => last_updated).sort((a, b) => a - b);
    const since = times[times.length - 40]!;
    const report = await exportInto(sandbox, root, { changes: { since } });
    expect(report).toMatchObject({ kind: "changes", sessions: times.filter((time) => time >= since).length });
    // A clock that is more than a day off ours would not be believed.
    const now = Math.floor(Date.now() / 1000);
    const clocked: Sandbox = {
      ...sandbox,
      fetch: async (request) => {
        const answer = await sandbox.fetch(request);
        answer.headers.set("date", new Date((now - 7200) * 1000).toUTCString());
        return answer;
      },
    };
    const error = await failureOf(clocked, await newFolder(), { changes: { since: now - 3600 } });
    expect(error.message).toContain("which has not come yet by the tenant's clock");
    // What the folder knows is not taken for more than the tenant could have said, either.
    await exportInto(sandbox, root, changing);
    const { parts } = await manifestOf(root);
    const { path } = parts.findLast(({ format }: { format: string }) => format === "cursors");
    const state = await readFile(join(root, path), "utf8");
    await writeFile(join(root, path), state.replaceAll(/"at":\d+/g, `"at":${now - 3600}`));
    await mend(root, path);
    expect((await failureOf(clocked, root, changing)).message).toContain(
      "has not come yet by the tenant's clock",
    );
  });

  it("of a user that failed are found from where it failed", async () => {
    const root = await newFolder();
    const sandbox = make({ users: 3, sessionsPerUser: 250 });
    const [first = ""] = sandbox.userIds();
    let answers = 0;
    const failing: Sandbox = {
      ...sandbox,
      fetch: (request) =>
        request.url.includes(`/${first}/`) && answers++ > 0
          ? Promise.resolve(new Response("{}", { status: 422 }))
          : sandbox.fetch(request),
    };
    expect((await exportInto(failing, root, changing)).failed.count).toBe(1);
    sandbox.add(first);
    expect((await exportInto(sandbox, root, changing)).failed.count).toBe(0);
    await exportInto(sandbox, root, changing);
    expect(await newest(root)).toEqual(live(sandbox));
    expect(
      await keysFrom(
        `read_json('${root}/ndjson/*.ndjson', columns = {user_id: 'VARCHAR', session_id: 'VARCHAR'})`,
      ),
    )
      .toHaveLength(751);
  });

  it("leave cursors that do not grow with the number of runs", async () => {
    const root = await newFolder();
    const sandbox = make({ users: 40, sessionsPerUser: 3 });
    const changing: Options = { changes: "since-last", mode: "resume", formats: choices("ndjson") };
    await exportInto(sandbox, root, changing);
    const cursors = async () => {
      const { parts } = await manifestOf(root);
      return parts.filter(({ format }: { format: string }) => format === "cursors")
        .reduce((sum: number, { rows }: { rows: number }) => sum + rows, 0);
    };
    for (let runs = 0; runs < 30; runs++) {
      for (const userId of sandbox.userIds()) sandbox.add(userId);
      await exportInto(sandbox, root, changing);
      expect(await cursors()).toBeLessThanOrEqual(2 * 40 + 1000);
    }
    const { parts } = await manifestOf(root);
    expect(parts.filter(({ format }: { format: string }) => format === "cursors").length).toBeLessThan(10);
    expect((await readdir(join(root, "cursors"))).length).toBeLessThan(10);
    expect(await newest(root)).toEqual(live(sandbox));
  });
});

describe("users that fail", () => {
  const failingFor = (sandbox: Sandbox, isFailing: (userId: string) => boolean): Sandbox => ({
    ...sandbox,
    fetch: (request) => {
      const [, userId = ""] = /users\/([^/]+)\/sessions/.exec(request.url) ?? [];
      return isFailing(userId)
        ? Promise.resolve(new Response("{}", { status: 422 }))
        : sandbox.fetch(request);
    },
  });

  it("do not stop the others, are named in the manifest, and are tried again alone", async () => {
    const root = await newFolder();
    const sandbox = small();
    const [first, , third] = sandbox.userIds();
    const failing = failingFor(sandbox, (userId) => userId === first || userId === third);
    const walk = { pageSize: 100 };
    const report = await exportInto(failing, root, { walk });
    expect(report).toMatchObject({ users: 12, sessions: 10 * 35, verified: false, failed: { count: 2 } });
    expect(new Set(report.failed.first.map(({ userId }) => userId))).toEqual(new Set([first, third]));
    expect((await manifestOf(root)).failed).toHaveLength(2);

    const still = await exportInto(failingFor(sandbox, (userId) => userId === third), root, {
      walk,
      mode: "resume",
    });
    expect(still).toMatchObject({
      run: 2,
      kind: "retry",
      users: 2,
      sessions: 35,
      requests: 2,
      failed: { count: 1 },
    });
    const done = await exportInto(sandbox, root, { walk, mode: "resume" });
    expect(done).toMatchObject({
      run: 3,
      kind: "retry",
      users: 1,
      sessions: 35,
      requests: 1,
      failed: { count: 0 },
    });
    const { failed, runs } = await manifestOf(root);
    expect([failed, runs.length]).toEqual([[], 3]);
    for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
  });

  it("go on from the page they failed at", async () => {
    const root = await newFolder();
    const sandbox = make({ users: 2, sessionsPerUser: 500 });
    const [first = ""] = sandbox.userIds();
    let answers = 0;
    const failing = failingFor(sandbox, (userId) => userId === first && answers++ > 2);
    const options: Options = { walk: { concurrency: 2, pageSize: 100 } };
    const report = await exportInto(failing, root, options);
    expect(report.failed.count).toBe(1);
    expect(report.sessions).toBeGreaterThan(600);
    const retried = await exportInto(sandbox, root, { ...options, mode: "resume" });
    expect(retried.sessions).toBe(1000 - report.sessions);
    for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
  });

  it("one after the other are the tenant's failing", async () => {
    const root = await newFolder();
    const sandbox = small();
    let answers = 0;
    const failing: Sandbox = {
      ...sandbox,
      fetch: (request) =>
        answers++ < 5 ? sandbox.fetch(request) : Promise.resolve(new Response("", { status: 418 })),
    };
    const error = await failureOf(failing, root, { walk: { concurrency: 1 } });
    expect(error).toMatchObject({ _tag: "ApiError" });
    expect((await journalOf(root)).at(-1).run_progress).toMatchObject({
      progress: { failed: 2 },
      position: 8,
    });
    const report = await exportInto(sandbox, root, { mode: "resume" });
    expect(report).toMatchObject({ run: 1, users: 12, verified: true, failed: { count: 0 } });
    for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
  });
});

describe("a folder", () => {
  it("with a finished export is refused, and stays as it is", async () => {
    const root = await newFolder();
    await exportInto(small(), root);
    const before = await stat(join(root, "manifest.json"));
    const error = await failureOf(small(), root);
    expect(error).toMatchObject({ _tag: "DatasetError", reason: "Occupied", path: root });
    expect(error.message).toBe(
      `Cannot export into ${root}: it holds a finished export. Add what has changed since (--since-last), choose another folder, or remove this one first`,
    );
    expect((await stat(join(root, "manifest.json"))).mtimeMs).toBe(before.mtimeMs);
  });

  it("with a finished export has nothing to go on with", async () => {
    const root = await newFolder();
    const { requests } = await exportInto(small(), root);
    const sandbox = small();
    expect(await exportInto(sandbox, root, { mode: "resume" })).toMatchObject({
      wasFinished: true,
      requests,
    });
    expect(sandbox.counts.total).toBe(0);
  });

  it.each(["notes.txt", "csv/notes.csv"])("with %s of someone else is refused", async (name) => {
    const root = await newFolder();
    await mkdir(join(root, "csv"));
    await writeFile(join(root, name), "mine");
    expect((await failureOf(small(), root)).message).toBe(
      `Cannot export into ${root}: it holds ${name}, which no export has written. Move that away, or choose another folder`,
    );
    expect(await readFile(join(root, name), "utf8")).toBe("mine");
  });

  it("with parts of which nothing speaks is refused", async () => {
    const root = await newFolder();
    await mkdir(join(root, "parquet"));
    await writeFile(join(root, "parquet/part-00000.parquet"), "");
    for (const mode of ["new", "resume"] as const) {
      expect((await failureOf(small(), root, { mode })).message).toContain(
        "it holds parquet/part-00000.parquet, of which neither manifest nor journal speaks",
      );
    }
  });

  it("of a newer version is left alone", async () => {
    const root = await newFolder();
    await exportInto(small(), root);
    const path = join(root, "manifest.json");
    await writeFile(
      path,
      (await readFile(path, "utf8")).replace(`"manifest_version": 2`, `"manifest_version": 3`),
    );
    const error = await failureOf(small(), root, { mode: "resume" });
    expect(error).toMatchObject({ _tag: "DatasetError", reason: "Version" });
    expect(error.message).toBe(
      `${path} has version 3 and this program knows 2: use the newer monocloud-sessions that wrote it`,
    );
  });

  it.each(["manifest.json", "journal.ndjson"])("with a damaged %s says so", async (name) => {
    const root = await newFolder();
    if (name === "journal.ndjson") await brokenOff(root, { partRows: 50 });
    else await exportInto(small(), root);
    const path = join(root, name);
    await writeFile(path, (await readFile(path, "utf8")).replace(/"sha256"/, `"sha257"`));
    const error = await failureOf(small(), root, { mode: "resume" });
    expect(error).toMatchObject({ _tag: "DatasetError", reason: "Corrupt" });
    expect(error.message).toMatch(new RegExp(`^${path} is damaged: \\w[.\\w]*.sha256: is missing`));
  });

  it("can't be where a file is", async () => {
    const path = join(await newFolder(), "a-file");
    await writeFile(path, "mine");
    const error = await failureOf(small(), path);
    expect(error).toMatchObject({ _tag: "SinkError", reason: "Open" });
    expect(error.message).toBe(
      `Cannot open ${path}: a file of that name is in the way: choose another place, or remove it`,
    );
    expect(await readFile(path, "utf8")).toBe("mine");
  });

  it("is used by one process at a time", async () => {
    const root = await newFolder();
    const sandbox = small({ faults: { latencyMs: 20 } });
    const fiber = Effect.runFork(exportOf(sandbox, root));
    await Effect.runPromise(Effect.repeat(Effect.sleep(1), { until: () => sandbox.counts.total > 1 }));
    const error = await failureOf(sandbox, root, { mode: "resume" });
    expect(error).toMatchObject({ _tag: "DatasetError", reason: "Locked" });
    expect(error.message).toMatch(
      onDeno
        ? /: process \d+, since \S+, is writing there\. Wait until it ends, or choose another folder$/
        : /: process \d+ on \S+, since \S+, is writing there\. Wait until it ends, or choose another folder$/,
    );
    await Effect.runPromise(Fiber.join(fiber));
    for (const keys of await keysInEach(root)) expect(keys).toEqual(keysOf(sandbox));
    await rm(root, { recursive: true });
  });
});
