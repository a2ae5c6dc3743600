/** Folders that are added to by activity: fewer requests, and nothing missing; through kills as well. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import { describe, expect, it } from "vitest";
import * as Dataset from "../../src/dataset/Dataset.ts";
import * as Formats from "../../src/format/Formats.ts";
import * as UserList from "../../src/source/UserList.ts";
import { newFolder } from "../folders.ts";
import { isLong } from "../size.ts";
import { type ActiveTenant, make } from "../source/activity/activeTenant.ts";
import { manifestOf } from "./written.ts";

/** Hours from one sweep to the next. */
const day = isLong ? 24 : 4;

const runOf = (
  tenant: ActiveTenant,
  root: string,
  more: Partial<Dataset.DatasetOptions<never, never>> = {},
) =>
  Dataset.run({
    root,
    formats: [Formats.choose("ndjson")!],
    users: UserList.all(),
    tenant: "https://acme.example",
    mode: "resume",
    changes: "since-last",
    byActivity: { sweepEvery: day * 3600 },
    ...more as object,
  }).pipe(Effect.provide(tenant.layer), Effect.withClock(tenant.clock));

/** Count the sessions that a folder lacks, or has in an older version only. */
const lacking = async (tenant: ActiveTenant, root: string): Promise<number> => {
  const held = new Map<string, number>();
  for (const name of await readdir(join(root, "ndjson"))) {
    for (const line of (await readFile(join(root, "ndjson", name), "utf8")).split("\n")) {
      if (line === "") continue;
      const { session_id, last_updated } = JSON.parse(line);
      held.set(session_id, Math.max(held.get(session_id) ?? 0, last_updated));
    }
  }
  return [...tenant.users.values()].flatMap(({ sessions }) => [...sessions.values()])
    .filter(({ session_id, last_updated }) => (held.get(session_id) ?? -1) < last_updated).length;
};

it("a folder keeps the size of pages that was found out, and a run that reads whole lists finds it out anew", async () => {
  const root = await newFolder();
  const tenant = make({ users: 2, seed: 2, maxSize: 150 });
  const [user] = [...tenant.users.values()];
  for (let i = 0; i < 900; i++) {
    user!.sessions.set(`R${i}`, { session_id: `R${i}`, initiated_at: 1e9 + i, last_updated: 1e9 + i });
  }
  const sizes: Array<number> = [];
  tenant.beforeEach(({ pathname, searchParams }) => {
    if (pathname.endsWith("/sessions")) sizes.push(Number(searchParams.get("size")));
  });
  const largest = async (more: object) => {
    sizes.length = 0;
    await Effect.runPromise(runOf(tenant, root, { byActivity: undefined, ...more }));
    return Math.max(...sizes);
  };
  expect(await largest({})).toBe(1000);
  expect((await manifestOf(root)).page_size).toBe(150);
  tenant.pass(3600, 0);
  for (const [i, session] of [...user!.sessions.values()].entries()) {
    session.last_updated = tenant.now() - 1000 + i;
  }
  expect(await largest({})).toBe(150);
  expect(await largest({ prune: true })).toBe(1000);
});

