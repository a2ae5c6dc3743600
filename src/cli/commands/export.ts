/** The program of `monocloud-sessions export`. */
import { join } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import * as SessionFilters from "../../api/SessionFilters.ts";
import * as TenantClient from "../../api/TenantClient.ts";
import * as Dataset from "../../dataset/Dataset.ts";
import * as Layout from "../../dataset/Layout.ts";
import type { OpenShard, Publish } from "../../dataset/DatasetOptions.ts";
import * as Export from "../../export/Export.ts";
import * as Formats from "../../format/Formats.ts";
import type * as ShardJob from "../../queue/ShardJob.ts";
import * as SessionSource from "../../source/SessionSource.ts";
import { usageError } from "../ExitCode.ts";
import * as Destination from "../options/Destination.ts";
import type { Args } from "../options/ExportFlags.ts";
import * as ExportRules from "../options/ExportRules.ts";
import * as Limited from "../options/Limited.ts";
import * as Interruption from "../ui/Interruption.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Summary from "../ui/Summary.ts";
import * as Terminal from "../ui/Terminal.ts";
import * as Queueing from "./queueing.ts";
import { tenantLayer } from "./tenantLayer.ts";
import * as Tracing from "./tracing.ts";

/** Read all that is asked for, and refuse what can't be done, before any request. */
const planOf = (args: Args) =>
  Effect.gen(function* () {
    const inputs = yield* Queueing.inputsOf(args);
    const { tenant, rate } = inputs;
    const destination = yield* Destination.from(args.out, args.format, {
      csv: { escapeFormulas: !args.keepFormulas },
      parquet: {
        ...(args.parquetVersion === undefined ? {} : { version: args.parquetVersion }),
        ...(args.rowGroupRows === undefined ? {} : { rowGroupRows: args.rowGroupRows }),
      },
      quarantine: args.quarantine,
      noClobber: args.noClobber,
      columns: args.columns,
      csvBom: args.csvBom,
    });
    const flaw = ExportRules.flawIn(args, destination);
    if (flaw !== undefined) return yield* usageError(flaw);
    const walk: SessionSource.SessionSourceOptions = {
      ...SessionFilters.pick(args),
      sort: args.sort,
      pageSize: args.pageSize,
      concurrency: args.concurrency,
      areListed: args.allUsers,
    };
    // Its workers do it, where there is one.
    const queue = Queueing.isQueued(args) ? yield* Queueing.open(args.queue, { tenant, rate }) : undefined;
    const progress = Export.noProgress();
    return { ...inputs, args, queue, destination, walk, progress };
  });

type Plan = Effect.Effect.Success<ReturnType<typeof planOf>>;

const conclude = (args: Args, told: Summary.Told) =>
  Summary.conclude(told, { ...args, isComplete: Summary.isComplete(told, args) });

/** Run the export into files, which are all of them complete or none. */
const toFiles = (
  { args, users, walk, redact, progress }: Plan,
  { targets, quarantine, usesPipe }: Extract<Destination.Destination, { readonly kind: "files" }>,
) =>
  Effect.gen(function* () {
    const { traffic } = yield* TenantClient.TenantClient;
    const { since } = args;
    const all = since === undefined
      ? SessionSource.batches(users.ids, walk)
      : SessionSource.changes(users.ids, { ...walk, ...since });
    const { batches, isCut } = Limited.to(all, args.limit);
    // What is said of complete files is said whoever interrupts: from then on there is nothing left to stop.
    const onComplete = (report: Export.Report) => {
      const { requests, retries } = traffic();
      const told = { ...Export.withUserList(report, users.unverifiedReasons?.() ?? []), requests, retries };
      return conclude(args, isCut() ? { ...told, verified: false, isLimited: true } : told);
    };
    yield* Export.run({
      source: Stream.map(batches, redact),
      targets,
      quarantine,
      onInvalid: args.onInvalid,
      maxQuarantined: args.maxQuarantined,
      progress,
      onComplete,
    });
  }).pipe(
    Effect.onInterrupt(() =>
      process.exitCode === undefined ? Terminal.say(Interruption.ofFiles(usesPipe)) : Effect.void
    ),
  );

