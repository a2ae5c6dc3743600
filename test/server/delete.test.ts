/** Exports that have ended are removed: all of one or nothing, nothing beside it, and nobody is cut off. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { make } from "../../src/sandbox/mod.ts";
import { make as makeServer } from "../../src/server/mod.ts";
import type { Summary } from "../../src/server/jobs/Job.ts";
import { filesIn, intercepted, tenant, until } from "../cli/command.ts";
import { makeStrange, outsideOf } from "../dataset/hostile.ts";
import { choices, exportInto } from "../dataset/written.ts";
import { newFolder } from "../folders.ts";
import { ended, runtimes, serve, type Serving, startExport, stop, token, view } from "./serving.ts";
import { isLong } from "../size.ts";

const idOf = (number: number) => `20261124T061500000Z-${String(number).padStart(12, "0")}`;

/** A folder with so many exports that are done, and what each of them holds. */
const exportsIn = async (count: number, sessionsPerUser = 30) => {
  const folder = join(await newFolder(), "exports");
  const dataset = join(await newFolder(), "data");
  await exportInto(make({ users: 4, sessionsPerUser }), dataset, {
    formats: choices("csv", "ndjson"),
    partRows: 10,
  });
  for (let number = 0; number < count; number++) {
    const id = idOf(number);
    await mkdir(join(folder, id), { recursive: true });
    await cp(dataset, join(folder, id, "data"), { recursive: true });
    const description = { users: ["a"], formats: ["csv", "ndjson"] };
    await writeFile(
      join(folder, id, "job.json"),
      JSON.stringify({ id, created: "2026-11-24T06:15:00.000Z", description }),
    );
    await writeFile(join(folder, id, "status.json"), JSON.stringify({ status: "done" }));
  }
  return { folder, dataset, whole: await filesIn(join(folder, idOf(0), "data")) };
};

const remove = ({ ask }: Serving, id: string, query = "") =>
  ask(`/v1/exports/${id}${query}`, { method: "DELETE" });

const idsOf = async ({ ask }: Serving): Promise<ReadonlyArray<string>> =>
  (await (await ask("/v1/exports?limit=1000")).json()).map(({ id }: Summary) => id);

const isReady = ({ ask }: Serving) => until(async () => (await ask("/ready")).ok, "it is ready");

const namesIn = async (folder: string) => (await readdir(folder)).filter((name) => !name.includes("lock"));

