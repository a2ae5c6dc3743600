/** The queue of runs on many machines: connected to, and given the shards of a run. */
import { createHash, createHmac } from "node:crypto";
import * as Effect from "effect/Effect";
import * as Redacted from "effect/Redacted";
import * as Schema from "effect/Schema";
import type * as Scope from "effect/Scope";
import type * as Types from "effect/Types";
import type { RateLimiter } from "../../api/rate/RateLimiter.ts";
import type { Tenant } from "../../api/Tenant.ts";
import type { Traffic } from "../../api/TenantClient.ts";
import * as SessionFilters from "../../api/SessionFilters.ts";
import type * as Export from "../../export/Export.ts";
import * as RedactionPolicy from "../../session/RedactionPolicy.ts";
import type { SettledPolicy } from "../../session/RedactionPolicy.ts";
import type * as Dispatch from "../../queue/Dispatch.ts";
import * as Engine from "../../queue/Engine.ts";
import * as Names from "../../queue/Names.ts";
import * as QueueError from "../../queue/QueueError.ts";
import * as SharedRate from "../../queue/SharedRate.ts";
import * as QueueServer from "../../queue/QueueServer.ts";
import { Name, type ShardJob } from "../../queue/ShardJob.ts";
import { type UsageError, usageError } from "../ExitCode.ts";
import type { Target } from "../../warehouse/Target.ts";
import * as Settings from "../options/Settings.ts";
import * as WarehouseTarget from "../options/WarehouseTarget.ts";
import * as Tracing from "./tracing.ts";

/** Flags that every run on many machines has. */
export interface QueueArgs {
  readonly queue: string | undefined;
  readonly shards: number | undefined;
  readonly tenant: string;
  readonly target: string;
  readonly tenants: string | undefined;
  readonly targets: string | undefined;
}

/** Tell whether workers are to do it. */
export const isQueued = ({ queue, shards }: Pick<QueueArgs, "queue" | "shards">): boolean =>
  queue !== undefined || shards !== undefined;

export const SHARDS = 64;

/** The schema of a table where none is named. */
const SCHEMA = "monocloud";

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

/** Options of walks that every worker is told. */
export interface HowArgs extends SessionFilters.SessionFilters {
  readonly pageSize: number | "auto";
  readonly concurrency: number | "auto";
  readonly maxElapsed: number;
  readonly maxBodyBytes: number | undefined;
  readonly lookback: number;
  readonly maxQuarantined: Export.MaxQuarantined | undefined;
  readonly redact: SettledPolicy | undefined;
}

const unlessAuto = (value: number | "auto"): number | undefined => value === "auto" ? undefined : value;

/** Mark the secret that a policy hashes with: of 32 bytes or more, it can't be found out by that. */
export const markOf = (policy: SettledPolicy, secret: Redacted.Redacted | undefined): string | undefined =>
  secret === undefined || !RedactionPolicy.needsSecret(policy)
    ? undefined
    : createHmac("sha256", Redacted.value(secret)).update("monocloud-sessions").digest("hex").slice(0, 12);

/** Give what all shards of a run are told of how to walk. */
export const howOf = (args: HowArgs, secret: Redacted.Redacted | undefined): ShardJob["how"] => ({
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

/** The tenant of a run, from its file or from flags and the environment as ever. */
export const tenantOf = (args: QueueArgs & Parameters<typeof Settings.tenantFrom>[0]) =>
  args.tenants !== undefined ? Names.tenant(args, args.tenant) : Effect.gen(function* () {
    const tenant = yield* Settings.tenantFrom(args);
    if (!isQueued(args)) return { tenant, rate: undefined, redactSecret: undefined };
    const secret = yield* Settings.variable("MONOCLOUD_REDACT_SECRET");
    return {
      tenant,
      rate: yield* Names.rateOf(yield* Settings.variable("MONOCLOUD_RATE"), "the environment"),
      redactSecret: secret ? Redacted.make(secret) : undefined,
    } satisfies Names.NamedTenant;
  });

/** Add the requests of workers to those of this process. */
export const withMade = (
  traffic: Traffic,
  { requests, retries }: Pick<Traffic, "requests" | "retries">,
): Traffic => ({
  ...traffic,
  requests: traffic.requests + requests,
  retries: traffic.retries + retries,
});

const isName = Schema.is(Name);

/** The table of a run, and its name at the workers: `--to` is such a name, or leads there from here. */
export const tableOf = (
  args: QueueArgs & Parameters<typeof WarehouseTarget.from>[0],
): Effect.Effect<{ readonly name: string; readonly target: Target }, UsageError | Names.NameError> =>
  Effect.gen(function* () {
    const { to } = args;
    if (to === undefined || !isName(to)) {
      // As a worker takes it, unless it is said here.
      const schema = args.schema === SCHEMA
        ? (yield* Settings.variable("MONOCLOUD_SCHEMA")) || SCHEMA
        : args.schema;
      return { name: args.target, target: yield* WarehouseTarget.from({ ...args, schema }) };
    }
    const found = yield* Names.target(args, to);
    if (found.kind === "folder") {
      return yield* usageError(`The target ${to} is a folder: export goes there, and sync to a table`);
    }
    return { name: to, target: yield* WarehouseTarget.named(found) };
  });
