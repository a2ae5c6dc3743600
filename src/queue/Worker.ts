/** A worker: takes shards of the tenants that it is configured with, until it is told to stop. */
import { hostname } from "node:os";
import process from "node:process";
import type * as Bull from "bullmq";
import * as Effect from "effect/Effect";
import * as Runtime from "effect/Runtime";
import * as Schedule from "effect/Schedule";
import type * as Scope from "effect/Scope";
import { version } from "../version.ts";
import type { Connected } from "./Dispatch.ts";
import * as Names from "./Names.ts";
import * as Patience from "./Patience.ts";
import * as Records from "./Records.ts";
import * as ShardJob from "./ShardJob.ts";
import * as ShardTaker from "./ShardTaker.ts";
import * as TenantLimiters from "./TenantLimiters.ts";

export interface WorkerOptions<R> {
  readonly work: ShardTaker.Work<R>;
  readonly server: Connected;
  readonly places: Names.Places;
  /** Shards of one tenant at once. */
  readonly atOnce: number;
  /** Requests a second of a tenant whose file says nothing. */
  readonly rate: number | "auto";
  /** Time without a sign of life after which a shard is handed to another worker, in milliseconds. */
  readonly lease: number;
  /** Takes what happens to shards. */
  readonly tell: (line: string) => Effect.Effect<void>;
}

/** The pause between two looks for runs, and the time after which a queue without a run is left alone, in milliseconds. */
const LOOK = 1000;
const IDLE = 60_000;
/** The longest wait for queues to take shards back, in milliseconds: their server may be away. */
const CLOSING = 5000;

const nameOfRuntime = (): string => {
  const { Deno: deno } = globalThis as { readonly Deno?: { readonly version: { readonly deno: string } } };
  return deno === undefined ? `node ${process.versions.node}` : `deno ${deno.version.deno}`;
};

/** List the names of a kind, and tell now of those that can't be used: a shard would only find out later. */
const namesOf = (kind: Names.Kind, places: Names.Places, tell: (line: string) => Effect.Effect<void>) =>
  Effect.gen(function* () {
    const folder = kind === "tenant" ? places.tenants : places.targets;
    const names = yield* Names.list(kind, folder);
    for (const name of names) {
      const check = Effect.asVoid<unknown, Names.NameError, never>(Names[kind](places, name));
      // Without its own environment a worker has nothing to do; with one bad file of many it has.
      yield* folder === undefined
        ? check
        : Effect.catchAll(check, ({ message }) => tell(`${kind} ${name}: ${message}`));
    }
    return names;
  });

/** Work until the scope is closed: then every shard is handed back at a checkpoint. */
export const start = <R>(
  { work, server: { engine, values }, places, atOnce, rate, lease, tell }: WorkerOptions<R>,
): Effect.Effect<void, Names.NameError, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function* () {
    let tenants = yield* namesOf("tenant", places, tell);
    let targets = yield* namesOf("target", places, tell);
    const runtime = yield* Effect.runtime<Exclude<R, Scope.Scope>>();
    const fork = Runtime.runFork(runtime);
    const say = (line: string) => void fork(tell(line));
    const limiterOf = yield* TenantLimiters.make({ values, rate });
    const place = { host: hostname(), pid: process.pid };
    const id = `${place.host}-${place.pid}-${crypto.randomUUID().slice(0, 4)}`;
    const since = new Date().toISOString();
    const taker = ShardTaker.make({
      id,
      engine,
      values,
      work,
      context: { places, limiterOf, lease },
      say,
      runtime,
    });

    const workers = new Map<string, { readonly worker: Bull.Worker; usedAt: number }>();
    /** Tenants of whose queue trouble was told. */
    const told = new Set<string>();
    let isOver = false;
    const open = (tenant: string) => {
      const complain = ({ message }: Error) => {
        if (!told.has(tenant)) say(`queue of tenant ${tenant}: ${message}`);
        told.add(tenant);
      };
      const worker = engine.worker(tenant, taker.take, { concurrency: atOnce, lease }, complain);
      worker.on("active", () => void told.delete(tenant));
      worker.on("lockRenewalFailed", (ids) => ids.forEach((id) => worker.cancelJob(id)));
      // One that could not join a queue never does: the next look makes another.
      void worker.waitUntilReady().then(() => worker.run()).catch((error) => {
        complain(error);
        if (workers.get(tenant)?.worker === worker) workers.delete(tenant);
        return worker.close();
      }).catch(() => undefined);
      return { worker, usedAt: Date.now() };
    };
    /** Take part in the queues of tenants that have runs, and in no others. */
    const look = Effect.tryPromise(async () => {
      const now = Date.now();
      const active = new Set(
        (await Records.list(values, "run")).map(({ tenant }) => tenant).filter((name) =>
          tenants.includes(name)
        ),
      );
      // A look may be under way when it ends.
      if (isOver) return;
      for (const tenant of active) {
        const its = workers.get(tenant) ?? open(tenant);
        its.usedAt = now;
        workers.set(tenant, its);
      }
      for (const [tenant, { worker, usedAt }] of workers) {
        if (now - usedAt < IDLE || taker.tenants().has(tenant)) continue;
        workers.delete(tenant);
        // However long that takes, other tenants do not wait for it.
        void worker.close().catch(() => undefined);
      }
    });
    // Waited for, or it might come after its removal.
    const beat = Effect.uninterruptible(Effect.gen(function* () {
      // Files may come and go.
      [tenants, targets] = yield* Effect.all([
        Names.list("tenant", places.tenants),
        Names.list("target", places.targets),
      ]);
      yield* Effect.tryPromise(() =>
        Records.leave(values, "worker", Records.keyOf("worker", id), {
          ...{ id, version, job_version: ShardJob.jobVersion, ...place, runtime: nameOfRuntime(), since },
          ...{ tenants, targets, at_once: atOnce, shards: taker.shards() },
        })
      );
    }));

    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        isOver = true;
        yield* taker.stop;
        const closing = [...workers.values()].map(({ worker }) => worker.close());
        yield* Effect.promise(() => Patience.within(CLOSING, Promise.all(closing)));
        yield* Effect.ignore(Effect.tryPromise(() => values.remove(Records.keyOf("worker", id))));
      })
    );
    yield* tell(
      `worker ${id}: tenants ${tenants.join(", ") || "none"}; targets ${targets.join(", ") || "none"}`,
    );
    const every = (work: Effect.Effect<unknown, unknown>, millis: number) =>
      Effect.forkScoped(Effect.repeat(Effect.ignore(work), Schedule.spaced(millis)));
    yield* every(beat, Records.BEAT);
    yield* every(look, LOOK);
  });
