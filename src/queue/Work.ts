/** The work on a shard, as a worker has it done. */
import type * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { RateLimiter } from "../api/rate/RateLimiter.ts";
import type { Traffic } from "../api/TenantClient.ts";
import type * as Export from "../export/Export.ts";
import type * as Names from "./Names.ts";
import type { ShardJob } from "./ShardJob.ts";

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
  job: ShardJob,
  context: WorkContext,
) => Effect.Effect<string | undefined, unknown, R | Scope.Scope>;
