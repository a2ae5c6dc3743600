/** The work on one shard: by what a job says, with the tenant and the target that its names stand for here. */
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { ApiError } from "../../api/ApiError.ts";
import * as SessionFilters from "../../api/SessionFilters.ts";
import * as TenantClient from "../../api/TenantClient.ts";
import type { Transport } from "../../api/transport/Transport.ts";
import type { DatasetError } from "../../dataset/DatasetError.ts";
import * as ShardRun from "../../dataset/ShardRun.ts";
import type * as Export from "../../export/Export.ts";
import * as Formats from "../../format/Formats.ts";
import * as Names from "../../queue/Names.ts";
import type * as ShardJob from "../../queue/ShardJob.ts";
import type { WorkContext } from "../../queue/ShardTaker.ts";
import * as Redaction from "../../session/Redaction.ts";
import type { SinkError } from "../../sink/Sink.ts";
import type { TargetError } from "../../warehouse/Target.ts";
import * as ShardSync from "../../warehouse/ShardSync.ts";
import * as Queueing from "./queueing.ts";
import * as WarehouseTarget from "../options/WarehouseTarget.ts";

type Failure = ApiError | TargetError | Export.ExportError | Names.NameError | DatasetError | SinkError;

/** Give the formats of a job, as the command makes them of its flags. */
const formatsOf = ({ formats, keep_formulas = false, parquet_version, row_group_rows }: ShardJob.Folder) =>
  Effect.forEach(formats, (name) => {
    const choice = Formats.choose(name, {
      csv: { escapeFormulas: !keep_formulas },
      parquet: {
        ...(parquet_version !== undefined && { version: parquet_version }),
        ...(row_group_rows !== undefined && { rowGroupRows: row_group_rows }),
      },
    });
    return choice === undefined
      ? new Names.NameError({ message: `There is no format ${name}` })
      : Effect.succeed(choice);
  });

const wrong = (name: string, is: Names.NamedTarget["kind"]) =>
  new Names.NameError({
    message: is === "table"
      ? `The target ${name} is a table here, and this run goes into a folder`
      : `The target ${name} is a folder here, and this run goes into a table`,
  });

/** Work on a shard to its end. Gives the name of what is to be published, where there is a choice. */
export const run = (
  { job, tenant: tenantName, target: targetName, shard, into, how, users_listed: areListed }:
    ShardJob.ShardJob,
  { places, limiterOf, progress, onTraffic, lease }: WorkContext,
): Effect.Effect<string | undefined, Failure, Transport | Scope.Scope> =>
  Effect.gen(function* () {
    const named = yield* Names.tenant(places, tenantName);
    const to = yield* Names.target(places, targetName);
    if (to.kind !== into.kind) return yield* wrong(targetName, to.kind);
    const limiter = yield* limiterOf(named);
    const { redact, page_size: pageSize, concurrency, lookback, max_quarantined: maxQuarantined } = how;
    const limits = {
      ...(how.max_elapsed !== undefined && { maxElapsed: how.max_elapsed }),
      ...(how.max_body_bytes !== undefined && { maxBodyBytes: how.max_body_bytes }),
    };
    const policy = redact && Redaction.settle(redact);
    if (policy !== undefined && how.redact_mark !== Queueing.markOf(policy, named.redactSecret)) {
      return yield* new Names.NameError({
        message:
          "MONOCLOUD_REDACT_SECRET is another here than where the run was begun: all machines need the same",
      });
    }
    const change = policy === undefined ? undefined : yield* Effect.try({
      try: () => Redaction.make(policy, named.redactSecret),
      catch: (error) => new Names.NameError({ message: (error as Error).message }),
    });
    const walk = {
      ...SessionFilters.fromQuery(how),
      pageSize: pageSize ?? "auto" as const,
      concurrency: concurrency ?? "auto" as const,
    };
    const common = {
      tenant: named.tenant.origin,
      areListed,
      lookback,
      maxQuarantined,
      change,
      progress,
      walk,
    };
    const work = Effect.gen(function* () {
      const { traffic } = yield* TenantClient.TenantClient;
      onTraffic(traffic);
      if (into.kind === "table" && to.kind === "table") {
        yield* ShardSync.run({
          ...common,
          target: yield* WarehouseTarget.named(to),
          shard: {
            run: into.run,
            shard,
            isIts: (began) => Queueing.nameOf(into.run, tenantName, targetName, began) === job,
          },
          prune: into.prune,
          deletes: into.deletes,
          badText: into.bad_text,
          checkpointRows: into.checkpoint_rows,
          checkpointEvery: into.checkpoint_every,
          redaction: policy,
          lease,
        });
      }
      if (into.kind === "folder" && to.kind === "folder") {
        const { attempt } = yield* ShardRun.run({
          ...common,
          root: to.root,
          shard: `${into.run}/${String(shard).padStart(4, "0")}`,
          formats: yield* formatsOf(into),
          walk: { ...walk, sort: into.sort },
          options: { keepFormulas: into.keep_formulas ?? false, redact: policy },
          onInvalid: into.on_invalid,
          partRows: into.part_rows,
          partBytes: into.part_bytes,
        });
        return attempt;
      }
      return undefined;
    });
    return yield* Effect.provide(work, TenantClient.layerOf(named.tenant, limits, limiter));
  });
