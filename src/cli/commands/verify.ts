/**
 * `monocloud-sessions verify`.
 *
 * @module
 */
import process from "node:process";
import * as Args from "@effect/cli/Args";
import * as Command from "@effect/cli/Command";
import * as Effect from "effect/Effect";
import type * as Verify from "../../dataset/verify/Verify.ts";
import { exitCodes } from "../ExitCode.ts";
import type { CommandSpec } from "../options/CommandSpec.ts";
import { optionsOf } from "../options/Flag.ts";
import { reporting } from "../options/SharedFlags.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Terminal from "../ui/Terminal.ts";

export const spec: CommandSpec = {
  name: "verify",
  summary:
    "Read an exported folder back: are all files, bytes and rows there, and is no session there twice?",
  argument: { placeholder: "DIR", text: "The folder that an export was written to." },
  interrupted: "the folder was not read to its end",
  groups: [{ title: "Reports", flags: reporting }],
  examples: [["verify data/", "Is all of it as it was written?"]],
};

const resultOf = (root: string, report: Verify.Report): ReadonlyArray<string> => {
  const { parts, sessions, rows, bytes, problems, unfinished } = report;
  return [
    ...problems.map(({ path, problem }) => `${path} ${problem}`),
    `${root}: ${ProgressBar.plural(parts, "part")} with ${ProgressBar.plural(sessions, "session")} ` +
    `(${ProgressBar.plural(rows, "row")}, ${ProgressBar.byteCount(bytes)}) read`,
    ...(unfinished ? ["A run has not finished: this is what is there so far. --resume goes on with it"] : []),
    problems.length === 0
      ? "OK: every file matches the manifest"
      : `${
        ProgressBar.plural(problems.length, "problem")
      }: take these files from a backup, or export anew into another folder`,
  ];
};

/** The command. It changes nothing. */
export const command = Command.make(
  spec.name,
  { folder: Args.text({ name: "DIR" }), ...optionsOf(reporting) },
  ({ folder, json, quiet }) =>
    Effect.gen(function* () {
      // Loaded once it runs: help has no need of it.
      const { noProgress, run } = yield* Effect.promise(() => import("../../dataset/verify/Verify.ts"));
      const progress = noProgress();
      const work = run(folder, { progress });
      const report = yield* quiet ? work : ProgressBar.showing(
        work,
        (_, __, width) => ProgressBar.share(progress.rows, progress.rowsTotal, "rows", width),
      );
      yield* Terminal.print(
        json ? [Terminal.printableJson(report)] : resultOf(folder, report).map(Terminal.printable),
      );
      process.exitCode = report.problems.length === 0 ? exitCodes.done : exitCodes.data;
    }),
);
