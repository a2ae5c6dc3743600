/** The program of `monocloud-sessions sync`. */
import * as Effect from "effect/Effect";
import type * as Redacted from "effect/Redacted";
import * as Schema from "effect/Schema";
import * as SessionFilters from "../../api/SessionFilters.ts";
import { TenantClient } from "../../api/TenantClient.ts";
import * as Export from "../../export/Export.ts";
import * as Names from "../../queue/Names.ts";
import { Name } from "../../queue/ShardJob.ts";
import type { ShardWork } from "../../warehouse/SyncOptions.ts";
import * as Sync from "../../warehouse/Sync.ts";
import type { Target } from "../../warehouse/Target.ts";
import { type UsageError, usageError } from "../ExitCode.ts";
import type { SyncArgs } from "../options/WarehouseFlags.ts";
import * as Settings from "../options/Settings.ts";
import * as WarehouseTarget from "../options/WarehouseTarget.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Summary from "../ui/Summary.ts";
import * as Terminal from "../ui/Terminal.ts";
import * as Inputs from "./inputs.ts";
import * as Queueing from "./queueing.ts";
import { tenantLayer } from "./tenantLayer.ts";
import * as Tracing from "./tracing.ts";

/** The schema of a table where none is named. */
const SCHEMA = "monocloud";

const isName = Schema.is(Name);

/** The table of a run, and its name at the workers: `--to` is such a name, or leads there from here. */
const tableOf = (
  args: SyncArgs,
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

/** Have workers do the shards of a sync. */
const inShards = (
  args: SyncArgs,
  queue: Queueing.Queue,
  secret: Redacted.Redacted | undefined,
  target: string,
  areListed: boolean,
) => ({
  count: args.shards ?? Inputs.SHARDS,
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
    const isQueued = Inputs.isQueued(args);
    const { name, target } = isQueued
      ? yield* tableOf(args)
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
    const { tenant, rate, redactSecret, users, redact } = yield* Inputs.inputsOf(args);
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
        ...Inputs.withWorkers(traffic(), queue),
        usersTotal: progress.usersTotal ?? users.total?.(),
        limit: rate,
      })));
    const report = yield* Effect.provide(
      shown,
      tenantLayer(tenant, { rate, maxElapsed, maxBodyBytes }, args.verbose, queue),
    ).pipe(Tracing.ofRun(queue, { tenant: args.tenant, target: name, kind: "table" }));
    yield* Summary.concludeSync(report, { ...args, isComplete: Summary.isComplete(report, args) });
  }));
