/** Tables that are kept equal to the tenant by activity: fewer requests, and nothing missing. */
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { expect, it } from "vitest";
import * as Dataset from "../../src/dataset/Dataset.ts";
import * as Formats from "../../src/format/Formats.ts";
import * as UserList from "../../src/source/UserList.ts";
import * as Load from "../../src/warehouse/Load.ts";
import * as Sync from "../../src/warehouse/Sync.ts";
import { type Target, TargetError } from "../../src/warehouse/Target.ts";
import { make as duckdb } from "../../src/warehouse/duckdb.ts";
import { newFolder } from "../folders.ts";
import { isLong } from "../size.ts";
import { type ActiveTenant, type Honesty, make } from "../source/activity/activeTenant.ts";
import { select } from "./tables.ts";

/** Hours from one sweep to the next. */
const day = isLong ? 24 : 4;

/** Gives a table, a run into it, and what it holds and lacks of a tenant. */
const tableOf = async (tenant: ActiveTenant) => {
  const target = duckdb({ path: join(await newFolder(), "sessions.duckdb") });
  const held = async () => {
    const rows = await select(
      target,
      ({ table, epoch }) =>
        `SELECT "session_id", ${epoch(`"last_updated"`)} AS t FROM ${
          table("sessions")
        } WHERE "_ended_at" IS NULL`,
    );
    return new Map(rows.map(({ session_id, t }) => [String(session_id), Number(t)]));
  };
  const truth = () => [...tenant.users.values()].flatMap(({ sessions }) => [...sessions.values()]);
  return {
    target,
    held,
    truth,
    lacking: async (upTo = Infinity) => {
      const rows = await held();
      return truth().filter(({ session_id, last_updated }) =>
        last_updated <= upTo && (rows.get(session_id) ?? -1) < last_updated
      ).length;
    },
    run: () =>
      Effect.runPromise(
        Sync.sync({
          target,
          users: UserList.all(),
          tenant: "https://acme.example",
          byActivity: { sweepEvery: day * 3600 },
        }).pipe(
          Effect.provide(tenant.layer),
          Effect.withClock(tenant.clock),
        ),
      ),
  };
};

it.each<Honesty>(["honest", "missed"])("a table by activity that is %s", async (honesty) => {
  const tenant: ActiveTenant = make({ users: 60, seed: 5, idle: 0.1, honesty });
  const { held, truth, lacking, run } = await tableOf(tenant);
  let ranAt = 0;
  let lateInAll = 0;
  for (let round = 0; round < day + 3; round++) {
    const isSweep = round % day === 0;
    const lateBefore = isSweep && round > 0 ? await lacking(ranAt) : undefined;
    const report = await run();
    ranAt = tenant.now();
    const { by_activity } = report;
    expect(report).toMatchObject({ verified: true, kind: isSweep && round > 0 ? "prune" : "sync" });
    if (honesty === "honest" || round >= day) expect([round, await lacking()]).toEqual([round, 0]);
    if (isSweep && round > 0) {
      expect(new Set((await held()).keys())).toEqual(new Set(truth().map(({ session_id }) => session_id)));
      expect(by_activity?.late).toBe(lateBefore);
      lateInAll += lateBefore!;
    }
    if (honesty === "honest") {
      expect(by_activity?.off).toBeUndefined();
      if (!isSweep) expect(report.requests).toBeLessThan(50);
    } else if (round >= day) expect(by_activity?.off).toMatch(/^a session of user-/);
    tenant.pass(3600, honesty === "honest" ? 3 : isLong ? 15 : 60);
  }
  expect(lateInAll > 0).toBe(honesty === "missed");
});

it("a table that an older folder has taken the place of is swept first", async () => {
  const tenant = make({ users: 20, seed: 8 });
  const { target, lacking, run } = await tableOf(tenant);
  const root = await newFolder();
  await Effect.runPromise(
    Dataset.run({
      root,
      formats: [Formats.choose("ndjson")!],
      users: UserList.all(),
      tenant: "https://acme.example",
      mode: "resume",
    }).pipe(Effect.provide(tenant.layer), Effect.withClock(tenant.clock)),
  );
  await run();
  tenant.pass(7200, 30);
  await run();
  expect(await lacking()).toBe(0);
  await Effect.runPromise(Load.load({ root, target, replace: true }));
  expect(await lacking()).toBeGreaterThan(10);
  expect((await run()).by_activity).toMatchObject({ asked: 20 });
  expect(await lacking()).toBe(0);
});

it("a connection that is lost while users are listed is made anew, and the list as well", async () => {
  const tenant = make({ users: 20, seed: 8 });
  const { target, lacking } = await tableOf(tenant);
  let [connections, isLost] = [0, false];
  const breaking: Target = {
    ...target,
    connect: async (options) => {
      const connection = await target.connect(options);
      const isFirst = ++connections === 1;
      return {
        ...connection,
        transaction: (work) => {
          if (!isFirst || !isLost) return connection.transaction(work);
          return Promise.reject(
            new TargetError({ reason: "Unreachable", target: target.name, message: "It is gone" }),
          );
        },
      };
    },
  };
  let lists = 0;
  const users: UserList.UserList = {
    all: true,
    ids: Stream.unwrap(Effect.suspend(() => {
      lists++;
      isLost = true;
      return Effect.delay(Effect.succeed(Stream.fromIterable(tenant.users.keys())), "1500 millis");
    })),
  };
  const report = await Effect.runPromise(
    Sync.sync({ target: breaking, users, tenant: "https://acme.example", lease: "1 second" }).pipe(
      Effect.provide(tenant.layer),
    ),
  );
  expect([connections, lists, report.verified, await lacking()]).toEqual([2, 2, true, 0]);
});
