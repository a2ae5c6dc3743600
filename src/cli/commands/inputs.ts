/** The inputs of exports and syncs: the tenant, the users and the redaction. What queues take is loaded where there is one. */
import * as Effect from "effect/Effect";
import { identity } from "effect/Function";
import * as Redacted from "effect/Redacted";
import type { Traffic } from "../../api/TenantClient.ts";
import type { NamedTenant } from "../../queue/Names.ts";
import type { QueueError } from "../../queue/QueueError.ts";
import type { Batch } from "../../session/Batch.ts";
import * as Settings from "../options/Settings.ts";
import * as Users from "../options/Users.ts";
import type { RunArgs } from "../options/WarehouseFlags.ts";
import type { Queue } from "./queueing.ts";

/** Tell whether workers are to do it. */
export const isQueued = ({ queue, shards }: RunArgs): boolean => queue !== undefined || shards !== undefined;

/** The number of shards where none is given. */
export const SHARDS = 64;

/** The tenant of a run, from its file or from flags and the environment as ever. */
const tenantOf = (args: RunArgs) =>
  Effect.gen(function* () {
    if (args.tenants === undefined && !isQueued(args)) {
      return { tenant: yield* Settings.tenantFrom(args), rate: undefined, redactSecret: undefined };
    }
    const Names = yield* Effect.promise(() => import("../../queue/Names.ts"));
    if (args.tenants !== undefined) return yield* Names.tenant(args, args.tenant);
    const tenant = yield* Settings.tenantFrom(args);
    const secret = yield* Settings.variable("MONOCLOUD_REDACT_SECRET");
    return {
      tenant,
      rate: yield* Names.rateOf(yield* Settings.variable("MONOCLOUD_RATE"), "the environment"),
      redactSecret: secret ? Redacted.make(secret) : undefined,
    } satisfies NamedTenant;
  });

/** Read what every run is given. */
export const inputsOf = (args: RunArgs) =>
  Effect.gen(function* () {
    const { tenant, rate = args.rate, redactSecret } = yield* tenantOf(args);
    const users: Users.Users<QueueError> = yield* Users.from(args);
    const redact: (batch: Batch) => Batch = args.redact === undefined
      ? identity
      : yield* Settings.redactionFrom(args.redact, redactSecret);
    return { tenant, rate, redactSecret, users, redact };
  });

/** Add the requests of workers to those of this process. */
export const withWorkers = (traffic: Traffic, queue: Queue | undefined) => ({
  ...traffic,
  requests: traffic.requests + (queue?.view.requests ?? 0),
  retries: traffic.retries + (queue?.view.retries ?? 0),
  workers: queue?.view.workers,
});
