/**
 * The flags of `monocloud-sessions export`.
 *
 * @module
 */
import type * as Command from "@effect/cli/Command";
import * as Options from "@effect/cli/Options";
import type * as Types from "effect/Types";
import { LOOKBACK } from "../../source/paging/Limits.ts";
import * as Settings from "./Settings.ts";

export const options = {
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
  ...Settings.filters,
  sort: Settings.sort,
  pageSize: Settings.pageSize,
  concurrency: Settings.concurrency,
  rate: Settings.rate,
  maxElapsed: Settings.patience("5m"),
  maxBodyBytes: Settings.maxBodyBytes,
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
  prune: Options.boolean("prune").pipe(
    Options.withDescription(
      "With --since-last: read every list to its end, deliver all that the folder lacks, and write down in tombstones/ which sessions the tenant lists no more.",
    ),
  ),
  since: Settings.since,
  lookback: Settings.whole("lookback", 0, 31 * 86_400).pipe(
    Options.withPseudoName("SECONDS"),
    Options.withDescription(
      "How far before the last run --since-last looks once more for changes that showed late, 300 if left out. Nothing is repeated, but where it grows.",
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
      "What to do with a row that is not a session: quarantine it, whole (if left out), or fail.",
    ),
    Options.withDefault("quarantine" as const),
  ),
  quarantine: Options.text("quarantine").pipe(
    Options.withPseudoName("FILE"),
    Options.withDescription(
      "Where rows that are not sessions are quarantined. Left out: beside the first output.",
    ),
    Options.optional,
  ),
  maxQuarantined: Settings.maxQuarantined,
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

/** What the command was told. */
export type Args = Types.Simplify<Command.Command.ParseConfig<typeof options>>;
