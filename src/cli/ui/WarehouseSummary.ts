/** The summary of a run into a warehouse, for a person. */
import process from "node:process";
import * as Effect from "effect/Effect";
import type { Report } from "../../warehouse/Report.ts";
import { exitCodes } from "../ExitCode.ts";
import { duration, plural } from "./ProgressBar.ts";
import * as Summary from "./Summary.ts";
import * as Terminal from "./Terminal.ts";

const count = (number: number, what: string): string => `${number.toLocaleString("en-US")} ${what}`;

export const lines = (report: Report): ReadonlyArray<string> => {
  const { target, kind, run, inserted, updated, unchanged, ended, verified } = report;
  const { users, seconds, requests, retries } = report;
  const traffic = kind === "load" ? "" : `, ${plural(requests, "request")}, ${plural(retries, "retry")}`;
  return [
    [
      count(inserted, "inserted"),
      count(updated, "updated"),
      count(unchanged, "unchanged"),
      ...(kind === "sync" ? [] : [count(ended, "ended")]),
    ].join(", ") + `: ${target} (run ${run})`,
    `${plural(users, "user")} in ${duration(seconds)}${traffic}${
      verified ? "; verified: nothing missed" : ""
    }`,
    ...Summary.activityLines(report.by_activity),
  ];
};

export const warnings = (report: Report): ReadonlyArray<string> => [
  ...(report.replacedTexts > 0
    ? [`${plural(report.replacedTexts, "text")} with NUL or half a surrogate pair have U+FFFD in its place`]
    : []),
  ...Summary.warnings({ ...report, files: [] }),
];

export interface Told {
  readonly quiet: boolean;
  readonly json: boolean;
  readonly isComplete: boolean;
}

/** Say what was done, and set the exit code. */
export const conclude = (report: Report, { quiet, json, isComplete }: Told) =>
  Effect.gen(function* () {
    process.exitCode = isComplete ? exitCodes.done : exitCodes.incomplete;
    if (!quiet) yield* Terminal.say(lines(report));
    yield* Terminal.say(warnings(report).map((warning) => `Warning: ${warning}`));
    if (json) yield* Terminal.print([Terminal.printableJson(report)]);
  });
