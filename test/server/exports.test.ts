/** Exports that the server runs into its folder, on both runtimes. */
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Summary, View } from "../../src/server/jobs/Job.ts";
import { make } from "../../src/sandbox/mod.ts";
import { begin, intercepted, keysIn, keysOf, tenant, until } from "../cli/command.ts";
import { problemsOf } from "../dataset/written.ts";
import { keysFrom, keysInEach, parquetTable } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { ended, runtimes, serve, type Serving, startExport, stop, view } from "./serving.ts";
import { oneIn } from "../size.ts";

/** The events of a stream, to its end. */
const eventsOf = async ({ ask }: Serving, id: string): Promise<ReadonlyArray<Summary>> => {
  const text = await (await ask(`/v1/exports/${id}/events`)).text();
  return [...text.matchAll(/^event: export\ndata: (.*)$/gm)].map(([, data = ""]) => JSON.parse(data));
};

const post = ({ ask }: Serving, path: string, body?: unknown) =>
  ask(path, { method: "POST", ...(body !== undefined && { body: JSON.stringify(body) }) });

const partsOf = ({ parts }: View) => parts.filter(({ format }) => format === "ndjson").length;

describe.each(runtimes)("on %s", (runtime) => {
  it("an export becomes a dataset that can be downloaded, and is told of as it goes on", async () => {
    const { sandbox, env } = await tenant({ users: 60, sessionsPerUser: 40 });
    const folder = await newFolder();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: folder, MONOCLOUD_RATE: "200" });
    const id = await startExport(server, {
      users: "all",
      formats: ["ndjson", "csv", "parquet"],
      part_rows: 1000,
    });
    const events = await eventsOf(server, id);
    expect(events.at(-1)).toMatchObject({
      id,
      status: "done",
      users: "all",
      progress: { users: 60, sessions: 2400 },
    });
    expect(events.length).toBeGreaterThan(2);
    const sessions = events.map(({ progress }) => progress?.sessions ?? 0);
    expect(sessions).toEqual([...sessions].sort((one, other) => one - other));

    const done = await ended(server, id, "done");
    expect(done).toMatchObject({
      report: { sessions: 2400, verified: true, kind: "full" },
      description: { users: "all" },
    });
    expect(await keysInEach(join(folder, id, "data"))).toEqual(Array(3).fill(keysOf(sandbox)));
    const texts: Array<string> = [];
    for (const { path, bytes } of done.parts) {
      const answer = await server.ask(`/v1/exports/${id}/${path}`);
      expect(answer.headers.get("content-length")).toBe(String(bytes));
      const body = new Uint8Array(await answer.arrayBuffer());
      expect(body.length).toBe(bytes);
      if (path.startsWith("ndjson")) texts.push(new TextDecoder().decode(body));
      else if (path.startsWith("parquet")) {
        const copy = join(folder, ".copy.parquet");
        await writeFile(copy, body);
        expect((await keysFrom(parquetTable(copy))).length).toBeGreaterThan(0);
      }
    }
    expect(keysIn(texts.join(""))).toEqual(keysOf(sandbox));
    const complete = `monocloud_downloads_total{outcome="complete"} ${done.parts.length}\n`;
    await until(
      async () => (await (await server.ask("/metrics")).text()).includes(complete),
      "all are counted as complete",
    );
    const manifest = await (await server.ask(`/v1/exports/${id}/manifest.json`)).json();
    expect(manifest.parts.length).toBeGreaterThan(done.parts.length);
    const head = await server.ask(`/v1/exports/${id}/${done.parts[0]!.path}`, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, String(done.parts[0]!.bytes)]);
    expect(await (await server.ask("/v1/exports")).json()).toMatchObject([{ id, status: "done" }]);
    expect((await post(server, `/v1/exports/${id}/resume`)).status).toBe(409);
    expect((await server.ask(`/v1/exports/${id}?expect=open`, { method: "DELETE" })).status).toBe(409);
  });

  it("one that is cancelled keeps what has come, and is resumed from there", async () => {
    const { sandbox, env } = await tenant({ users: 80, sessionsPerUser: 20, faults: { latencyMs: 10 } });
    const folder = await newFolder();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: folder, MONOCLOUD_RATE: "60" });
    const id = await startExport(server, {
      users: [...sandbox.userIds()],
      formats: ["ndjson"],
      part_rows: 200,
    });
    await until(async () => partsOf(await view(server, id)) > 0, "a part is complete");
    const cancelled = await server.ask(`/v1/exports/${id}`, { method: "DELETE" });
    expect(await cancelled.json()).toMatchObject({ id, status: "cancelled", users: 80 });
    const { progress } = await view(server, id);
    const asked = sandbox.counts.total;
    await new Promise((resume) => setTimeout(resume, 300));
    expect(sandbox.counts.total).toBe(asked);
    expect((await post(server, `/v1/exports/${id}/resume`)).status).toBe(202);
    const done = await ended(server, id, "done");
    expect(done.report!.sessions).toBe(1600);
    expect(progress!.users).toBeGreaterThan(5);
    // What had come was not asked for again: a walk under way at most goes one page back.
    expect(sandbox.counts.total).toBeLessThan(80 + 30);
    expect(keysOf(sandbox)).toEqual(
      await keysFrom(
        `read_json('${folder}/${id}/data/ndjson/*.ndjson', columns = {user_id: 'VARCHAR', session_id: 'VARCHAR'})`,
      ),
    );
  });

  it.each(oneIn(2, ["SIGKILL", "SIGTERM"]))(
    "after %s the next server completes what was under way, and what was waiting",
    async (signal) => {
      const { sandbox, env } = await tenant({ users: 120, sessionsPerUser: 20 });
      const folder = await newFolder();
      const settings = { ...env, WORKER_FOLDER: folder, MONOCLOUD_RATE: "80", WORKER_EXPORTS: "1" };
      const first = await serve(runtime, settings);
      const description = { users: "all", formats: ["ndjson", "csv", "parquet"], part_rows: 300 };
      const [one, two] = [await startExport(first, description), await startExport(first, description)];
      await until(async () => partsOf(await view(first, one)) > 1, "two parts are complete");
      const { code } = await stop(first, signal);
      expect(code).toBe(signal === "SIGKILL" ? null : 0);
      const between = sandbox.counts.total;

      const second = await serve(runtime, { ...settings, MONOCLOUD_RATE: "1000" });
      await until(
        async () => (await second.ask("/ready")).status === 200,
        "the folder is the second server's",
      );
      for (const id of [one, two]) {
        expect((await ended(second, id, "done")).report).toMatchObject({
          users: 120,
          sessions: 2400,
          verified: true,
        });
        expect(await keysInEach(join(folder, id, "data"))).toEqual(Array(3).fill(keysOf(sandbox)));
        expect(await problemsOf(join(folder, id, "data"))).toEqual([]);
      }
      // The first was gone on with, and not begun anew.
      expect(sandbox.counts.total - between).toBeLessThan(2 * 120);
      expect((await (await second.ask("/v1/exports")).json()).map(({ id }: Summary) => id)).toEqual([
        two,
        one,
      ]);
    },
    240_000,
  );

  it("whoever watches one does not keep the server from stopping", async () => {
    const { env } = await tenant({ users: 100 });
    const server = await serve(runtime, { ...env, WORKER_FOLDER: await newFolder(), MONOCLOUD_RATE: "10" });
    const id = await startExport(server, { users: "all", formats: ["csv"] });
    const watching = (await server.ask(`/v1/exports/${id}/events`)).body!.getReader();
    await watching.read();
    const began = Date.now();
    expect(await stop(server)).toMatchObject({ code: 0 });
    expect(Date.now() - began).toBeLessThan(5_000);
    await watching.cancel().catch(() => {});
  });

  it("so many run, so many wait, and one more is asked to come back", async () => {
    const { env } = await tenant({ users: 30, sessionsPerUser: 5, faults: { latencyMs: 50 } });
    const server = await serve(runtime, {
      ...env,
      WORKER_FOLDER: await newFolder(),
      WORKER_EXPORTS: "2",
      WORKER_QUEUE: "3",
      MONOCLOUD_RATE: "30",
    });
    const answers = await Promise.all(
      Array.from({ length: 12 }, () => post(server, "/v1/exports", { users: "all", formats: ["csv"] })),
    );
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([...Array(5).fill(202), ...Array(7).fill(429)]);
    expect(answers.find(({ status }) => status === 429)!.headers.get("retry-after")).toBe("30");
    const list: ReadonlyArray<Summary> = await (await server.ask("/v1/exports")).json();
    const count = (wanted: string) => list.filter(({ status }) => status === wanted).length;
    expect([list.length, count("running"), count("queued")]).toEqual([5, 2, 3]);
    const page: ReadonlyArray<Summary> = await (await server.ask(`/v1/exports?limit=2&before=${list[1]!.id}`))
      .json();
    expect(page.map(({ id }) => id)).toEqual(list.slice(2, 4).map(({ id }) => id));
    // One that waits is cancelled at once, and leaves its place to another.
    const waiting = list.find(({ status }) => status === "queued")!.id;
    expect(await (await server.ask(`/v1/exports/${waiting}`, { method: "DELETE" })).json()).toMatchObject({
      status: "cancelled",
    });
    expect((await post(server, "/v1/exports", { users: "all", formats: ["csv"] })).status).toBe(202);
    const metrics = await (await server.ask("/metrics")).text();
    expect(metrics).toContain('monocloud_exports{status="cancelled"} 1');
    expect(metrics).toMatch(/monocloud_exports\{status="running"\} 2/);
  });

  it("one that the tenant refuses has failed, says why, and is resumed once it may", async () => {
    const sandbox = make({ users: 5, sessionsPerUser: 10 });
    let isRefused = true;
    const { env } = await intercepted(
      sandbox,
      () => isRefused ? Response.json({ title: "Unauthorized" }, { status: 401 }) : undefined,
    );
    const folder = await newFolder();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: folder });
    const id = await startExport(server, { users: [...sandbox.userIds()], formats: ["ndjson"] });
    const failed = await ended(server, id, "failed");
    expect(failed.error).toMatchObject({
      reason: "ApiError.Unauthorized",
      message: expect.stringContaining("401"),
    });
    expect(JSON.stringify(failed)).not.toContain(sandbox.key);
    // The next server knows of it, and leaves it as it is.
    await stop(server);
    const next = await serve(runtime, { ...env, WORKER_FOLDER: folder });
    expect((await view(next, id)).status).toBe("failed");
    // What can't be written down has not happened.
    const status = join(folder, id, "status.json");
    const before = await readFile(status, "utf8");
    await rm(status);
    await mkdir(status);
    expect((await post(next, `/v1/exports/${id}/resume`)).status).toBe(503);
    expect((await view(next, id)).status).toBe("failed");
    await rmdir(status);
    await writeFile(status, before);
    isRefused = false;
    expect((await post(next, `/v1/exports/${id}/resume`)).status).toBe(202);
    expect((await ended(next, id, "done")).report).toMatchObject({ users: 5, sessions: 50 });
  });

  it("one that can't be written down is refused, and nothing of it stays", async () => {
    const { env } = await tenant();
    const folder = await newFolder();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: folder }, { fileKiB: 80 });
    const users = Array.from({ length: 10_000 }, (_, index) => `user-${index}`);
    const refused = await post(server, "/v1/exports", { users, formats: ["csv"] });
    expect([refused.status, (await refused.json()).detail]).toEqual([
      503,
      expect.stringContaining("job.json"),
    ]);
    expect(await (await server.ask("/v1/exports")).json()).toEqual([]);
    expect((await readdir(folder)).filter((name) => !name.includes("lock"))).toEqual([]);
    expect((await post(server, "/v1/exports", { users: "all", formats: ["csv"] })).status).toBe(202);
  });

  it("one that is resumed by several at once runs once, and stays cancelled if it is", async () => {
    const { sandbox, env } = await tenant({ users: 60, sessionsPerUser: 20 });
    const folder = await newFolder();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: folder, MONOCLOUD_RATE: "20" });
    const id = await startExport(server, { users: "all", formats: ["ndjson"] });
    const cancel = async () =>
      (await (await server.ask(`/v1/exports/${id}`, { method: "DELETE" })).json()).status;
    for (let round = 0; round < 3; round++) {
      await until(async () => (await view(server, id)).status === "running", "it runs");
      expect(await cancel()).toBe("cancelled");
      // One that is being started is written to the disk first: all that come meanwhile wait for it.
      const starting = post(server, "/v1/exports", {
        users: Array.from({ length: 50_000 }, (_, index) => `user-${index}`),
        formats: ["csv"],
      });
      const answers = await Promise.all(
        Array.from({ length: 8 }, () => post(server, `/v1/exports/${id}/resume`)),
      );
      expect(answers.map(({ status }) => status).sort()).toEqual([202, ...Array(7).fill(409)]);
      const other = (await (await starting).json()).id;
      await server.ask(`/v1/exports/${other}`, { method: "DELETE" });
    }
    await until(async () => (await view(server, id)).status === "running", "it runs");
    expect(await cancel()).toBe("cancelled");
    const asked = sandbox.counts.total;
    await new Promise((resume) => setTimeout(resume, 500));
    expect([sandbox.counts.total, (await view(server, id)).status]).toEqual([asked, "cancelled"]);
  });

  it("a part whose reader stops is broken off", async () => {
    const { env } = await tenant({ users: 5, sessionsPerUser: 6000, maxSize: 1000 });
    const server = await serve(runtime, {
      ...env,
      WORKER_FOLDER: await newFolder(),
      WORKER_IDLE_SECONDS: "1",
      MONOCLOUD_RATE: "1000",
    });
    const id = await startExport(server, { users: "all", formats: ["ndjson"], page_size: 1000 });
    const { parts } = await ended(server, id, "done");
    const answer = await server.ask(`/v1/exports/${id}/${parts[0]!.path}`);
    expect(Number(answer.headers.get("content-length"))).toBeGreaterThan(12e6);
    const metrics = async () => (await server.ask("/metrics")).text();
    await until(async () => (await metrics()).includes('{outcome="aborted"} 1'), "it is broken off");
    await expect(answer.arrayBuffer()).rejects.toThrow();
  });

  it("takes each format once, compressed or not", async () => {
    const { env } = await tenant();
    const folder = await newFolder();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: folder });
    for (const formats of [["ndjson", "ndjson"], ["csv", "csv.gz"], ["parquet", "csv.gz", "csv.gz"]]) {
      const refused = await post(server, "/v1/exports", { users: "all", formats });
      expect([refused.status, await refused.text()]).toEqual([400, expect.stringContaining("named once")]);
    }
    const id = await startExport(server, { users: "all", formats: ["ndjson.gz", "csv", "parquet"] });
    await ended(server, id, "done");
    expect(await problemsOf(join(folder, id, "data"))).toEqual([]);
  });

  it("redacts as it is told, and says what it lacks for it", async () => {
    const { env } = await tenant({ users: 2 });
    const description = { users: "all", formats: ["ndjson"], redact: { ip: "hash", user_agent: "drop" } };
    const without = await serve(runtime, { ...env, WORKER_FOLDER: await newFolder() });
    const refused = await post(without, "/v1/exports", description);
    expect([refused.status, (await refused.json()).detail]).toEqual([
      400,
      expect.stringContaining("MONOCLOUD_REDACT_SECRET"),
    ]);
    const folder = await newFolder();
    const server = await serve(runtime, {
      ...env,
      WORKER_FOLDER: folder,
      MONOCLOUD_REDACT_SECRET: "s".repeat(32),
    });
    const id = await startExport(server, description);
    const { parts } = await ended(server, id, "done");
    const text = await (await server.ask(`/v1/exports/${id}/${parts[0]!.path}`)).text();
    for (const line of text.trim().split("\n")) {
      const { last_metadata } = JSON.parse(line);
      if (last_metadata == null) continue;
      expect(last_metadata.user_agent ?? null).toBe(null);
      expect(last_metadata.ip_address ?? "0".repeat(64)).toMatch(/^[0-9a-f]{64}$/);
    }
  });
});

