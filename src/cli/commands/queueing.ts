/** The queue of runs on many machines: connected to, and given the shards of a run. */
import { createHash, createHmac } from "node:crypto";
import * as Effect from "effect/Effect";
import * as Redacted from "effect/Redacted";
import type * as Scope from "effect/Scope";
import type * as Types from "effect/Types";
import type { RateLimiter } from "../../api/rate/RateLimiter.ts";
import type { Tenant } from "../../api/Tenant.ts";
import * as SessionFilters from "../../api/SessionFilters.ts";
import type * as Export from "../../export/Export.ts";
import * as RedactionPolicy from "../../session/RedactionPolicy.ts";
import type { SettledPolicy } from "../../session/RedactionPolicy.ts";
import * as Dispatch from "../../queue/Dispatch.ts";
import * as Engine from "../../queue/Engine.ts";
import * as QueueError from "../../queue/QueueError.ts";
import * as SharedRate from "../../queue/SharedRate.ts";
import * as QueueServer from "../../queue/QueueServer.ts";
import type { RunJob, ShardJob } from "../../queue/ShardJob.ts";
import { type UsageError, usageError } from "../ExitCode.ts";
import * as Settings from "../options/Settings.ts";
import type { RunArgs } from "../options/WarehouseFlags.ts";
import * as Tracing from "./tracing.ts";

const hasPassword = (url: string): boolean => {
  const read = URL.canParse(url) ? new URL(url) : undefined;
  return read === undefined || read.password !== "" || read.searchParams.has("password");
};

/** Connect to the server of a queue. */
export const connect = (
  given: string | undefined,
): Effect.Effect<Dispatch.Connected, UsageError | QueueError.QueueError, Scope.Scope> =>
  Effect.gen(function* () {
    if (given !== undefined && hasPassword(given)) {
      return yield* usageError(
        "--queue must be a URL such as postgres://USER@HOST/DATABASE or redis://HOST, without a password, which other " +
          "users of the machine could read there: put it into PGPASSWORD or ~/.pgpass, or the whole URL into MONOCLOUD_QUEUE",
      );
    }
    const url = given ?? (yield* Settings.variable("MONOCLOUD_QUEUE"));
    if (!url) {
      return yield* usageError(
        "Which queue? Give --queue or MONOCLOUD_QUEUE: postgres://USER@HOST/DATABASE or redis://HOST",
      );
    }
    const server = yield* Effect.try({
      try: () => QueueServer.parse(url),
      catch: (error) => usageError((error as Error).message),
    });
    const asking = <A>(work: () => Promise<A>) =>
      Effect.tryPromise({
        try: work,
        catch: (error) => error instanceof QueueError.QueueError ? error : QueueError.of(server.name, error),
      });
    const engine = yield* asking(() => Engine.load(server));
    const values = yield* Effect.acquireRelease(
      asking(() => QueueServer.open(server)),
      (values) => Effect.promise(() => values.close()),
    );
    return { name: server.name, engine, values };
  });

/** A queue that a run uses. */
export interface Queue {
  readonly connected: Dispatch.Connected;
  /** The limiter that all machines share. */
  readonly limiter: RateLimiter;
  /** Destination of traces. */
  readonly traces: string | undefined;
  /** Kept up to date. */
  readonly view: Types.Mutable<Dispatch.View>;
}

/** Connect to a queue for a run of this tenant. */
export const open = (
  given: string | undefined,
  { tenant, rate }: { readonly tenant: Tenant; readonly rate: number | "auto" },
): Effect.Effect<Queue, UsageError | QueueError.QueueError, Scope.Scope> =>
  Effect.gen(function* () {
    const connected = yield* connect(given);
    const limiter = yield* SharedRate.make({ values: connected.values, tenant: tenant.origin, rate });
    const traces = yield* Tracing.destination;
    return { connected, limiter, traces, view: { requests: 0, retries: 0, workers: undefined, under: [] } };
  });

const unlessAuto = (value: number | "auto"): number | undefined => value === "auto" ? undefined : value;

/** Mark the secret that a policy hashes with: of 32 bytes or more, it can't be found out by that. */
export const markOf = (policy: SettledPolicy, secret: Redacted.Redacted | undefined): string | undefined =>
  secret === undefined || !RedactionPolicy.needsSecret(policy)
    ? undefined
    : createHmac("sha256", Redacted.value(secret)).update("monocloud-sessions").digest("hex").slice(0, 12);

/** Give what all shards of a run are told of how to walk. */
const howOf = (args: RunArgs, secret: Redacted.Redacted | undefined): ShardJob["how"] => ({
  ...SessionFilters.toQuery(args),
  page_size: unlessAuto(args.pageSize),
  concurrency: unlessAuto(args.concurrency),
  max_elapsed: args.maxElapsed,
  max_body_bytes: args.maxBodyBytes,
  lookback: args.lookback,
  max_quarantined: args.maxQuarantined,
  redact: args.redact,
  redact_mark: args.redact && markOf(args.redact, secret),
});

/** Name a run by what tells it from all others, the same however often its command is given. */
export const nameOf = (run: number | string, ...tellingApart: ReadonlyArray<string>): string =>
  `${run}-${createHash("sha256").update(JSON.stringify(tellingApart)).digest("hex").slice(0, 12)}`;

/** Have workers do the shards of a run. */
export const dispatch = <E, R>(
  { connected, view }: Queue,
  args: RunArgs,
  secret: Redacted.Redacted | undefined,
  job: Pick<RunJob, "job" | "target" | "into" | "users_listed">,
  { shards, publish, show = () => {} }: Pick<Dispatch.DispatchOptions<E, R>, "shards" | "publish"> & {
    readonly show?: (begun: ReadonlyArray<Export.Progress>) => void;
  },
) =>
  Effect.flatMap(Tracing.nameFor(job.job), (trace) =>
    Dispatch.dispatch(connected, {
      job: { ...job, trace, tenant: args.tenant, how: howOf(args, secret) },
      shards,
      publish,
      show: (begun, found) => {
        show(begun);
        Object.assign(view, found);
      },
      maxElapsed: args.maxElapsed,
    }));
