/** The program of `monocloud-sessions sync`. */
import * as Effect from "effect/Effect";
import type * as Redacted from "effect/Redacted";
import * as SessionFilters from "../../api/SessionFilters.ts";
import { TenantClient } from "../../api/TenantClient.ts";
import * as Export from "../../export/Export.ts";
import type { ShardWork } from "../../warehouse/SyncOptions.ts";
import * as Sync from "../../warehouse/Sync.ts";
import { usageError } from "../ExitCode.ts";
import type { SyncArgs } from "../options/WarehouseFlags.ts";
import * as WarehouseTarget from "../options/WarehouseTarget.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Summary from "../ui/Summary.ts";
import * as Terminal from "../ui/Terminal.ts";
import * as Queueing from "./queueing.ts";
import { tenantLayer } from "./tenantLayer.ts";
import * as Tracing from "./tracing.ts";

/** Have workers do the shards of a sync. */
const inShards = (
  args: SyncArgs,
  queue: Queueing.Queue,
  secret: Redacted.Redacted | undefined,
  target: string,
  areListed: boolean,
) => ({
  count: args.shards ?? Queueing.SHARDS,
  dispatch: ({ run, began, prune, shards, show }: ShardWork) =>
    Queueing.dispatch(queue, args, secret, {
      job: Queueing.nameOf(run, args.tenant, target, began),
      target,
      into: {
        kind: "table",
        run,
        prune,
        deletes: args.deletes,
        bad_text: args.badText,
        checkpoint_rows: args.checkpointRows,
        checkpoint_every: args.checkpointEvery,
      },
      users_listed: areListed,
    }, {
      shards,
      show,
      // A shard that has ended is in the table.
      publish: () => Effect.succeed(undefined),
    }),
});

export const run = (args: SyncArgs) =>
  Effect.scoped(Effect.gen(function* () {
    const isQueued = Queueing.isQueued(args);
    const { name, target } = isQueued
      ? yield* Queueing.tableOf(args)
      : { name: "", target: yield* WarehouseTarget.from(args) };
    if (args.printDdl) return yield* WarehouseTarget.printDdl(target, args.history);
    if (args.byActivity && !args.allUsers) {
      return yield* usageError(
        "--by-activity goes with --all-users: it asks those whom the list of users tells of",
      );
    }
    if (args.byActivity && isQueued) {
      return yield* usageError(
        "--by-activity asks few users, in this process: leave out --queue and --shards",
      );
    }
    const { tenant, rate, redactSecret, users, redact } = yield* Queueing.inputsOf(args);
    const queue = isQueued ? yield* Queueing.open(args.queue, { tenant, rate }) : undefined;
    const progress = Export.noProgress();
    const { maxElapsed, maxBodyBytes, pageSize, concurrency } = args;
    const syncing = Effect.provide(
      Sync.sync({
        ...args,
        target,
        users,
        tenant: tenant.origin,
        walk: { ...SessionFilters.pick(args), pageSize, concurrency },
        byActivity: args.byActivity ? { sweepEvery: args.sweepEvery / 1000 } : undefined,
        change: redact,
        redaction: args.redact,
        progress,
        shards: queue && inShards(args, queue, redactSecret, name, users.all === true),
      }),
      Terminal.logger,
    );
    const shown = Effect.flatMap(TenantClient, ({ traffic }) =>
      args.quiet ? syncing : ProgressBar.during(syncing, () => ({
        ...progress,
        ...Queueing.withWorkers(traffic(), queue),
        usersTotal: progress.usersTotal ?? users.total?.(),
        limit: rate,
      })));
    const report = yield* Effect.provide(
      shown,
      tenantLayer(tenant, { rate, maxElapsed, maxBodyBytes }, args.verbose, queue),
    ).pipe(Tracing.ofRun(queue, { tenant: args.tenant, target: name, kind: "table" }));
    yield* Summary.concludeSync(report, { ...args, isComplete: Summary.isComplete(report, args) });
  }));
