/** The program of `monocloud-sessions verify`. */
import * as Verify from "../../dataset/verify/Verify.ts";
import { exitCodes } from "../ExitCode.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import { onFolder } from "./onFolder.ts";

export const run = onFolder({
  name: "verify",
  noProgress: Verify.noProgress,
  run: Verify.run,
  linesOf: (root, { parts, sessions, rows, bytes, problems, unfinished }: Verify.Report) => [
    ...problems.map(({ path, problem }) => `${path} ${problem}`),
    `${root}: ${ProgressBar.plural(parts, "part")} with ${ProgressBar.plural(sessions, "session")} ` +
    `(${ProgressBar.plural(rows, "row")}, ${ProgressBar.byteCount(bytes)}) read`,
    ...(unfinished ? ["A run has not finished: this is what is there so far. --resume goes on with it"] : []),
    problems.length === 0
      ? "OK: every file matches the manifest"
      : `${
        ProgressBar.plural(problems.length, "problem")
      }: take these files from a backup, or export anew into another folder`,
  ],
  codeOf: ({ problems }) => problems.length === 0 ? exitCodes.done : exitCodes.data,
});