describe.each(runtimes)("on %s", (runtime) => {
  it("one that is done, failed or cancelled is removed with its files, and then there is none", async () => {
    const { env } = await tenant({ users: 60, sessionsPerUser: 20 });
    const folder = await newFolder();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: folder, MONOCLOUD_RATE: "60" });
    const cancelled = await startExport(server, { users: "all", formats: ["csv"] });
    await until(async () => (await view(server, cancelled)).status === "running", "it runs");
    // Which of the two is meant can be said: then the other is not done.
    expect((await remove(server, cancelled, "?expect=ended")).status).toBe(409);
    const stopped = await remove(server, cancelled, "?expect=open");
    expect([stopped.status, await stopped.json()]).toMatchObject([200, { status: "cancelled" }]);
    expect((await remove(server, cancelled, "?expect=open")).status).toBe(409);
    expect(existsSync(join(folder, cancelled, "data"))).toBe(true);
    const done = await startExport(server, { users: "all", formats: ["csv"] });
    const failed = await startExport(server, { users: ["nobody"], formats: ["csv"] });
    await ended(server, done, "done");
    await ended(server, failed, "failed");
    for (const [index, id] of [cancelled, done, failed].entries()) {
      const answer = await remove(server, id, ["?expect=ended", ""][index % 2]);
      expect([answer.status, await answer.text()]).toEqual([204, ""]);
      for (const path of [id, `${id}/manifest.json`, `${id}/events`]) {
        expect((await server.ask(`/v1/exports/${path}`)).status).toBe(404);
      }
      expect((await server.ask(`/v1/exports/${id}/resume`, { method: "POST" })).status).toBe(404);
      expect((await remove(server, id)).status).toBe(404);
      expect(await idsOf(server)).not.toContain(id);
    }
    expect(await namesIn(folder)).toEqual([]);
    // Many at once are removed one by one, and each once.
    const many = await Promise.all(
      Array.from({ length: 8 }, () => startExport(server, { users: ["nobody"], formats: ["csv"] })),
    );
    for (const id of many) await ended(server, id, "failed");
    const answers = await Promise.all([...many, ...many].map((id) => remove(server, id, "?expect=ended")));
    expect(answers.map(({ status }) => status).sort()).toEqual([
      ...Array(8).fill(204),
      ...Array(8).fill(404),
    ]);
    expect(await namesIn(folder)).toEqual([]);
    expect(await (await server.ask("/metrics")).text()).toContain('monocloud_exports{status="done"} 0');
    await stop(server);
    const next = await serve(runtime, { ...env, WORKER_FOLDER: folder });
    await isReady(next);
    expect(await idsOf(next)).toEqual([]);
  });

  it("a download of its file that has begun ends whole", async () => {
    const { env } = await tenant({ users: 5, sessionsPerUser: 6000, maxSize: 1000 });
    const folder = await newFolder();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: folder, MONOCLOUD_RATE: "1000" });
    const id = await startExport(server, { users: "all", formats: ["ndjson"], page_size: 1000 });
    const { parts: [part] } = await ended(server, id, "done");
    const answer = await server.ask(`/v1/exports/${id}/${part!.path}`);
    const reader = answer.body!.getReader();
    const first = await reader.read();
    expect((await remove(server, id)).status).toBe(204);
    expect(await namesIn(folder)).toEqual([]);
    const hash = createHash("sha256");
    for (let next = first; !next.done; next = await reader.read()) hash.update(next.value);
    expect(hash.digest("hex")).toBe(part!.sha256);
    expect((await server.ask(`/v1/exports/${id}/${part!.path}`)).status).toBe(404);
  });

  it("killed at any moment it is whole, or it is gone with all that was its own", async () => {
    const COUNT = 24;
    const { folder, whole } = await exportsIn(COUNT);
    const { env } = await tenant();
    let left = Array.from({ length: COUNT }, (_, number) => idOf(number));
    let gone = 0;
    for (const milliseconds of isLong ? [0, 3, 10, 60] : [3, 60]) {
      const server = await serve(runtime, { ...env, WORKER_FOLDER: folder });
      await isReady(server);
      const removing = left.slice(0, 6).map((id) => remove(server, id).catch(() => undefined));
      await new Promise((resume) => setTimeout(resume, milliseconds));
      await stop(server, "SIGKILL");
      const answers = await Promise.all(removing);
      const next = await serve(runtime, { ...env, WORKER_FOLDER: folder });
      await isReady(next);
      const listed = await idsOf(next);
      expect((await namesIn(folder)).sort()).toEqual([...listed].sort());
      answers.forEach((answer, index) => {
        if (answer?.status === 204) expect(listed).not.toContain(left[index]);
      });
      for (const id of listed) expect(await filesIn(join(folder, id, "data"))).toEqual(whole);
      gone += left.length - listed.length;
      left = left.filter((id) => listed.includes(id));
      await stop(next);
    }
    expect(gone).toBeGreaterThan(0);
  }, 120_000);

  it("links within it lead to nothing that is removed, and one that is a link itself is refused", async () => {
    const { folder, dataset } = await exportsIn(3);
    const at = (number: number, name = "") => join(folder, idOf(number), name);
    const { env } = await tenant();
    const { look } = await outsideOf(folder, dataset);
    const before = await look();
    await makeStrange(folder, `${idOf(0)}/data/csv`, "link to a folder");
    await makeStrange(folder, `${idOf(0)}/data/ndjson/part-00000.ndjson`, "link");
    await makeStrange(folder, `${idOf(0)}/data/pipe`, "pipe");
    const server = await serve(runtime, { ...env, WORKER_FOLDER: folder });
    await isReady(server);
    await rename(at(1), join(folder, "elsewhere"));
    await makeStrange(folder, idOf(1), "link to a folder");
    const refused = await remove(server, idOf(1));
    expect([refused.status, (await refused.json()).detail]).toEqual([
      503,
      expect.stringContaining("is damaged: it is a symbolic link"),
    ]);
    expect(await idsOf(server)).toContain(idOf(1));
    expect((await remove(server, idOf(0))).status).toBe(204);
    expect(existsSync(at(0))).toBe(false);
    expect(await look()).toBe(before);
    await stop(server);
    // What was left of one that was removed may have been replaced as well.
    await makeStrange(folder, `${idOf(2)}.deleted`, "link to a folder");
    const next = await serve(runtime, { ...env, WORKER_FOLDER: folder });
    await isReady(next);
    expect((await readdir(folder)).filter((name) => name.endsWith(".deleted"))).toEqual([]);
    expect(await look()).toBe(before);
  });

  it("resumed and removed at once, it is one of the two, and never half of each", async () => {
    const sandbox = make({ users: 3, sessionsPerUser: 5 });
    const { env } = await intercepted(
      sandbox,
      () => Response.json({ title: "Unauthorized" }, { status: 401 }),
    );
    const folder = await newFolder();
    const server = await serve(runtime, { ...env, WORKER_FOLDER: folder });
    const outcomes = new Set<string>();
    for (let round = 0; round < 12; round++) {
      const id = await startExport(server, { users: [...sandbox.userIds()], formats: ["csv"] });
      await ended(server, id, "failed");
      const resume = () => server.ask(`/v1/exports/${id}/resume`, { method: "POST" });
      const both = round % 2 === 0
        ? [resume(), remove(server, id, "?expect=ended")]
        : [remove(server, id, "?expect=ended"), resume()].reverse();
      const [resumed, removed] = (await Promise.all(both)).map(({ status }) => status);
      outcomes.add(`${resumed} ${removed}`);
      // Both may be done one after the other: it is resumed, fails again, and is removed.
      expect([`${resumed} ${removed}`]).toEqual([expect.stringMatching(/^(202 409|404 204|202 204)$/)]);
      if (removed === 204) expect((await server.ask(`/v1/exports/${id}`)).status).toBe(404);
      else await ended(server, id, "failed");
      expect(existsSync(join(folder, id))).toBe(removed !== 204);
    }
    expect(outcomes.size).toBeGreaterThan(0);
  });
});

