/** Takes shards from the queue, and gives each an end: done, failed, or back to the queue. */
import type * as Bull from "bullmq";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Runtime from "effect/Runtime";
import * as Schedule from "effect/Schedule";
import type * as Scope from "effect/Scope";
import type { RateLimiter } from "../api/rate/RateLimiter.ts";
import type { Traffic } from "../api/TenantClient.ts";
import * as Export from "../export/Export.ts";
import { version } from "../version.ts";
import type * as Engine from "./Engine.ts";
import type * as Names from "./Names.ts";
import * as Records from "./Records.ts";
import * as ShardJob from "./ShardJob.ts";
import type { Values } from "./Values.ts";

export interface WorkContext {
  readonly places: Names.Places;
  /** Gives the limiter of a tenant, which all machines share. */
  readonly limiterOf: (tenant: Names.NamedTenant) => Effect.Effect<RateLimiter>;
  /** The number of times that the shard was begun, this one included. */
  readonly attempt: number;
  /** Kept up to date. */
  readonly progress: Export.Progress;
  /** To be told where the requests of this shard are counted. */
  readonly onTraffic: (traffic: () => Traffic) => void;
  /** Time without a sign of life after which the queue hands the shard to another worker, in milliseconds. */
  readonly lease: number;
}

/** Works on a shard to its end, or to a checkpoint on interruption. Gives the name of what is to be published, if it has one. */
export type Work<R> = (
  job: ShardJob.ShardJob,
  context: WorkContext,
) => Effect.Effect<string | undefined, unknown, R | Scope.Scope>;

export interface ShardTakerOptions<R> {
  /** The id of this worker. */
  readonly id: string;
  readonly engine: Engine.Engine;
  readonly values: Values;
  readonly work: Work<R>;
  readonly context: Omit<WorkContext, "attempt" | "progress" | "onTraffic">;
  readonly say: (line: string) => void;
  readonly runtime: Runtime.Runtime<Exclude<R, Scope.Scope>>;
}

/** The pause between two records of a shard, and the delay of one that is for a newer worker, in milliseconds. */
const RECORD = 1000;
const PUT_OFF = 10_000;
/** The pause after a record that could not be left, in milliseconds. */
const AGAIN = 500;

/** A shard that is worked on. */
interface Working {
  readonly job: ShardJob.ShardJob;
  readonly attempt: number;
  readonly progress: Export.Progress;
  traffic: (() => Traffic) | undefined;
  /** True once the queue has handed it out again. */
  isLost: boolean;
  fiber?: Fiber.RuntimeFiber<unknown, unknown>;
}

/** Reasons that no further attempt changes, by the kind of error; all of a kind where none is named. */
const certain: Readonly<Record<string, ReadonlyArray<string> | undefined>> = {
  ApiError: ["Unauthorized", "PaymentRequired", "Forbidden", "Certificate"],
  DatasetError: ["Options", "Version"],
  ExportError: [],
  TargetError: ["Denied", "Foreign", "Insecure", "Missing", "Options"],
};

const isCertain = (error: unknown): boolean => {
  const { _tag = "", reason = "" } = (error ?? {}) as { readonly _tag?: string; readonly reason?: string };
  const reasons = certain[_tag];
  return reasons !== undefined && (reasons.length === 0 || reasons.includes(reason));
};

const noteOf = (error: unknown): string => {
  const { message = String(error) } = (error ?? {}) as { readonly message?: string };
  return message;
};

/** Do work again until it succeeds, or nobody wants it any more. */
const insist = async (work: () => Promise<void>, signal: AbortSignal): Promise<void> => {
  while (true) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, AGAIN));
    }
  }
};

