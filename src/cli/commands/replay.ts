/**
 * `monocloud-sessions replay`.
 *
 * @module
 */
import process from "node:process";
import * as Args from "@effect/cli/Args";
import * as Command from "@effect/cli/Command";
import * as Effect from "effect/Effect";
import type * as Replay from "../../dataset/quarantine/Replay.ts";
import { version } from "../../version.ts";
import { exitCodes } from "../ExitCode.ts";
import type { CommandSpec } from "../options/CommandSpec.ts";
import { optionsOf } from "../options/Flag.ts";
import { reporting } from "../options/SharedFlags.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Terminal from "../ui/Terminal.ts";

export const spec: CommandSpec = {
  name: "replay",
  summary:
    "Run the rows that an export into a folder has quarantined through this version's schema: what passes becomes a new part.",
  argument: { placeholder: "DIR", text: "The folder that an export was written to." },
  interrupted: "the next replay finishes what this one began",
  groups: [{ title: "Reports", flags: reporting }],
  examples: [["replay data/", "After an update that knows more kinds of rows"]],
};

const resultOf = (root: string, report: Replay.Report): ReadonlyArray<string> => {
  const { rows, sessions, known, quarantined, redacted, files } = report;
  if (rows === 0) return [`Nothing to replay: ${root} has quarantined no row`];
  const added = files.filter(({ format }) => format !== "quarantine").map(({ path }) => path);
  return [
    `${ProgressBar.plural(rows, "row")} quarantined, by the schema of version ${version}:`,
    `  ${ProgressBar.plural(sessions, "row")} added${added.length === 0 ? "" : ` as ${added.join(", ")}`}`,
    ...(known === 0
      ? []
      : [`  ${ProgressBar.plural(known, "row")} not added, as the dataset has the session`]),
    `  ${ProgressBar.plural(quarantined, "row")} still quarantined${
      redacted === 0 ? "" : `, ${redacted} of which redaction has left too little to tell`
    }`,
  ];
};

/** The command. */
export const command = Command.make(
  spec.name,
  { folder: Args.text({ name: "DIR" }), ...optionsOf(reporting) },
  ({ folder, json, quiet }) =>
    Effect.gen(function* () {
      // Loaded once it runs: help has no need of it.
      const { noProgress, run } = yield* Effect.promise(() => import("../../dataset/quarantine/Replay.ts"));
      const progress = noProgress();
      const work = Effect.provide(run(folder, { progress }), Terminal.logger);
      const report = yield* quiet ? work : ProgressBar.showing(
        work,
        (_, __, width) => ProgressBar.share(progress.rows, progress.rowsTotal, "rows", width),
      );
      yield* Terminal.print(
        json ? [Terminal.printableJson(report)] : resultOf(folder, report).map(Terminal.printable),
      );
      process.exitCode = report.quarantined === 0 ? exitCodes.done : exitCodes.incomplete;
    }),
);
