/** Attempts at shards in one process, and coordinators that are interrupted. */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import type { Sandbox } from "../../src/sandbox/mod.ts";
import type { FailedShard } from "../../src/source/ShardPlan.ts";
import type { ShardWork } from "../../src/warehouse/SyncOptions.ts";
import * as ShardSync from "../../src/warehouse/ShardSync.ts";
import { type Dialect, isTargetError, type Target } from "../../src/warehouse/Target.ts";
import { select, syncOf } from "./tables.ts";

export type Served = Pick<Sandbox, "fetch" | "key">;

/** Work on one shard, as a process with a client of its own. */
export const attempt = (
  sandbox: Served,
  target: Target,
  { run, prune }: ShardWork,
  shard: number,
  options: Partial<ShardSync.ShardSyncOptions> = {},
) =>
  ShardSync.run({
    target,
    shard: { run, shard },
    tenant: "https://sandbox.example",
    prune,
    areListed: true,
    lease: "8 seconds",
    ...options,
  }).pipe(
    Effect.provide(
      TenantClient.layer({
        domain: "sandbox.example",
        apiKey: sandbox.key,
        rate: 100_000,
        maxElapsed: "2 seconds",
      }).pipe(Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init))))),
    ),
  );

/** Have each shard done by one attempt, one after another. */
export const plainly = (sandbox: Served, target: Target) => (work: ShardWork) =>
  Effect.as(
    Effect.forEach(work.shards, ({ shard }) => Effect.orDie(attempt(sandbox, target, work, shard)), {
      concurrency: 3,
    }),
    [] as ReadonlyArray<FailedShard>,
  );

/** Have shard 1 of 3 taken by a worker that waits to be let go on, and interrupt its coordinator. */
export const stuckAt = async (
  sandbox: Sandbox,
  target: Target,
  options: { readonly prune?: boolean } = {},
) => {
  let open = () => {};
  const gate = new Promise<void>((resolve) => (open = resolve));
  const gated: Served = {
    key: sandbox.key,
    fetch: (request) => gate.then(() => sandbox.fetch(request)),
  };
  let shard: Promise<Exit.Exit<void, unknown>> | undefined;
  let waits: ShardWork | undefined;
  const stuck = (work: ShardWork) => {
    waits = work;
    shard = Effect.runPromiseExit(attempt(gated, target, work, 1));
    return Effect.never;
  };
  const coordinator = Effect.runFork(
    syncOf(sandbox, target, { ...options, shards: { count: 3, dispatch: stuck } }),
  );
  while (waits === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
  const isTaken = ({ table }: Dialect) =>
    `SELECT 1 FROM ${table("_shards")} WHERE "shard" = 1 AND "holder" IS NOT NULL`;
  while ((await select(target, isTaken)).length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await Effect.runPromise(Fiber.interrupt(coordinator));
  return { waits, shard: shard!, open: () => open() };
};

export const reasonOf = (exit: Exit.Exit<unknown, unknown>): unknown => {
  if (Exit.isSuccess(exit)) return "done";
  const error = Cause.squash(exit.cause);
  return isTargetError(error) ? error.reason : Exit.isInterrupted(exit) ? "interrupted" : error;
};