export const make = <R>(
  { id, engine, values, work, context, say, runtime }: ShardTakerOptions<R>,
) => {
  const { WaitingError, DelayedError, UnrecoverableError } = engine.errors;
  const fork = Runtime.runFork(runtime);
  const working = new Map<string, Working>();
  const fibers = new Set<Fiber.RuntimeFiber<unknown, unknown>>();
  let isStopping = false;

  const leave = (
    { job, attempt, progress, traffic }: Working,
    status: "running" | "done",
    result?: string,
  ): Promise<void> => {
    const { before: _, compared: __, ...told } = progress;
    const { requests = 0, retries = 0 } = traffic?.() ?? {};
    return Records.leave(values, "shard", Records.keyOf("shard", job.job, job.shard), {
      ...{ shard: job.shard, status, worker: id, attempt, result },
      progress: told,
      traffic: { requests, retries },
    });
  };

  /** Work on a shard, and say every second how far it has come. */
  const workOn = (its: Working) =>
    Effect.scoped(Effect.gen(function* () {
      // Waited for, or it might come after the record that the shard is done, and have it done once more.
      const beat = Effect.uninterruptible(Effect.ignore(Effect.tryPromise(() => leave(its, "running"))));
      yield* Effect.forkScoped(Effect.repeat(beat, Schedule.spaced(RECORD)));
      return yield* work(its.job, {
        ...context,
        attempt: its.attempt,
        progress: its.progress,
        onTraffic: (traffic) => void (its.traffic = traffic),
      });
    }));

  /** Put a shard off that a newer worker is to do. */
  const refuse = async (job: Bull.Job, token: string): Promise<never> => {
    const { job: run, shard } = job.data as ShardJob.ShardJob;
    await Records.leave(values, "shard", Records.keyOf("shard", run, shard), {
      ...{ shard, status: "refused", worker: id, attempt: job.attemptsStarted },
      message: `has version ${version}, and the shards are of a newer one: they wait for a newer worker`,
    });
    await job.moveToDelayed(Date.now() + PUT_OFF, token);
    throw new DelayedError();
  };

  const handBack = async (job: Bull.Job, token: string): Promise<never> => {
    await job.moveToWait(token);
    throw new WaitingError();
  };

  const run = async (its: Working, signal: AbortSignal): Promise<Exit.Exit<string | undefined, unknown>> => {
    const fiber = its.fiber = fork(workOn(its));
    const give = () => {
      its.isLost = true;
      void fork(Fiber.interruptFork(fiber));
    };
    signal.addEventListener("abort", give);
    fibers.add(fiber);
    const exit = await Effect.runPromise(Fiber.await(fiber));
    fibers.delete(fiber);
    return exit;
  };

  const take = async (job: Bull.Job, token: string, signal: AbortSignal): Promise<void> => {
    if (ShardJob.isNewer(job.data)) return await refuse(job, token);
    const its: Working = {
      job: ShardJob.decode(job.data),
      attempt: job.attemptsStarted,
      progress: Export.noProgress(),
      traffic: undefined,
      isLost: false,
    };
    const name = ShardJob.idOf(its.job);
    const earlier = working.get(name);
    if (earlier !== undefined) {
      // Silent for too long, it has come back here: the queue knows one of a name, and forgets its lock with the end of either.
      earlier.isLost = true;
      await Effect.runPromise(Fiber.interrupt(earlier.fiber!));
    }
    if (isStopping || earlier !== undefined) return await handBack(job, token);
    const began = performance.now();
    const tell = (what: string) => say(`shard ${name}: ${what}`);
    const after = () => `after ${Math.round((performance.now() - began) / 1000)} s`;
    tell(its.attempt > 1 ? `begun, attempt ${its.attempt}` : "begun");
    working.set(name, its);
    const exit = await run(its, signal);
    working.delete(name);
    if (Exit.isSuccess(exit)) {
      // Nobody else would say so.
      await insist(() => leave(its, "done", exit.value), signal);
      const { users, sessions } = its.progress;
      return tell(`done ${after()}: ${users} users, ${sessions} sessions`);
    }
    if (its.isLost) {
      tell(`given up ${after()}, as another worker has it`);
      throw new Error("The queue has handed this shard to another worker");
    }
    if (Cause.isInterruptedOnly(exit.cause)) {
      tell(`handed back ${after()}`);
      return await handBack(job, token);
    }
    const error = Cause.squash(exit.cause);
    const note = noteOf(error);
    tell(`failed ${after()}: ${note}`);
    throw isCertain(error) ? new UnrecoverableError(note) : new Error(note);
  };

  return {
    take,
    /** Gives the ids of shards that are worked on, and their tenants. */
    shards: (): ReadonlyArray<string> => [...working.keys()],
    tenants: (): ReadonlySet<string> => new Set([...working.values()].map(({ job }) => job.tenant)),
    /** Interrupts all work, each at a checkpoint, and takes nothing more. */
    stop: Effect.suspend(() => {
      isStopping = true;
      return Effect.asVoid(Fiber.interruptAll(fibers));
    }),
  };
};
