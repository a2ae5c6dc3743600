/**
 * What `monocloud-sessions export` runs.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import { identity } from "effect/Function";
import * as Option from "effect/Option";
import * as Stream from "effect/Stream";
import * as Dataset from "../../dataset/Dataset.ts";
import * as Layout from "../../dataset/Layout.ts";
import type { Batch } from "../../session/Batch.ts";
import * as Export from "../../export/Export.ts";
import type { ApiError } from "../../api/ApiError.ts";
import * as TenantClient from "../../api/TenantClient.ts";
import * as SessionSource from "../../source/SessionSource.ts";
import * as Destination from "../options/Destination.ts";
import type { Args } from "../options/ExportFlags.ts";
import { exitCodes, UsageError } from "../ExitCode.ts";
import * as Interruption from "../ui/Interruption.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Settings from "../options/Settings.ts";
import * as Summary from "../ui/Summary.ts";
import * as Terminal from "../ui/Terminal.ts";
import * as Limited from "../options/Limited.ts";
import { tenantLayer } from "./tenantLayer.ts";
import * as Users from "../options/Users.ts";

/** Runs the export into files, which are all of them complete or none. */
const toFiles = (
  { targets, quarantine }: Extract<Destination.Destination, { readonly kind: "files" }>,
  users: Users.Users,
  options: Pick<Export.ExportOptions<never, never>, "onInvalid" | "maxQuarantined" | "progress">,
  { batches, isCut }: Limited.Limited<ApiError | UsageError, TenantClient.TenantClient>,
  change: (batch: Batch) => Batch,
) =>
  Effect.gen(function* () {
    const { traffic } = yield* TenantClient.TenantClient;
    const report = yield* Export.run({
      source: Stream.map(batches, change),
      targets,
      quarantine,
      ...options,
    });
    const { requests, retries } = traffic();
    const userListUnverifiedReasons = users.unverifiedReasons?.() ?? [];
    const verified = report.verified && userListUnverifiedReasons.length === 0 && !isCut();
    const counts = { ...report, requests, retries, verified, userListUnverifiedReasons };
    return { ...counts, ...(isCut() && { isLimited: true as const }) } satisfies Summary.Told;
  });

const isBegun = (root: string): boolean => {
  try {
    return existsSync(join(root, Layout.names.journal));
  } catch {
    // Under Deno, it may not be looked at.
    return false;
  }
};

/** Runs the export into a dataset, or goes on with it. */
const toDataset = (
  { root, formats }: Extract<Destination.Destination, { readonly kind: "dataset" }>,
  options: Omit<Dataset.DatasetOptions<UsageError | ApiError, TenantClient.TenantClient>, "root" | "formats">,
) =>
  Effect.map(
    Dataset.run({ root, formats, ...options }),
    ({ user_list_unverified_reasons, wasFinished, options: _, files, ...report }) => ({
      ...report,
      userListUnverifiedReasons: user_list_unverified_reasons,
      wasFinished,
      folder: root,
      files: files.map(({ path, ...file }) => ({ name: join(root, path), ...file })),
    } satisfies Summary.Told),
  ).pipe(
    Effect.provide(Terminal.logger),
    Effect.onError((cause) => Terminal.say(Interruption.ofDataset(root, isBegun(root), cause))),
  );

type ExportFailure = Effect.Effect.Error<ReturnType<typeof toFiles> | ReturnType<typeof toDataset>>;

const usageError = (message: string) => Effect.fail(new UsageError({ message }));

