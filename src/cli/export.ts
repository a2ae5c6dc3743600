/**
 * `monocloud-sessions export`.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import * as Command from "@effect/cli/Command";
import * as Options from "@effect/cli/Options";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import { identity } from "effect/Function";
import * as Option from "effect/Option";
import * as Stream from "effect/Stream";
import * as Dataset from "../dataset/Dataset.ts";
import * as Folder from "../dataset/Folder.ts";
import type { Batch } from "../Batch.ts";
import * as Export from "../Export.ts";
import type { ApiError } from "../tenant/ApiError.ts";
import { TenantHttp } from "../tenant/HttpPolicy.ts";
import { LOOKBACK } from "../walk/Changes.ts";
import * as SessionSource from "../walk/SessionSource.ts";
import * as Destination from "./Destination.ts";
import { exitCodes, UsageError } from "./Failure.ts";
import * as ProgressBar from "./ProgressBar.ts";
import * as Settings from "./Settings.ts";
import * as Summary from "./Summary.ts";
import * as Terminal from "./Terminal.ts";
import * as Users from "./Users.ts";

const options = {
  user: Options.text("user").pipe(
    Options.withPseudoName("ID"),
    Options.withDescription("Export the sessions of this user. Repeatable."),
    Options.repeated,
  ),
  usersFile: Options.text("users-file").pipe(
    Options.withPseudoName("FILE"),
    Options.withDescription(
      "Export the sessions of the users in this file, one id a line; - reads standard input.",
    ),
    Options.optional,
  ),
  allUsers: Options.boolean("all-users").pipe(
    Options.withDescription("Export the sessions of every user of the tenant."),
  ),
  out: Options.text("out").pipe(
    Options.withPseudoName("PATH"),
    Options.withDescription(
      "A file, whose name says its format: .ndjson, .csv or .parquet, .ndjson.gz or .csv.gz. Repeatable. " +
        "Or - for standard output, or a folder, each with --format.",
    ),
    Options.repeated,
  ),
  format: Options.text("format").pipe(
    Options.withPseudoName("FORMAT"),
    Options.withDescription(
      "For a folder or standard output: ndjson, csv, parquet, ndjson.gz or csv.gz. Repeatable.",
    ),
    Options.repeated,
  ),
  domain: Settings.domain,
  apiKeyFile: Settings.apiKeyFile,
  clientId: Settings.clientId,
  sort: Settings.sort,
  pageSize: Settings.pageSize,
  concurrency: Settings.whole("concurrency", 1, 1000).pipe(
    Options.withPseudoName("N"),
    Options.withDescription("How many requests may be under way at once, 8 if left out."),
    Options.withDefault(8),
  ),
  rate: Settings.rate,
  maxElapsed: Settings.maxElapsed,
  resume: Options.boolean("resume").pipe(
    Options.withDescription(
      "Go on with the export in the folder where it was broken off, or try the users again that failed. Begins one if there is none.",
    ),
  ),
  sinceLast: Options.boolean("since-last").pipe(
    Options.withDescription(
      "Add to the folder what has changed since its last run; of a user without a change one page is asked for.",
    ),
  ),
  pruneReport: Options.boolean("prune-report").pipe(
    Options.withDescription(
      "With --since-last: read every list to its end, and write down in removed/ which sessions the tenant lists no more.",
    ),
  ),
  since: Settings.since,
  lookback: Settings.whole("lookback", 0, 31 * 86_400).pipe(
    Options.withPseudoName("SECONDS"),
    Options.withDescription(
      "How far before the last run --since-last looks once more for changes that showed late, 300 if left out. Nothing is repeated.",
    ),
    Options.withDefault(LOOKBACK),
  ),
  partRows: Settings.whole("part-rows", 1, 1e9).pipe(
    Options.withPseudoName("N"),
    Options.withDescription(
      "In a folder: complete a part once it holds so many sessions, 500000 if left out.",
    ),
    Options.optional,
  ),
  partBytes: Settings.partBytes,
  onInvalid: Options.choice("on-invalid", ["quarantine", "fail"]).pipe(
    Options.withDescription(
      "What to do with a row that is not a session: put it aside, whole (if left out), or fail.",
    ),
    Options.withDefault("quarantine" as const),
  ),
  rejected: Options.text("rejected").pipe(
    Options.withPseudoName("FILE"),
    Options.withDescription(
      "Where rows that are not sessions are put aside. Left out: beside the first output.",
    ),
    Options.optional,
  ),
  maxRejected: Settings.maxRejected,
  keepFormulas: Options.boolean("keep-formulas").pipe(
    Options.withDescription(
      "Write CSV text that a spreadsheet would take for a formula as it is, without a ' before it.",
    ),
  ),
  redact: Settings.redact,
  json: Options.boolean("json").pipe(
    Options.withDescription("Print the report on standard output, as one JSON object."),
  ),
  quiet: Options.boolean("quiet").pipe(
    Options.withDescription("Show no progress and no summary, only what went wrong."),
  ),
};

/** Runs the export into files, which are all of them complete or none. */
const toFiles = (
  { targets, rejects }: Extract<Destination.Destination, { readonly kind: "files" }>,
  users: Users.Users,
  options: Pick<Export.ExportOptions<never, never>, "onInvalid" | "maxRejected" | "progress">,
  batches: Stream.Stream<Batch, ApiError | UsageError, TenantHttp>,
  change: (batch: Batch) => Batch,
) =>
  Effect.gen(function* () {
    const { traffic } = yield* TenantHttp;
    const report = yield* Export.run({
      source: Stream.map(batches, change),
      targets,
      rejects,
      ...options,
    });
    const { requests, retries } = traffic();
    const userDoubts = users.doubts?.() ?? [];
    const verified = report.verified && userDoubts.length === 0;
    return { ...report, requests, retries, verified, userDoubts } satisfies Summary.Told;
  });

