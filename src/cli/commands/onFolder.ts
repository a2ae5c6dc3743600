/** The programs of commands on a folder that an export was written to. */
import process from "node:process";
import * as Effect from "effect/Effect";
import { usageError } from "../ExitCode.ts";
import { isFile } from "../options/Destination.ts";
import type * as FolderFlags from "../options/FolderFlags.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Terminal from "../ui/Terminal.ts";

/** Work on a folder, and the report of it. */
interface Work<Report extends object, P extends ProgressBar.RowProgress, E> {
  readonly name: string;
  readonly noProgress: () => P;
  readonly run: (folder: string, options: { readonly progress: P }) => Effect.Effect<Report, E>;
  readonly linesOf: (folder: string, report: Report) => ReadonlyArray<string>;
  readonly codeOf: (report: Report) => number;
}

export const onFolder = <Report extends object, P extends ProgressBar.RowProgress, E>(
  { name, noProgress, run, linesOf, codeOf }: Work<Report, P, E>,
) =>
({ json, quiet }: FolderFlags.Args, folder: string) =>
  Effect.gen(function* () {
    if (isFile(folder)) {
      return yield* usageError(`${folder} is a file: ${name} reads the folder of an export`);
    }
    const progress = noProgress();
    const work = Effect.provide(run(folder, { progress }), Terminal.logger);
    const report = yield* quiet ? work : ProgressBar.countingRows(work, progress);
    yield* Terminal.print(
      json ? [Terminal.printableJson(report)] : linesOf(folder, report).map(Terminal.printable),
    );
    process.exitCode = codeOf(report);
  });
