/** Exports in a thread of Node, over a tenant on loopback. */
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { gunzipSync } from "node:zlib";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Redacted from "effect/Redacted";
import { describe, expect, it } from "vitest";
import type { Progress } from "../../src/export/Export.ts";
import { builtInNames } from "../../src/format/Formats.ts";
import * as FileSink from "../../src/sink/FileSink.ts";
import { type Sink, SinkError } from "../../src/sink/Sink.ts";
import { Thread } from "../../src/thread/effect.ts";
import { until } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import {
  entry,
  failure,
  inThread,
  memory,
  run,
  scripted,
  spawner,
  tenantOf,
  ThreadError,
} from "./threads.ts";

const runIn = (options: Thread.ExportOptions, thread: Thread.ThreadOptions = spawner().options) =>
  Effect.flatMap(Thread.make(thread), ({ run }) => run(options));

const pause = (millis: number) => new Promise((resume) => setTimeout(resume, millis));

/** Waits until the tenant has not been asked for a while; gives how often it was. */
const silence = async (counts: () => number): Promise<number> => {
  for (let before = -1; before !== counts();) {
    before = counts();
    await pause(400);
  }
  return counts();
};

describe("an export in a thread", () => {
  it("gives the bytes and the report that one in this thread gives, in every format", async () => {
    const { users, tenant } = await tenantOf({ unknownFields: true, malformed: 0.02 });
    const options = (places: ReadonlyArray<ReturnType<typeof memory>>): Thread.ExportOptions => ({
      tenant,
      users,
      // One request at a time, so that the users come in the same order.
      walk: { concurrency: 1 },
      targets: [
        ...builtInNames.map((format, index) => ({ format, to: places[index]!.output })),
        { format: "csv", gzip: true, to: places[3]!.output },
      ],
      quarantine: places[4]!.output,
      csv: { escapeFormulas: false },
      parquet: { rowGroupRows: 200, codec: "uncompressed", version: 2 },
    });
    const [here, there] = [0, 1].map(() =>
      ["ndjson", "csv", "parquet", "csv.gz", "rejects"].map((name) => memory(name))
    );
    const expected = await run(inThread(options(here!)));
    const report = await run(runIn(options(there!)));
    for (const index of [0, 1, 2, 4]) expect(there![index]!.bytes()).toEqual(here![index]!.bytes());
    expect(gunzipSync(there![3]!.bytes())).toEqual(here![1]!.bytes());
    expect(there!.map(({ state }) => state())).toEqual(Array(5).fill("committed"));
    expect(report).toEqual({ ...expected, seconds: report.seconds, userListUnverifiedReasons: [] });
    expect(report.quarantined).toBeGreaterThan(0);
  });

  it("hands over buffers that were transferred, not copied", async () => {
    const { users, tenant } = await tenantOf();
    const seen: Array<Uint8Array> = [];
    const { output } = memory("sessions");
    const watching: Sink = {
      ...output,
      open: Effect.map(output.open, (sink) => ({
        ...sink,
        write: (bytes) => {
          seen.push(bytes);
          return sink.write(bytes);
        },
      })),
    };
    await run(runIn({ tenant, users, targets: [{ format: "ndjson", to: watching }] }));
    // A copied view would bring along or share the buffer of the message it came in.
    expect(new Set(seen.map(({ buffer }) => buffer)).size).toBe(seen.length);
    for (const bytes of seen) expect(bytes.byteLength).toBe(bytes.buffer.byteLength);
  });

  it("writes files by itself, the quarantined rows too, and beside them into an output of this thread", async () => {
    const { users, tenant, sandbox } = await tenantOf({ malformed: 0.05 });
    const folder = await newFolder();
    const here = memory("csv");
    const report = await run(runIn({
      tenant,
      users: "all",
      targets: [
        { format: "parquet", to: join(folder, "s.parquet") },
        { format: "csv", to: here.output },
        { format: "ndjson", gzip: true, to: join(folder, "s.ndjson.gz") },
      ],
      quarantine: join(folder, "quarantined.ndjson"),
    }));
    expect((await readdir(folder)).sort()).toEqual(["quarantined.ndjson", "s.ndjson.gz", "s.parquet"]);
    const lines = gunzipSync(await readFile(join(folder, "s.ndjson.gz"))).toString().trim().split("\n");
    expect(lines).toHaveLength(report.sessions);
    expect(here.bytes().toString().trim().split("\r\n").length).toBe(report.sessions + 1);
    expect(report.sessions + report.quarantined).toBe(
      users.reduce((sum, id) => sum + sandbox.sessionCount(id), 0),
    );
    expect(report.files.map(({ name, format }) => [name.split("/").at(-1), format])).toEqual([
      ["quarantined.ndjson", "quarantine"],
      ["s.parquet", "parquet"],
      ["csv", "csv"],
      ["s.ndjson.gz", "ndjson"],
    ]);
    for (const { sha256, name } of report.files) {
      if (name !== "csv") expect(sha256).toMatch(/^[0-9a-f]{64}$/);
    }
  });

  it("redacts in the thread", async () => {
    const { users, tenant } = await tenantOf();
    const place = memory("ndjson");
    const secret = "a secret of at least thirty-two bytes";
    const redact = { policy: { ip: "hash", user_agent: "drop" }, secret } as const;
    await run(runIn({ tenant, users, redact, targets: [{ format: "ndjson", to: place.output }] }));
    const [line] = place.bytes().toString().split("\n").filter((line) => line.includes("ip_address"));
    expect(JSON.parse(line!).last_metadata).toMatchObject({
      ip_address: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(JSON.parse(line!).last_metadata.user_agent ?? null).toBeNull();
  });

  it("tells its progress, which ends where the report does", async () => {
    const { users, tenant } = await tenantOf({ users: 20, faults: { latencyMs: 20 } });
    const told: Array<Progress> = [];
    const report = await run(runIn({
      tenant,
      users,
      walk: { concurrency: 2 },
      targets: [{ format: "csv", to: memory("csv").output }],
      progressEvery: "20 millis",
      onProgress: (progress) => told.push(progress),
    }));
    expect(told.length).toBeGreaterThan(3);
    expect(told.map(({ sessions }) => sessions)).toEqual(
      told.map(({ sessions }) => sessions).sort((one, other) => one - other),
    );
    expect(told.at(-1)).toMatchObject({ users: 20, usersTotal: 20, sessions: report.sessions });
  });

  it("runs beside another one in the same thread", async () => {
    const { users, tenant } = await tenantOf();
    const { spawn, started } = spawner();
    const places = users.map((user) => memory(user));
    const reports = await run(
      Effect.flatMap(
        Thread.make({ spawn }),
        (thread) =>
          Effect.forEach(
            users,
            (user, index) =>
              thread.run({
                tenant,
                users: [user],
                targets: [{ format: "ndjson", to: places[index]!.output }],
              }),
            {
              concurrency: "unbounded",
            },
          ),
      ),
    );
    expect(started).toHaveLength(1);
    expect(reports.map(({ sessions }) => sessions)).toEqual(users.map(() => 120));
    places.forEach((place, index) => {
      const lines = place.bytes().toString().trim().split("\n");
      expect(new Set(lines.map((line) => JSON.parse(line).user_id))).toEqual(new Set([users[index]]));
    });
  });

  it("leaves no thread behind", async () => {
    const { users, tenant } = await tenantOf();
    const { spawn, started } = spawner();
    await run(runIn({ tenant, users, targets: [{ format: "csv", to: memory("csv").output }] }, { spawn }));
    expect(started[0]!.threadId).toBe(-1);
  });
});

describe("what fails in a thread fails here as the same", () => {
  const same = async (options: Partial<Thread.ExportOptions>, sandbox = {}) => {
    const { users, tenant } = await tenantOf(sandbox);
    const [here, there] = [memory("sessions"), memory("sessions")];
    const all = (place: typeof here): Thread.ExportOptions => ({
      users,
      targets: [{ format: "ndjson", to: place.output }],
      walk: { concurrency: 1 },
      ...options,
      tenant: { ...tenant, maxAttempts: 8, ...options.tenant },
    });
    const expected = await failure(inThread(all(here)));
    const error = await failure(runIn(all(there)));
    expect(error.constructor).toBe(expected.constructor);
    expect({ ...error, message: error.message }).toEqual({ ...expected, message: expected.message });
    expect([here.state(), there.state()]).not.toContain("committed");
    return error;
  };

  it("a key that is refused", async () => {
    const tenant = { apiKey: "not-the-key" } as Thread.ExportOptions["tenant"];
    const error = await same({ tenant });
    expect(error).toMatchObject({ _tag: "ApiError", reason: "Unauthorized", status: 401 });
    expect(JSON.stringify(error) + error.message).not.toContain("not-the-key");
  });

  it("users that the tenant does not know", async () => {
    expect(await same({ users: ["nobody"] })).toMatchObject({ _tag: "ExportError", reason: "NoSuchUsers" });
  });

  it("a row that is not a session", async () => {
    expect(await same({ onInvalid: "fail" }, { malformed: 0.2 })).toMatchObject({
      _tag: "ExportError",
      reason: "InvalidRow",
      row: { page: 1 },
    });
  });

  it("too many rows that are none", async () => {
    expect(await same({ maxQuarantined: { count: 3 } }, { malformed: 0.2 })).toMatchObject({
      _tag: "ExportError",
      reason: "TooManyQuarantined",
    });
  });

  it("a tenant that is down", async () => {
    const faults = { 503: 1, maxInARow: Infinity, retryAfter: "none" };
    expect(await same({}, { faults })).toMatchObject({
      _tag: "ApiError",
      reason: "ServerError",
      attempts: 8,
    });
  });

  it("a domain that is none", async () => {
    const tenant = { domain: "https://acme.example/path" } as Thread.ExportOptions["tenant"];
    expect(await same({ tenant })).toMatchObject({ _tag: "TenantError", reason: "Domain" });
  });

  it("a file in a folder that does not exist", async () => {
    const { users, tenant } = await tenantOf();
    const path = join(await newFolder(), "nowhere", "s.csv");
    const error = await failure(runIn({ tenant, users, targets: [{ format: "csv", to: path }] }));
    const expected = await failure(FileSink.make(path).open);
    expect(error).toBeInstanceOf(SinkError);
    expect(error).toMatchObject({ _tag: "SinkError", reason: "Open", path, message: expected.message });
  });

  it("an option out of range", async () => {
    const { users, tenant } = await tenantOf();
    const targets = [{ format: "csv", to: memory("csv").output }] as const;
    const exit = await Effect.runPromiseExit(
      Effect.scoped(runIn({ tenant, users, targets, walk: { pageSize: 5 } })),
    );
    const error = Exit.isFailure(exit) ? Cause.squash(exit.cause) : undefined;
    expect(error).toMatchObject({
      name: "RangeError",
      message: expect.stringContaining("'pageSize' must be"),
    });
  });

  it("an output of this thread, which ends the walk", async () => {
    const { users, tenant, sandbox } = await tenantOf({ users: 5_000, faults: { latencyMs: 5 } });
    const full = new SinkError({ reason: "Write", path: "here", cause: new Error("no more") });
    const folder = await newFolder();
    const error = await failure(runIn({
      tenant,
      users,
      targets: [
        { format: "ndjson", to: join(folder, "s.ndjson") },
        {
          format: "csv",
          to: {
            name: "here",
            open: Effect.succeed({ write: () => Effect.fail(full), commit: Effect.die("never") }),
          },
        },
      ],
    }));
    expect(error).toBe(full);
    // The file that the thread was writing is gone by now, not some time later.
    expect(await readdir(folder)).toEqual([]);
    const asked = await silence(() => sandbox.counts.total);
    expect(asked).toBeLessThan(2_000);
  });
});

describe("interrupting an export", () => {
  it("ends its requests, and undoes its files and outputs before it returns; the thread goes on", async () => {
    const { users, tenant, sandbox } = await tenantOf({ users: 10_000, faults: { latencyMs: 5 } });
    const folder = await newFolder();
    const place = memory("csv");
    await run(Effect.gen(function* () {
      const { spawn, started } = spawner();
      const thread = yield* Thread.make({ spawn });
      const fiber = yield* Effect.fork(thread.run({
        tenant,
        users,
        targets: [{ format: "ndjson", to: join(folder, "s.ndjson") }, { format: "csv", to: place.output }],
      }));
      yield* Effect.promise(() => until(() => sandbox.counts.total > 50, "the export is under way"));
      expect(yield* Effect.promise(() => readdir(folder))).toHaveLength(1);
      yield* Fiber.interrupt(fiber);
      const asked = sandbox.counts.total;
      expect(yield* Effect.promise(() => readdir(folder))).toEqual([]);
      expect(place.state()).toBe("undone");
      // A request that was on its way may still arrive.
      expect(yield* Effect.promise(() => silence(() => sandbox.counts.total))).toBeLessThanOrEqual(asked + 8);
      const next = memory("next");
      const few = users.slice(0, 3);
      const report = yield* thread.run({ tenant, users: few, targets: [{ format: "csv", to: next.output }] });
      expect(report.users).toBe(3);
      expect(started).toHaveLength(1);
    }));
  });

  it("by closing the thread: nothing is left either", async () => {
    const { users, tenant, sandbox } = await tenantOf({ users: 10_000, faults: { latencyMs: 5 } });
    const folder = await newFolder();
    await run(Effect.gen(function* () {
      const thread = yield* Thread.make(spawner().options);
      const targets = [{ format: "ndjson", to: join(folder, "s.ndjson") }] as const;
      yield* Effect.forkDaemon(thread.run({ tenant, users, targets }));
      yield* Effect.promise(() => until(() => sandbox.counts.total > 50, "the export is under way"));
    }));
    const asked = sandbox.counts.total;
    expect(await silence(() => sandbox.counts.total)).toBeLessThanOrEqual(asked + 8);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("a reader that stands still", () => {
  it("holds back the walk, and gets every byte when it goes on", async () => {
    const { users, tenant, sandbox } = await tenantOf({ users: 200, sessionsPerUser: 200 });
    const place = memory("ndjson");
    let open = () => {};
    const opened = new Promise<void>((resolve) => (open = resolve));
    const standing: Sink = {
      ...place.output,
      open: Effect.map(place.output.open, (sink) => ({
        ...sink,
        write: (bytes) => Effect.zipRight(Effect.promise(() => opened), sink.write(bytes)),
      })),
    };
    const told: Array<Progress> = [];
    const report = run(runIn({
      tenant,
      users,
      targets: [{ format: "ndjson", to: standing }],
      windowBytes: 1 << 20,
      progressEvery: 10,
      onProgress: (progress) => told.push(progress),
    }));
    await until(() => sandbox.counts.total > 10, "the walk has begun");
    const asked = await silence(() => sandbox.counts.total);
    const needed = 200 * 3;
    expect(asked).toBeLessThan(needed / 2);
    // The window, what is gathered for the next message, and the batches that wait before the encoder.
    expect(told.at(-1)?.encodedBytes ?? 0).toBeLessThan((1 << 20) + (1 << 19));
    expect(told.length).toBeLessThan(200);
    open();
    expect((await report).sessions).toBe(40_000);
    expect(place.bytes().toString().trim().split("\n")).toHaveLength(40_000);
  });
});

describe("a thread that ends by itself", () => {
  const crash = async (thread: ReturnType<typeof spawner>, end: () => void) => {
    const { users, tenant, sandbox } = await tenantOf({
      users: 10_000,
      malformed: 0.05,
      faults: { latencyMs: 5 },
    });
    const place = memory("csv");
    const folder = await newFolder();
    const quarantine = join(folder, "quarantined.ndjson");
    const targets = [{ format: "csv", to: place.output }, {
      format: "ndjson",
      to: join(folder, "s.ndjson"),
    }] as const;
    const options = { tenant, users, targets, quarantine };
    return await run(Effect.gen(function* () {
      const { run } = yield* Thread.make(thread.options);
      const fiber = yield* Effect.fork(Effect.flip(run(options)));
      yield* Effect.promise(() => until(() => sandbox.counts.total > 20, "the export is under way"));
      yield* Effect.promise(() =>
        until(async () => (await readdir(folder)).length === 2, "its files are open")
      );
      end();
      const error = yield* Fiber.join(fiber);
      expect(place.state()).toBe("undone");
      expect(yield* Effect.promise(() => readdir(folder))).toEqual([]);
      // The next export gets a new thread.
      const next = memory("next");
      const few = {
        ...options,
        users: users.slice(0, 2),
        targets: [{ format: "csv", to: next.output }],
      } as const;
      expect((yield* run(few)).users).toBe(2);
      expect(thread.started).toHaveLength(2);
      return error;
    }));
  };

  it("when it is terminated", async () => {
    const thread = spawner();
    const error = await crash(thread, () => void thread.started[0]!.terminate());
    expect(error).toBeInstanceOf(ThreadError);
    expect(error).toMatchObject({ _tag: "ThreadError", reason: "Crashed" });
    expect(error.message).toMatch(
      /^The thread ended before the export did: it exited with code 1\. Its unfinished files are removed/,
    );
  });

  const dying = (how: string) =>
    scripted(`import(${JSON.stringify(entry.href)});
      require("node:worker_threads").parentPort.on("message", (message) => {
        if (message === "die") setTimeout(() => { ${how} });
      });`);

  it("by process.exit", async () => {
    const thread = dying("process.exit(7)");
    const error = await crash(thread, () => thread.started[0]!.postMessage("die"));
    expect(error).toMatchObject({ reason: "Crashed", detail: "it exited with code 7" });
  });

  it("by an error that nobody caught, which may quote the key: the error does not", async () => {
    const thread = dying("throw new Error('it read sandbox-key')");
    const error = await crash(thread, () => thread.started[0]!.postMessage("die"));
    expect(error).toMatchObject({ reason: "Crashed", detail: "it read <redacted>" });
  });

  it("for want of memory", async () => {
    const script = `import(${JSON.stringify(entry.href)});
      require("node:worker_threads").parentPort.on("message", (message) => {
        const all = [];
        if (message === "die") for (;;) all.push(new Array(1e5).fill(Math.random()));
      });`;
    const thread = spawner({ eval: true, resourceLimits: { maxOldGenerationSizeMb: 64 } }, script);
    const error = await crash(thread, () => thread.started[0]!.postMessage("die"));
    expect(error).toMatchObject({ reason: "Crashed", detail: expect.stringMatching(/memory limit/) });
  });
});

describe("a thread that does not start", () => {
  it.each([
    ["its module is not there", spawner({}, new URL("nowhere.js", entry)), /nowhere\.js/],
    ["its module fails", scripted("throw new Error('not today')"), /not today/],
    ["its module ends at once", scripted("process.exit(3)"), /code 3/],
  ])("when %s", async (_, thread, words) => {
    const error = await failure(Thread.make(thread.options));
    expect(error).toBeInstanceOf(ThreadError);
    expect(error).toMatchObject({ _tag: "ThreadError", reason: "Spawn" });
    expect(error.message).toMatch(/^Cannot start a thread: .*Check that its module is there/s);
    expect(error.message).toMatch(words);
    await pause(1200);
    expect(thread.started).toHaveLength(1);
  });

  it("when it can't be made at all", async () => {
    const spawn = () => {
      throw new Error("no threads here");
    };
    expect(await failure(Thread.make({ spawn }))).toMatchObject({
      reason: "Spawn",
      detail: "no threads here",
    });
  });
});

it("a thread of another version is told apart", async () => {
  const thread = scripted(`const { parentPort } = require("node:worker_threads");
    parentPort.postMessage([0]);
    parentPort.on("message", ([kind, message]) => {
      if (kind === 1) process.exit();
      parentPort.postMessage([1, [message[0], 0, [{ _tag: "Later", what: "it was asked: " + JSON.stringify(message) }]]]);
    });`);
  const { users, tenant } = await tenantOf();
  const error = await failure(
    runIn({ tenant, users, targets: [{ format: "csv", to: memory("csv").output }] }, thread.options),
  );
  expect(error).toMatchObject({ _tag: "ThreadError", reason: "Protocol" });
  expect(error.message).not.toContain("sandbox-key");
});

it("the key reaches a thread as a message alone: not by its arguments or environment", async () => {
  const { users, tenant } = await tenantOf();
  const apiKey = Redacted.make("sandbox-key");
  const folder = await newFolder();
  await mkdir(folder, { recursive: true });
  const script = `const { argv, env, execArgv } = process;
    const { workerData } = require("node:worker_threads");
    if (JSON.stringify({ argv, env, execArgv, workerData }).includes("sandbox-key")) throw new Error("it is here");
    import(${JSON.stringify(entry.href)});`;
  const targets = [{ format: "csv", to: memory("csv").output }] as const;
  const report = await run(
    runIn({ tenant: { ...tenant, apiKey }, users, targets }, scripted(script).options),
  );
  expect(report.users).toBe(5);
  expect(process.argv.join()).not.toContain("sandbox-key");
});