const isBegun = (root: string): boolean => {
  try {
    return existsSync(join(root, Folder.names.journal));
  } catch {
    // Under Deno, it may not be looked at.
    return false;
  }
};

/** Runs the export into a dataset, or goes on with it. */
const toDataset = (
  { root, formats }: Extract<Destination.Destination, { readonly kind: "dataset" }>,
  options: Omit<Dataset.DatasetOptions<UsageError | ApiError, TenantHttp>, "root" | "formats">,
) =>
  Effect.map(
    Dataset.run({ root, formats, ...options }),
    ({ user_doubts, wasFinished, options: _, files, ...report }) => ({
      ...report,
      userDoubts: user_doubts,
      wasFinished,
      folder: root,
      files: files.map(({ path, ...file }) => ({ name: join(root, path), ...file })),
    } satisfies Summary.Told),
  ).pipe(
    Effect.onError((cause) =>
      isBegun(root) && !isOccupied(cause)
        ? Terminal.say([
          `What has come so far is kept in ${root}: run the same again with --resume to go on from there`,
        ])
        : Effect.void
    ),
  );

type ExportFailure = Effect.Effect.Error<ReturnType<typeof toFiles> | ReturnType<typeof toDataset>>;

const usageError = (message: string) => Effect.fail(new UsageError({ message }));

const isOccupied = (cause: Cause.Cause<unknown>): boolean =>
  (Cause.squash(cause) as { readonly _tag?: string })._tag === "DatasetError";

/** The command. */
export const command = Command.make("export", options, (args) =>
  Effect.gen(function* () {
    const tenant = yield* Settings.tenantFrom(args);
    const users = yield* Users.from({ ...args, usersFile: Option.getOrUndefined(args.usersFile) });
    const policy = Option.getOrUndefined(args.redact);
    const redact = policy === undefined ? identity : yield* Settings.redactionFrom(policy);
    const destination = yield* Destination.from(args.out, args.format, {
      csv: { escapeFormulas: !args.keepFormulas },
      rejected: Option.getOrUndefined(args.rejected),
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
    if (args.pruneReport && !args.sinceLast) {
      return yield* usageError(
        "--prune-report goes with --since-last: it compares the folder with what the tenant lists now",
      );
    }
    if (args.resume && destination.kind === "files") {
      return yield* usageError(
        "--resume goes with a folder: files are all complete, or none of them is there",
      );
    }
    const walk: SessionSource.SessionSourceOptions = {
      clientId: Option.getOrUndefined(args.clientId),
      sort: Option.getOrUndefined(args.sort),
      pageSize: args.pageSize,
      concurrency: args.concurrency,
    };
    const progress = Export.noProgress();

    const { onInvalid } = args;
    const maxRejected = Option.getOrUndefined(args.maxRejected);
    const work = Effect.gen(function* () {
      const { traffic } = yield* TenantHttp;
      const exporting: Effect.Effect<Summary.Told, ExportFailure, TenantHttp> = destination.kind === "files"
        ? toFiles(
          destination,
          users,
          { onInvalid, maxRejected, progress },
          since === undefined
            ? SessionSource.batches(users.ids, walk)
            : SessionSource.changes(users.ids, { ...walk, ...since }),
          redact,
        )
        : toDataset(destination, {
          users,
          tenant: tenant.origin,
          mode: args.resume ? "resume" : "new",
          walk,
          options: { keepFormulas: args.keepFormulas, redact: policy },
          changes: args.sinceLast ? "since-last" : Option.getOrUndefined(args.since),
          pruneReport: args.pruneReport,
          lookback: args.lookback,
          change: redact,
          onInvalid,
          maxRejected,
          partRows: Option.getOrUndefined(args.partRows),
          partBytes: Option.getOrUndefined(args.partBytes),
          progress,
        });
      const told = yield* args.quiet ? exporting : ProgressBar.during(exporting, (began, now) => ({
        ...progress,
        ...traffic(),
        usersTotal: progress.usersTotal ?? users.total?.(),
        elapsed: now - began,
        now,
      }));
      if (!args.quiet) yield* Terminal.say(Summary.lines(told));
      yield* Terminal.say(Summary.warnings(told).map((warning) => `Warning: ${warning}`));
      if (args.json) yield* Terminal.print([Terminal.printableJson(told)]);
      const isComplete = told.verified && told.rejected === 0 && (told.missing.count === 0 || args.allUsers);
      process.exitCode = isComplete ? exitCodes.done : exitCodes.incomplete;
    });
    yield* Effect.provide(work, Settings.httpFor(tenant, { rate: args.rate, maxElapsed: args.maxElapsed }));
  })).pipe(Command.withDescription(
    "Export the active sessions of users to NDJSON, CSV and Parquet. For example: " +
      "monocloud-sessions export --all-users --out sessions.csv",
  ));
