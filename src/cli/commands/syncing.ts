/** The program of `monocloud-sessions sync`. */
import * as Effect from "effect/Effect";
import { identity } from "effect/Function";
import type * as Redacted from "effect/Redacted";
import * as SessionFilters from "../../api/SessionFilters.ts";
import { TenantClient } from "../../api/TenantClient.ts";
import * as Export from "../../export/Export.ts";
import * as Dispatch from "../../queue/Dispatch.ts";
import type { QueueError } from "../../queue/QueueError.ts";
import type { ShardWork } from "../../warehouse/ShardOptions.ts";
import * as Sync from "../../warehouse/Sync.ts";
import { usageError } from "../ExitCode.ts";
import * as Settings from "../options/Settings.ts";
import * as Users from "../options/Users.ts";
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
  dispatch: ({ run, began, prune, shards, show }: ShardWork) => {
    const job = Queueing.nameOf(run, args.tenant, target, began);
    return Effect.flatMap(Tracing.nameFor(job), (trace) =>
      Dispatch.dispatch(queue.connected, {
        job: {
          job,
          trace,
          tenant: args.tenant,
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
          how: Queueing.howOf(args, secret),
          users_listed: areListed,
        },
        shards,
        show: (begun, view) => {
          show(begun);
          Object.assign(queue.view, view);
        },
        // A shard that has ended is in the table.
        publish: () => Effect.succeed(undefined),
        maxElapsed: args.maxElapsed,
      }));
  },
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
    const { tenant, rate = args.rate, redactSecret } = yield* Queueing.tenantOf(args);
    const queue = isQueued ? yield* Queueing.open(args.queue, { tenant, rate }) : undefined;
    const users: Users.Users<QueueError> = yield* Users.from(args);
    const change = args.redact === undefined
      ? identity
      : yield* Settings.redactionFrom(args.redact, redactSecret);
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
        change,
        redaction: args.redact,
        progress,
        shards: queue && inShards(args, queue, redactSecret, name, users.all === true),
      }),
      Terminal.logger,
    );
    const shown = Effect.flatMap(TenantClient, ({ traffic }) =>
      args.quiet ? syncing : ProgressBar.during(syncing, () => ({
        ...progress,
        ...(queue === undefined ? traffic() : Queueing.withMade(traffic(), queue.view)),
        workers: queue?.view.workers,
        usersTotal: progress.usersTotal ?? users.total?.(),
        limit: rate,
      })));
    const report = yield* Effect.provide(
      shown,
      tenantLayer(tenant, { rate, maxElapsed, maxBodyBytes }, args.verbose, queue),
    ).pipe(Tracing.ofRun(queue, { tenant: args.tenant, target: name, kind: "table" }));
    yield* Summary.concludeSync(report, { ...args, isComplete: Summary.isComplete(report, args) });
  }));