describe("a folder by activity", () => {
  it("asks who changed, sweeps when that is due, and lacks nothing after any round", async () => {
    const root = await newFolder();
    const tenant = make({ users: 60, seed: 3, idle: 0.1 });
    for (let round = 0; round < day + 3; round++) {
      const report = await Effect.runPromise(runOf(tenant, root));
      const isSweep = round % day === 0;
      expect(await lacking(tenant, root)).toBe(0);
      expect(report).toMatchObject({ verified: true, by_activity: { of: tenant.users.size } });
      expect(report.by_activity?.off).toBeUndefined();
      expect(report.tombstones !== undefined).toBe(isSweep && round > 0);
      expect(report.by_activity?.late).toBe(isSweep && round > 0 ? 0 : undefined);
      if (isSweep) expect(report.by_activity?.asked).toBe(tenant.users.size);
      else expect(report.requests).toBeLessThan(40);
      expect((await manifestOf(root)).runs.at(-1).by_activity).toEqual(report.by_activity);
      if (round === 2) tenant.create();
      if (round < day + 2) tenant.pass(3600, 3);
    }
    // Whoever was not asked is not forgotten.
    const { sessions, redelivered } = await Effect.runPromise(runOf(tenant, root, { byActivity: undefined }));
    expect([sessions, redelivered]).toEqual([0, undefined]);
  });

  it("that broke off is not gone on with by a run that asks for all users, nor fails where those asked are gone", async () => {
    const root = await newFolder();
    const tenant = make({ users: 30, seed: 6, idle: 0.3 });
    await Effect.runPromise(runOf(tenant, root));
    tenant.pass(3600, 10);
    let left = 6;
    tenant.beforeEach(() => left-- <= 0 ? Response.json({ status: 401 }, { status: 401 }) : undefined);
    expect(await Effect.runPromise(Effect.flip(runOf(tenant, root)))).toMatchObject({
      reason: "Unauthorized",
    });
    tenant.beforeEach(() => {});
    expect(await Effect.runPromise(Effect.flip(runOf(tenant, root, { byActivity: undefined }))))
      .toMatchObject({
        reason: "Options",
        message: expect.stringContaining("'by_activity' was true when it began and is false now"),
      });
    await Effect.runPromise(runOf(tenant, root));
    expect(await lacking(tenant, root)).toBe(0);
    tenant.pass(3600, 0);
    for (const [userId, { last_activity }] of tenant.users) {
      if (last_activity === null || last_activity > tenant.now() - 86_400) tenant.users.delete(userId);
    }
    expect(await Effect.runPromise(runOf(tenant, root))).toMatchObject({ verified: true });
  });

  it("says when activity lies, and asks all users from then on", async () => {
    const root = await newFolder();
    const tenant = make({ users: 20, seed: 4, honesty: "null" });
    const first = await Effect.runPromise(runOf(tenant, root));
    expect(first.by_activity?.off).toMatch(/^a session of user-/);
    tenant.pass(3600, 3);
    const next = await Effect.runPromise(runOf(tenant, root));
    expect(next.by_activity).toMatchObject({ asked: 20, of: 20, off: first.by_activity?.off });
    expect(next.tombstones).toBeUndefined();
    expect(await lacking(tenant, root)).toBe(0);
  });

  it("keeps what it goes by where a run breaks off", async () => {
    const root = await newFolder();
    const tenant = make({ users: 30, seed: 5 });
    await Effect.runPromise(runOf(tenant, root));
    const { activity } = await manifestOf(root);
    tenant.pass(3600, 10);
    let left = 6;
    tenant.beforeEach(() => left-- <= 0 ? Response.json({ status: 401 }, { status: 401 }) : undefined);
    expect(await Effect.runPromise(Effect.flip(runOf(tenant, root)))).toMatchObject({
      reason: "Unauthorized",
    });
    expect((await manifestOf(root)).activity).toEqual(activity);
    tenant.beforeEach(() => {});
    tenant.pass(3600, 10);
    await Effect.runPromise(runOf(tenant, root));
    await Effect.runPromise(runOf(tenant, root));
    expect(await lacking(tenant, root)).toBe(0);
  });

  it("is refused where it can't be had", async () => {
    const root = await newFolder();
    const tenant = make({ users: 2, seed: 1 });
    await expect(Effect.runPromise(runOf(tenant, root, { changes: undefined }))).rejects.toThrow(
      "Cannot go by activity unless",
    );
    await expect(Effect.runPromise(runOf(tenant, root, { users: UserList.of(["a"]) }))).rejects.toThrow(
      "Cannot go by activity unless",
    );
    await expect(Effect.runPromise(runOf(tenant, root, { walk: { sort: "session_id:1" } }))).rejects.toThrow(
      "Cannot go by activity unless",
    );
  });
});
