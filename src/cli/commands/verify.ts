/** `monocloud-sessions verify`. */
import type * as Verify from "../../dataset/verify/Verify.ts";
import { exitCodes } from "../ExitCode.ts";
import type { CommandSpec } from "../options/CommandSpec.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import { argument, groups, onFolder } from "./onFolder.ts";

export const spec: CommandSpec = {
  name: "verify",
  summary:
    "Read an exported folder back: are all files, bytes and rows there, and is no session there twice?",
  argument,
  interrupted: "the folder was not read to its end",
  groups,
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

export const command = onFolder(spec, {
  load: () => import("../../dataset/verify/Verify.ts"),
  linesOf: resultOf,
  codeOf: ({ problems }) => problems.length === 0 ? exitCodes.done : exitCodes.data,
});
