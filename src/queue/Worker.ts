/** A worker: takes shards of the tenants that it is configured with, until it is told to stop. */
import { hostname } from "node:os";
import process from "node:process";
import type * as Bull from "bullmq";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Runtime from "effect/Runtime";
import * as Schedule from "effect/Schedule";
import type * as Scope from "effect/Scope";
import type { Traffic } from "../api/TenantClient.ts";
import * as Export from "../export/Export.ts";
import { version } from "../version.ts";
import type { Connected } from "./Dispatch.ts";
import * as Names from "./Names.ts";
import * as Records from "./Records.ts";
import * as ShardJob from "./ShardJob.ts";
import * as TenantLimiters from "./TenantLimiters.ts";
import type { Work, WorkContext } from "./Work.ts";

export interface WorkerOptions<R> {
  readonly work: Work<R>;
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
/** The pause between two records of a shard, and the delay of a shard that is for a newer worker. */
const RECORD = 1000;
const PUT_OFF = 10_000;

/** A shard that this worker works on. */
interface Working {
  readonly job: ShardJob.ShardJob;
  readonly attempt: number;
  readonly progress: Export.Progress;
  traffic: (() => Traffic) | undefined;
  fiber: Fiber.RuntimeFiber<string | undefined, unknown> | undefined;
}

const nameOfRuntime = (): string =>
  "Deno" in globalThis
    ? `deno ${(globalThis as unknown as { Deno: { version: { deno: string } } }).Deno.version.deno}`
    : `node ${process.versions.node}`;

const noteOf = (error: unknown): string => {
  const { message = String(error) } = (error ?? {}) as { readonly message?: string };
  return message;
};

/** Work until the scope is closed: then every shard is handed back at a checkpoint. */
export const start = <R>(
  { work, server: { engine, values }, places, atOnce, rate, lease, tell }: WorkerOptions<R>,
): Effect.Effect<void, Names.NameError, Exclude<R, Scope.Scope> | Scope.Scope> =>
  Effect.gen(function* () {
    const [tenants, targets] = [
      yield* Names.list("tenant", places.tenants),
      yield* Names.list("target", places.targets),
    ];
    const runtime = yield* Effect.runtime<Exclude<R, Scope.Scope>>();
    const fork = Runtime.runFork(runtime);
    const say = (line: string) => void fork(tell(line));
    const limiterOf = yield* TenantLimiters.make({ values, rate });
    const place = { host: hostname(), pid: process.pid };
    const id = `${place.host}-${place.pid}-${crypto.randomUUID().slice(0, 4)}`;
    const since = new Date().toISOString();
    const working = new Map<string, Working>();
    let isStopping = false;

    const record = (
      key: string,
      { job: { shard }, attempt, progress, traffic }: Working,
      status: "running" | "done",
      result?: string,
    ) => {
      const { before: _, compared: __, ...told } = progress;
      const { requests = 0, retries = 0 } = traffic?.() ?? {};
      return Records.leave(values, "shard", key, {
        ...{ shard, status, worker: id, attempt, result },
        progress: told,
        traffic: { requests, retries },
      });
    };

    /** Work on a shard, and say every second how far it has come. */
    const workOn = (its: Working, key: string) =>
      Effect.scoped(Effect.gen(function* () {
        const context: WorkContext = {
          places,
          limiterOf,
          attempt: its.attempt,
          progress: its.progress,
          onTraffic: (traffic) => void (its.traffic = traffic),
          lease,
        };
        // Waited for, or it might come after the record that the shard is done, and have it done once more.
        const beat = Effect.uninterruptible(
          Effect.ignore(Effect.tryPromise(() => record(key, its, "running"))),
        );
        yield* Effect.forkScoped(Effect.repeat(beat, Schedule.spaced(RECORD)));
        return yield* work(its.job, context);
      }));

    const take = async (job: Bull.Job, token: string, signal: AbortSignal): Promise<void> => {
      const { WaitingError, DelayedError } = engine.errors;
      if (ShardJob.isNewer(job.data)) {
        const { job: run, shard } = job.data as ShardJob.ShardJob;
        await Records.leave(values, "shard", Records.keyOf("shard", run, shard), {
          ...{ shard, status: "refused", worker: id, attempt: job.attemptsStarted },
          message: `has version ${version}, and the shards are of a newer one: they wait for a newer worker`,
        });
        await job.moveToDelayed(Date.now() + PUT_OFF, token);
        throw new DelayedError();
      }
      const its: Working = {
        job: ShardJob.decode(job.data),
        attempt: job.attemptsStarted,
        progress: Export.noProgress(),
        traffic: undefined,
        fiber: undefined,
      };
      const name = ShardJob.idOf(its.job);
      const key = Records.keyOf("shard", its.job.job, its.job.shard);
      const handBack = async () => {
        await job.moveToWait(token);
        throw new WaitingError();
      };
      if (isStopping) return await handBack();
      working.set(job.id!, its);
      say(`shard ${name}: begun${its.attempt > 1 ? `, attempt ${its.attempt}` : ""}`);
      const began = performance.now();
      const fiber = its.fiber = fork(workOn(its, key));
      signal.addEventListener("abort", () => void fork(Fiber.interruptFork(fiber)));
      const exit = await Effect.runPromise(Fiber.await(fiber));
      const seconds = Math.round((performance.now() - began) / 1000);
      working.delete(job.id!);
      if (Exit.isSuccess(exit)) {
        // Nobody else would say so; the shard is given up where it can't be said for long.
        await retrying(() => record(key, its, "done", exit.value), signal);
        const { users, sessions } = its.progress;
        return say(`shard ${name}: done, ${users} users, ${sessions} sessions, ${seconds} s`);
      }
      if (signal.aborted) {
        say(`shard ${name}: given up after ${seconds} s, as another worker has it`);
        throw new Error("The queue has handed this shard to another worker");
      }
      if (Cause.isInterruptedOnly(exit.cause)) {
        say(`shard ${name}: handed back after ${seconds} s`);
        return await handBack();
      }
      const note = noteOf(Cause.squash(exit.cause));
      say(`shard ${name}: failed after ${seconds} s: ${note}`);
      throw new Error(note);
    };

    const workers = new Map<string, { readonly worker: Bull.Worker; usedAt: number }>();
    const open = (tenant: string) => {
      let isTold = false;
      const worker = engine.worker(tenant, take, { concurrency: atOnce, lease }, (error) => {
        if (!isTold) say(`queue of tenant ${tenant}: ${error.message}`);
        isTold = true;
      });
      worker.on("active", () => void (isTold = false));
      worker.on("lockRenewalFailed", (ids) => ids.forEach((id) => worker.cancelJob(id)));
      void worker.run().catch(() => undefined);
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
      for (const tenant of active) {
        const its = workers.get(tenant) ?? open(tenant);
        its.usedAt = now;
        workers.set(tenant, its);
      }
      for (const [tenant, { worker, usedAt }] of workers) {
        if (now - usedAt < IDLE || [...working.values()].some(({ job }) => job.tenant === tenant)) continue;
        workers.delete(tenant);
        await worker.close();
      }
    });
    // Waited for, or it might come after its removal.
    const beat = Effect.uninterruptible(Effect.tryPromise(() =>
      Records.leave(values, "worker", Records.keyOf("worker", id), {
        ...{ id, version, job_version: ShardJob.jobVersion, ...place, runtime: nameOfRuntime(), since },
        ...{ tenants, targets, at_once: atOnce, shards: [...working.keys()] },
      })
    ));

    yield* Effect.addFinalizer(() =>
      Effect.gen(function* () {
        isStopping = true;
        const fibers = [...working.values()].flatMap(({ fiber }) =>
          fiber ?? []
        );
        yield* Fiber.interruptAll(fibers);
        yield* Effect.promise(() => Promise.all([...workers.values()].map(({ worker }) => worker.close())));
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

/** Do work again until it succeeds, or nobody wants it any more. */
const retrying = async (work: () => Promise<void>, signal: AbortSignal): Promise<void> => {
  while (true) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
  }
};
