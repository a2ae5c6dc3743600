/** The program of `monocloud-sessions sync`. */
import * as Effect from "effect/Effect";
import { identity } from "effect/Function";
import * as SessionFilters from "../../api/SessionFilters.ts";
import { TenantClient } from "../../api/TenantClient.ts";
import * as Export from "../../export/Export.ts";
import * as Sync from "../../warehouse/Sync.ts";
import { usageError } from "../ExitCode.ts";
import * as Settings from "../options/Settings.ts";
import * as Users from "../options/Users.ts";
import type { SyncArgs } from "../options/WarehouseFlags.ts";
import * as WarehouseTarget from "../options/WarehouseTarget.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Terminal from "../ui/Terminal.ts";
import * as WarehouseSummary from "../ui/WarehouseSummary.ts";
import { tenantLayer } from "./tenantLayer.ts";

export const run = (args: SyncArgs) =>
  Effect.gen(function* () {
    const target = yield* WarehouseTarget.from(args);
    if (args.printDdl) return yield* WarehouseTarget.printDdl(target, args.history);
    if (args.byActivity && !args.allUsers) {
      return yield* usageError(
        "--by-activity goes with --all-users: it asks those whom the list of users tells of",
      );
    }
    const tenant = yield* Settings.tenantFrom(args);
    const users = yield* Users.from(args);
    const change = args.redact === undefined ? identity : yield* Settings.redactionFrom(args.redact);
    const progress = Export.noProgress();
    const { rate, maxElapsed, maxBodyBytes, pageSize, concurrency } = args;
    const syncing = Effect.provide(
      Sync.sync({
        target,
        users,
        tenant: tenant.origin,
        walk: { ...SessionFilters.pick(args), pageSize, concurrency },
        prune: args.prune,
        byActivity: args.byActivity ? { sweepEvery: args.sweepEvery / 1000 } : undefined,
        deletes: args.deletes,
        lookback: args.lookback,
        history: args.history,
        badText: args.badText,
        checkpointRows: args.checkpointRows,
        checkpointEvery: args.checkpointEvery,
        wait: args.wait,
        maxElapsed,
        change,
        redaction: args.redact,
        maxQuarantined: args.maxQuarantined,
        progress,
      }),
      Terminal.logger,
    );
    const shown = Effect.flatMap(TenantClient, ({ traffic }) =>
      args.quiet ? syncing : ProgressBar.during(syncing, () => ({
        ...progress,
        ...traffic(),
        usersTotal: progress.usersTotal ?? users.total?.(),
        limit: rate,
      })));
    const report = yield* Effect.provide(
      shown,
      tenantLayer(tenant, { rate, maxElapsed, maxBodyBytes }, args.verbose),
    );
    const isComplete = report.verified && report.quarantined === 0 &&
      (report.missing.count === 0 || args.allUsers);
    yield* WarehouseSummary.conclude(report, { ...args, isComplete });
  });
