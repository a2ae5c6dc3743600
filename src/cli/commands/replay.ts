/** The program of `monocloud-sessions replay`. */
import * as Replay from "../../dataset/quarantine/Replay.ts";
import { version } from "../../version.ts";
import { exitCodes } from "../ExitCode.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import { onFolder } from "./onFolder.ts";

export const run = onFolder({
  name: "replay",
  noProgress: Replay.noProgress,
  run: Replay.run,
  linesOf: (root, { rows, sessions, known, quarantined, redacted, files }: Replay.Report) => {
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
  },
  codeOf: ({ quarantined }) => quarantined === 0 ? exitCodes.done : exitCodes.incomplete,
});