/** Have workers do the shards of an export. */
const inShards = (
  { args, users, redactSecret }: Plan,
  queue: Queueing.Queue,
  formats: ReadonlyArray<Formats.Choice>,
) => ({
  count: args.shards ?? Queueing.SHARDS,
  dispatch: (open: ReadonlyArray<OpenShard>, publish: Publish) => {
    const run = open[0]!.id.split("/")[0]!;
    return Queueing.dispatch(queue, args, redactSecret, {
      job: run,
      target: args.target,
      into: {
        kind: "folder",
        run,
        formats: formats.map(Formats.nameOf) as unknown as ShardJob.Folder["formats"],
        on_invalid: args.onInvalid,
        part_rows: args.partRows,
        part_bytes: args.partBytes,
        keep_formulas: args.keepFormulas,
        parquet_version: args.parquetVersion,
        row_group_rows: args.rowGroupRows,
        sort: args.sort,
      },
      users_listed: users.all === true,
    }, {
      shards: open,
      // A failure to write ends the run by itself.
      publish: (shard, attempt) =>
        publish(shard, attempt ?? "").pipe(
          Effect.as(undefined),
          Effect.catchTag("DatasetError", ({ message }) => Effect.succeed(message)),
        ),
    });
  },
});

const toDataset = (
  plan: Plan,
  { root, formats }: Extract<Destination.Destination, { readonly kind: "dataset" }>,
) => {
  const { args, users, tenant, queue, walk, redact, progress } = plan;
  return Effect.map(
    Dataset.run({
      ...args,
      root,
      formats,
      users,
      tenant: tenant.origin,
      mode: args.resume ? "resume" : "new",
      walk,
      options: { keepFormulas: args.keepFormulas, redact: args.redact },
      changes: args.sinceLast ? "since-last" : args.since,
      byActivity: args.byActivity ? { sweepEvery: args.sweepEvery / 1000 } : undefined,
      change: redact,
      progress,
      shards: queue && inShards(plan, queue, formats),
    }),
    ({ user_list_unverified_reasons, wasFinished, options: _, files, ...report }) => ({
      ...report,
      userListUnverifiedReasons: user_list_unverified_reasons,
      wasFinished,
      folder: root,
      files: files.map(({ path, ...file }) => ({ name: join(root, path), ...file })),
    } satisfies Summary.Told),
  ).pipe(
    Effect.provide(Terminal.logger),
    Effect.onError((cause) =>
      Terminal.say(Interruption.ofDataset(root, Destination.isThere(join(root, Layout.names.journal)), cause))
    ),
  );
};

type ExportFailure = Effect.Effect.Error<ReturnType<typeof toFiles> | ReturnType<typeof toDataset>>;

type Exporting = Effect.Effect<void, ExportFailure, TenantClient.TenantClient>;

/** Show how far an export has come, and say what there is to say of it beforehand. */
const shown = ({ args, rate, destination, queue, users, progress }: Plan, exporting: Exporting) =>
  Effect.gen(function* () {
    if (args.quiet) return yield* exporting;
    const { traffic } = yield* TenantClient.TenantClient;
    const isFiles = destination.kind === "files";
    if (!isFiles && args.sinceLast && !Destination.isThere(join(destination.root, Layout.names.manifest))) {
      yield* Terminal.say([`There is no earlier run in ${destination.root}: this one exports everything`]);
    }
    if (isFiles) {
      yield* Terminal.say(destination.replaced.map((path) => `The export replaces ${path}, which exists`));
    }
    const usersTotal = () => progress.usersTotal ?? users.total?.();
    const size = () => ({
      users: usersTotal(),
      sessions: progress.listed,
      pageSize: args.pageSize,
      rate,
    });
    return yield* ProgressBar.during(
      isFiles && !destination.usesPipe ? Interruption.advising(exporting, size) : exporting,
      () => ({
        ...(queue === undefined ? progress : Export.sumOfProgress([progress, ...queue.view.under])),
        ...Queueing.withWorkers(traffic(), queue),
        usersTotal: usersTotal(),
        limit: rate,
      }),
    );
  });

export const run = (args: Args) =>
  Effect.scoped(Effect.gen(function* () {
    const plan = yield* planOf(args);
    const { destination, tenant, rate, queue } = plan;
    const exporting: Exporting = destination.kind === "files"
      ? toFiles(plan, destination)
      : Effect.flatMap(toDataset(plan, destination), (told) => conclude(args, told));
    const { maxElapsed, verbose } = args;
    const limits = { rate, maxElapsed, maxBodyBytes: args.maxBodyBytes };
    yield* Effect.provide(shown(plan, exporting), tenantLayer(tenant, limits, verbose, queue)).pipe(
      Tracing.ofRun(queue, { tenant: args.tenant, target: args.target, kind: "folder" }),
    );
  }));
