/** The summary of a run into a warehouse, for a person. */
import type { Report } from "../../warehouse/Report.ts";
import { duration, plural } from "./ProgressBar.ts";
import * as Summary from "./Summary.ts";

const count = (number: number, what: string): string => `${number.toLocaleString("en-US")} ${what}`;

export const lines = (report: Report): ReadonlyArray<string> => {
  const { target, kind, run, inserted, updated, unchanged, ended, verified } = report;
  const { users, seconds, requests, retries } = report;
  return [
    [
      count(inserted, "inserted"),
      count(updated, "updated"),
      count(unchanged, "unchanged"),
      ...(kind === "sync" ? [] : [count(ended, "ended")]),
    ].join(", ") + `: ${target} (run ${run})`,
    `${plural(users, "user")} in ${duration(seconds)}, ${plural(requests, "request")}, ` +
    `${plural(retries, "retry")}${verified ? "; verified: nothing missed" : ""}`,
  ];
};

export const warnings = (report: Report): ReadonlyArray<string> => [
  ...(report.replacedTexts > 0
    ? [`${plural(report.replacedTexts, "text")} with NUL or half a surrogate pair have U+FFFD in its place`]
    : []),
  ...Summary.warnings({ ...report, files: [] }),
];
