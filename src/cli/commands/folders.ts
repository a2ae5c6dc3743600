/** `monocloud-sessions verify` and `replay`: commands on a folder that an export was written to. */
import process from "node:process";
import * as Effect from "effect/Effect";
import type * as Replay from "../../dataset/quarantine/Replay.ts";
import type * as Verify from "../../dataset/verify/Verify.ts";
import { version } from "../../version.ts";
import { exitCodes, usageError } from "../ExitCode.ts";
import * as Command from "../options/Command.ts";
import { isFile } from "../options/Destination.ts";
import { reporting } from "../options/SharedFlags.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Terminal from "../ui/Terminal.ts";

/** Work of a command on a folder, and the report of it. */
interface Work<Report extends object, P extends ProgressBar.RowProgress, E> {
  /** Loads what runs it: help has no need of it. */
  readonly load: () => Promise<{
    readonly noProgress: () => P;
    readonly run: (folder: string, options: { readonly progress: P }) => Effect.Effect<Report, E>;
  }>;
  readonly linesOf: (folder: string, report: Report) => ReadonlyArray<string>;
  readonly codeOf: (report: Report) => number;
}

export const argument = { placeholder: "DIR", text: "The folder that an export was written to." };

const onFolder = <Report extends object, P extends ProgressBar.RowProgress, E>(
  spec: Omit<Command.CommandSpec, "argument" | "groups">,
  { load, linesOf, codeOf }: Work<Report, P, E>,
) =>
  Command.make(
    { ...spec, argument, groups: [{ title: "Reports", flags: reporting }] },
    ({ json, quiet }, folder) =>
      Effect.gen(function* () {
        if (isFile(folder)) {
          return yield* usageError(`${folder} is a file: ${spec.name} reads the folder of an export`);
        }
        const { noProgress, run } = yield* Effect.promise(load);
        const progress = noProgress();
        const work = Effect.provide(run(folder, { progress }), Terminal.logger);
        const report = yield* quiet ? work : ProgressBar.countingRows(work, progress);
        yield* Terminal.print(
          json ? [Terminal.printableJson(report)] : linesOf(folder, report).map(Terminal.printable),
        );
        process.exitCode = codeOf(report);
      }),
  );

export const verify = onFolder({
  name: "verify",
  summary:
    "Read an exported folder back: are all files, bytes and rows there, and is no session there twice?",
  interrupted: "the folder was not read to its end",
  examples: [["verify data/", "Is all of it as it was written?"]],
}, {
  load: () => import("../../dataset/verify/Verify.ts"),
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

export const replay = onFolder({
  name: "replay",
  summary:
    "Run the rows that an export into a folder has quarantined through this version's schema: what passes becomes a new part.",
  interrupted: "the next replay finishes what this one began",
  examples: [["replay data/", "After an update that knows more kinds of rows"]],
}, {
  load: () => import("../../dataset/quarantine/Replay.ts"),
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