it("a folder that another server, or an export, is at work in is waited for", async () => {
  const { env } = await tenant({ users: 2 });
  const folder = await newFolder();
  const first = await serve("Node", { ...env, WORKER_FOLDER: folder });
  const second = await serve("Node", { ...env, WORKER_FOLDER: folder });
  const ready = await second.ask("/ready");
  expect([ready.status, (await ready.json()).detail]).toEqual([
    503,
    expect.stringContaining("is writing there"),
  ]);
  expect((await post(second, "/v1/exports", { users: "all", formats: ["csv"] })).status).toBe(503);
  // An export of the command line does not mistake the server's folder for its own.
  const { code, err } = await begin(["export", "--all-users", "--out", folder, "--format", "csv"], { env })
    .done;
  expect({ code, err }).toEqual({ code: 75, err: expect.stringContaining(folder) });
  await stop(first);
  await until(async () => (await second.ask("/ready")).status === 200, "the folder is the second server's");
});

it("a server that had to wait for its folder keeps it until its exports are cut", async () => {
  const { env } = await tenant({ users: 200, sessionsPerUser: 20 });
  const folder = await newFolder();
  const first = await serve("Node", { ...env, WORKER_FOLDER: folder });
  const second = await serve("Node", { ...env, WORKER_FOLDER: folder, MONOCLOUD_RATE: "40" });
  await stop(first);
  await until(async () => (await second.ask("/ready")).status === 200, "the folder is the second server's");
  const id = await startExport(second, { users: "all", formats: ["ndjson", "csv", "parquet"] });
  await until(async () => ((await view(second, id)).progress?.users ?? 0) > 20, "it is under way");
  second.running.kill("SIGTERM");
  let isOver = false;
  void second.running.done.then(() => (isOver = true));
  let alone = 0;
  while (!isOver) {
    const isCut = !existsSync(join(folder, id, "data", "lock.json"));
    if (!existsSync(join(folder, "lock.json")) && !isCut) alone++;
    await new Promise((resume) => setTimeout(resume));
  }
  expect(alone).toBe(0);
});
