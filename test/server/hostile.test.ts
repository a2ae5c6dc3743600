/** A server's folder that does what it can to harm whoever serves it. */
import { cp, mkdir, stat, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { make } from "../../src/sandbox/mod.ts";
import { tenant, until } from "../cli/command.ts";
import { deep, makeStrange, outsideOf, pipe, secret } from "../dataset/hostile.ts";
import { changeManifest, choices, exportInto } from "../dataset/written.ts";
import { newFolder } from "../folders.ts";
import { runtimes, serve } from "./serving.ts";

const idOf = (number: number) => `20261124T061500000Z-${String(number).padStart(12, "0")}`;

/** A folder with exports by these numbers, each with a dataset that is done, and something beside it that nobody may touch. */
const exportsIn = async (numbers: ReadonlyArray<number>) => {
  const folder = join(await newFolder(), "exports");
  const dataset = join(await newFolder(), "data");
  await exportInto(make({ users: 2, sessionsPerUser: 3 }), dataset, { formats: choices("csv") });
  for (const number of numbers) {
    const id = idOf(number);
    await mkdir(join(folder, id), { recursive: true });
    await cp(dataset, join(folder, id, "data"), { recursive: true });
    const description = { users: ["a"], formats: ["csv"] };
    const created = "2026-11-24T06:15:00.000Z";
    await writeFile(join(folder, id, "job.json"), JSON.stringify({ id, created, description }));
    await writeFile(join(folder, id, "status.json"), JSON.stringify({ status: "done" }));
  }
  const { outside, look } = await outsideOf(folder, dataset);
  await cp(join(folder, idOf(0)), join(outside, "export"), { recursive: true });
  const before = await look();
  return { folder, isUntouched: async () => await look() === before };
};

describe.each(runtimes)("on %s", (runtime) => {
  it("exports that are not what they seem are left alone, and the others are served", async () => {
    const { folder, isUntouched } = await exportsIn([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const at = (number: number, name = "") => join(folder, idOf(number), name);
    await makeStrange(folder, idOf(1), "dangling");
    await makeStrange(folder, idOf(2), "link to a folder");
    await makeStrange(folder, `${idOf(3)}/job.json`, "link");
    for (const [number, name] of [[4, "job.json"], [5, "status.json"]] as const) {
      await makeStrange(folder, `${idOf(number)}/${name}`, "pipe");
    }
    await writeFile(at(6, "job.json"), deep());
    await writeFile(at(7, "job.json"), "");
    await truncate(at(7, "job.json"), 2 ** 30);
    // This one has yet to begin, elsewhere.
    await writeFile(at(8, "status.json"), JSON.stringify({ status: "running" }));
    await makeStrange(folder, `${idOf(8)}/data`, "dangling");
    await makeStrange(folder, `${idOf(9)}/data/csv/part-00000.csv`, "pipe");
    await changeManifest(at(10, "data"), ({ parts }) => parts[0].path = "../../../outside/victim.txt");

    const { env } = await tenant({ users: 2 });
    const { ask, running } = await serve(runtime, { ...env, WORKER_FOLDER: folder });
    await until(async () => (await ask("/ready")).ok, "it is ready");
    const list = async () =>
      await (await ask("/v1/exports")).json() as ReadonlyArray<{ id: string; status: string }>;
    await until(
      async () => (await list()).every(({ status }) => status === "done" || status === "failed"),
      "all have ended",
    );
    expect((await list()).map(({ id, status }) => `${id} ${status}`).sort()).toEqual([
      `${idOf(0)} done`,
      `${idOf(8)} failed`,
      `${idOf(9)} done`,
      `${idOf(10)} done`,
    ].sort());
    const said = running.err();
    for (const number of [1, 2, 3, 4, 5, 6, 7]) {
      expect(said).toContain(`message="export can't be read, and is left alone" id=${idOf(number)}\n`);
    }
    expect(said).toContain(`${at(4, "job.json")} is damaged: it is a pipe, not a file`);

    expect((await ask(`/v1/exports/${idOf(0)}/csv/part-00000.csv`)).status).toBe(200);
    expect((await ask(`/v1/exports/${idOf(9)}/csv/part-00000.csv`)).status).toBe(404);
    const view = await ask(`/v1/exports/${idOf(10)}`);
    expect(view.status).toBe(503);
    expect(await view.text()).toContain("is no path of a part");
    for (const path of ["csv/..%2f..%2f..%2foutside%2fvictim.txt", "csv/%2e%2e%2fvictim.txt"]) {
      const answer = await ask(`/v1/exports/${idOf(0)}/${path}`);
      expect(answer.ok).toBe(false);
      expect(await answer.text()).not.toContain(secret);
    }
    expect(await isUntouched()).toBe(true);
  });

  it("a lock that is a pipe is told, and waits for nobody", async () => {
    const { folder } = await exportsIn([0]);
    pipe(join(folder, "lock.json"));
    const { env } = await tenant({ users: 2 });
    const { ask } = await serve(runtime, { ...env, WORKER_FOLDER: folder });
    const answer = await ask("/ready");
    expect(answer.status).toBe(503);
    expect(await answer.text()).toContain(
      `${join(folder, "lock.json")} is damaged: it is a pipe, not a file`,
    );
  });

  it("a new folder is nobody else's to look into", async () => {
    const folder = join(await newFolder(), "new", "exports");
    const { env } = await tenant({ users: 2 });
    const { ask } = await serve(runtime, { ...env, WORKER_FOLDER: folder });
    await until(async () => (await ask("/ready")).ok, "it is ready");
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
  });
});