/** Runs the command. */
export const run = (args: Args) =>
  Effect.gen(function* () {
    const tenant = yield* Settings.tenantFrom(args);
    const users = yield* Users.from({ ...args, usersFile: Option.getOrUndefined(args.usersFile) });
    const policy = Option.getOrUndefined(args.redact);
    const redact = policy === undefined ? identity : yield* Settings.redactionFrom(policy);
    const destination = yield* Destination.from(args.out, args.format, {
      csv: { escapeFormulas: !args.keepFormulas },
      quarantine: Option.getOrUndefined(args.quarantine),
      noClobber: args.noClobber,
      columns: Option.getOrUndefined(args.columns),
      csvBom: args.csvBom,
    });
    if (args.json && destination.kind === "files" && destination.usesStdout) {
      return yield* usageError("--json and --out - both want standard output: write the export to a file");
    }
    const since = Option.getOrUndefined(args.since);
    if (args.sinceLast && since !== undefined) {
      return yield* usageError(
        "--since-last and --since can't be combined: the one goes by what the folder knows",
      );
    }
    if ((args.sinceLast || since !== undefined) && Option.isSome(args.sort)) {
      return yield* usageError("--since-last and --since read newest change first: leave out --sort");
    }
    if (args.sinceLast && destination.kind === "files") {
      return yield* usageError(
        "--since-last goes with a folder, which knows what was exported last: or use --since TIME",
      );
    }
    if (args.prune && !args.sinceLast) {
      return yield* usageError(
        "--prune goes with --since-last: it compares the folder with what the tenant lists now",
      );
    }
    if (args.resume && destination.kind === "files") {
      return yield* usageError(
        "--resume goes with a folder: files are all complete, or none of them is there",
      );
    }
    const limit = Option.getOrUndefined(args.limit);
    if (limit !== undefined && destination.kind === "dataset") {
      return yield* usageError(
        "--limit goes with files: a folder is to hold all, so that later runs can add to it",
      );
    }
    const walk: SessionSource.SessionSourceOptions = {
      ...Settings.filtersFrom(args),
      sort: Option.getOrUndefined(args.sort),
      pageSize: args.pageSize,
      concurrency: args.concurrency,
      areListed: args.allUsers,
    };
    if (destination.kind === "files" && !args.quiet) {
      yield* Terminal.say(destination.replaced.map((path) => `The export replaces ${path}, which exists`));
    }
    const progress = Export.noProgress();

    const { onInvalid } = args;
    const maxQuarantined = Option.getOrUndefined(args.maxQuarantined);
    const work = Effect.gen(function* () {
      const { traffic } = yield* TenantClient.TenantClient;
      const exporting: Effect.Effect<Summary.Told, ExportFailure, TenantClient.TenantClient> =
        destination.kind === "files"
          ? Effect.onInterrupt(
            toFiles(
              destination,
              users,
              { onInvalid, maxQuarantined, progress },
              Limited.to(
                since === undefined
                  ? SessionSource.batches(users.ids, walk)
                  : SessionSource.changes(users.ids, { ...walk, ...since }),
                limit,
              ),
              redact,
            ),
            () => Terminal.say(Interruption.ofFiles(destination.usesStdout)),
          )
          : toDataset(destination, {
            users,
            tenant: tenant.origin,
            mode: args.resume ? "resume" : "new",
            walk,
            options: { keepFormulas: args.keepFormulas, redact: policy },
            changes: args.sinceLast ? "since-last" : Option.getOrUndefined(args.since),
            prune: args.prune,
            lookback: args.lookback,
            change: redact,
            onInvalid,
            maxQuarantined,
            partRows: Option.getOrUndefined(args.partRows),
            partBytes: Option.getOrUndefined(args.partBytes),
            progress,
          });
      const usersTotal = () => progress.usersTotal ?? users.total?.();
      const advised = destination.kind === "files" && !destination.usesStdout
        ? Interruption.advising(exporting, () => ({
          users: usersTotal(),
          sessions: progress.listed,
          pageSize: args.pageSize,
          rate: args.rate,
        }))
        : exporting;
      const told = yield* args.quiet ? exporting : ProgressBar.during(advised, () => ({
        ...progress,
        ...traffic(),
        usersTotal: usersTotal(),
        limit: args.rate,
      }));
      if (!args.quiet) yield* Terminal.say(Summary.lines(told));
      yield* Terminal.say(Summary.warnings(told).map((warning) => `Warning: ${warning}`));
      if (args.json) yield* Terminal.print([Terminal.printableJson(told)]);
      const isComplete = told.verified && told.quarantined === 0 &&
        (told.missing.count === 0 || args.allUsers);
      process.exitCode = isComplete ? exitCodes.done : exitCodes.incomplete;
    });
    const { rate, maxElapsed } = args;
    const limits = { rate, maxElapsed, maxBodyBytes: Option.getOrUndefined(args.maxBodyBytes) };
    yield* Effect.provide(work, tenantLayer(tenant, limits, args.verbose));
  });