it("whatever is left of a removal that was cut, the next server lists none of it and removes it", async () => {
  const { folder, whole } = await exportsIn(2);
  const sandbox = make({ users: 1 });
  const names = Object.keys(await filesIn(join(folder, idOf(0))));
  const copy = join(await newFolder(), "copy");
  await cp(join(folder, idOf(0)), copy, { recursive: true });
  await rm(join(folder, idOf(0)), { recursive: true });
  await fc.assert(
    fc.asyncProperty(fc.subarray(names), async (gone) => {
      const leftover = join(folder, `${idOf(0)}.deleted`);
      await cp(copy, leftover, { recursive: true });
      for (const name of gone) await rm(join(leftover, name));
      const { fetch, stop } = await makeServer({
        ...{ domain: "sandbox.example", apiKey: sandbox.key, token, folder },
        fetch: (input, init) => sandbox.fetch(new Request(input, init)),
      });
      onTestFinished(stop);
      const headers = { authorization: `Bearer ${token}` };
      const ask = (path: string) => fetch(new Request(`http://localhost${path}`, { headers }));
      await until(async () => (await ask("/ready")).ok, "it is ready");
      expect(await (await ask("/v1/exports")).json()).toMatchObject([{ id: idOf(1), status: "done" }]);
      expect(await namesIn(folder)).toEqual([idOf(1)]);
      expect(await filesIn(join(folder, idOf(1), "data"))).toEqual(whole);
      await stop();
    }),
    { numRuns: 15 },
  );
});

it("one that can't be moved out of the way is told so, and stays whole", async () => {
  const { folder } = await exportsIn(1);
  const { env } = await tenant();
  const server = await serve("Node", { ...env, WORKER_FOLDER: folder });
  await isReady(server);
  // A folder that is not empty has the name that the removal wants.
  const inTheWay = join(folder, `${idOf(0)}.deleted`);
  await mkdir(inTheWay);
  await writeFile(join(inTheWay, "file"), "");
  const refused = await remove(server, idOf(0));
  expect([refused.status, await idsOf(server)]).toEqual([503, [idOf(0)]]);
  expect(await readFile(join(folder, idOf(0), "status.json"), "utf8")).toContain("done");
  await stop(server);
  const next = await serve("Node", { ...env, WORKER_FOLDER: folder });
  await isReady(next);
  expect((await remove(next, idOf(0))).status).toBe(204);
  expect(await namesIn(folder)).toEqual([]);
});
