/**
 * `monocloud-sessions export`.
 *
 * @module
 */
import process from "node:process";
import * as Command from "@effect/cli/Command";
import * as Options from "@effect/cli/Options";
import * as Effect from "effect/Effect";
import { identity } from "effect/Function";
import * as Option from "effect/Option";
import * as Stream from "effect/Stream";
import * as Export from "../Export.ts";
import { TenantHttp, type Traffic } from "../tenant/HttpPolicy.ts";
import * as SessionSource from "../walk/SessionSource.ts";
import * as Destination from "./Destination.ts";
import { exitCodes, UsageError } from "./Failure.ts";
import * as ProgressBar from "./ProgressBar.ts";
import * as Settings from "./Settings.ts";
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

const some = <A>({ count, first }: Export.Some<A>, word: (item: A) => string): string =>
  first.slice(0, 5).map(word).join(", ") + (count > 5 ? `, and ${count - 5} more` : "");

const { plural } = ProgressBar;

/** What a person should know once an export has ended. */
const summary = (report: Export.Report, traffic: Traffic, userDoubts: ReadonlyArray<string>) => {
  const verified = report.verified && userDoubts.length === 0;
  const lines = [
    `${plural(report.sessions, "session")} of ${plural(report.users, "user")} in ${
      ProgressBar.duration(report.seconds)
    }, ` +
    `${plural(traffic.requests, "request")}, ${plural(traffic.retries, "retry")}` +
    `${verified ? "; verified: nothing missed, nothing repeated" : ""}`,
    ...report.files.map(({ name, rows, bytes }) =>
      `  ${name}: ${plural(rows, "row")}, ${ProgressBar.byteCount(bytes)}`
    ),
  ];
  const warnings = [
    ...(report.missing.count > 0
      ? [`${plural(report.missing.count, "user")} unknown to the tenant: ${some(report.missing, (id) => id)}`]
      : []),
    ...(report.rejected > 0
      ? [`${plural(report.rejected, "row")} put aside that are not sessions by the schema`]
      : []),
    ...(report.unverified.count > 0
      ? [
        `${plural(report.unverified.count, "user")} not verified: ` +
        some(report.unverified, ({ userId, doubts }) => `${userId} (${doubts.join("; ")})`),
      ]
      : []),
    ...(userDoubts.length > 0 ? [`the list of users is not verified: ${userDoubts.join("; ")}`] : []),
  ];
  return { verified, lines, warnings };
};

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
    if (args.json && destination.usesStdout) {
      return yield* Effect.fail(
        new UsageError({
          message: "--json and --out - both want standard output: write the export to a file",
        }),
      );
    }
    const walk: SessionSource.SessionSourceOptions = {
      clientId: Option.getOrUndefined(args.clientId),
      sort: Option.getOrUndefined(args.sort),
      pageSize: args.pageSize,
      concurrency: args.concurrency,
    };
    const progress = Export.noProgress();

    const work = Effect.gen(function* () {
      const { traffic } = yield* TenantHttp;
      const exporting = Export.run({
        source: Stream.map(SessionSource.batches(users.ids, walk), redact),
        targets: destination.targets,
        rejects: destination.rejects,
        onInvalid: args.onInvalid,
        progress,
      });
      const report = yield* args.quiet ? exporting : ProgressBar.during(exporting, (began, now) => ({
        ...progress,
        ...traffic(),
        usersTotal: users.total(),
        elapsed: now - began,
        now,
      }));
      const { verified, lines, warnings } = summary(report, traffic(), users.doubts());
      const { requests, retries } = traffic();
      const whole = { ...report, requests, retries, verified, userDoubts: users.doubts() };
      yield* destination.complete(whole, {
        tenant: tenant.origin,
        options: { ...walk, onInvalid: args.onInvalid, redact: policy },
      });
      if (!args.quiet) yield* Terminal.say(lines);
      yield* Terminal.say(warnings.map((warning) => `Warning: ${warning}`));
      if (args.json) yield* Terminal.print([Terminal.printableJson(whole)]);
      const isComplete = verified && report.rejected === 0 && (report.missing.count === 0 || args.allUsers);
      process.exitCode = isComplete ? exitCodes.done : exitCodes.incomplete;
    });
    yield* Effect.provide(work, Settings.httpFor(tenant, { rate: args.rate }));
  })).pipe(Command.withDescription(
    "Export the active sessions of users to NDJSON, CSV and Parquet. For example: " +
      "monocloud-sessions export --all-users --out sessions.csv",
  ));
