/** `monocloud-sessions replay`. */
import type * as Replay from "../../dataset/quarantine/Replay.ts";
import { version } from "../../version.ts";
import { exitCodes } from "../ExitCode.ts";
import type { CommandSpec } from "../options/CommandSpec.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import { argument, groups, onFolder } from "./onFolder.ts";

export const spec: CommandSpec = {
  name: "replay",
  summary:
    "Run the rows that an export into a folder has quarantined through this version's schema: what passes becomes a new part.",
  argument,
  interrupted: "the next replay finishes what this one began",
  groups,
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

export const command = onFolder(spec, {
  load: () => import("../../dataset/quarantine/Replay.ts"),
  linesOf: resultOf,
  codeOf: ({ quarantined }) => quarantined === 0 ? exitCodes.done : exitCodes.incomplete,
});
