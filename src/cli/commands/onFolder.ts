/** Commands on a folder that an export was written to. */
import process from "node:process";
import * as Effect from "effect/Effect";
import { usageError } from "../ExitCode.ts";
import * as Command from "../options/Command.ts";
import type { CommandSpec } from "../options/CommandSpec.ts";
import { isFile } from "../options/Destination.ts";
import { reporting } from "../options/SharedFlags.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Terminal from "../ui/Terminal.ts";

interface Progress {
  readonly rows: number;
  readonly rowsTotal: number;
}

/** Work of a command on a folder, and the report of it. */
interface Work<Report extends object, P extends Progress, E> {
  /** Loads what runs it: help has no need of it. */
  readonly load: () => Promise<{
    readonly noProgress: () => P;
    readonly run: (folder: string, options: { readonly progress: P }) => Effect.Effect<Report, E>;
  }>;
  readonly linesOf: (folder: string, report: Report) => ReadonlyArray<string>;
  readonly codeOf: (report: Report) => number;
}

export const argument = { placeholder: "DIR", text: "The folder that an export was written to." };

export const groups = [{ title: "Reports", flags: reporting }];

/** Make the command. */
export const onFolder = <Report extends object, P extends Progress, E>(
  spec: CommandSpec,
  { load, linesOf, codeOf }: Work<Report, P, E>,
) =>
  Command.make(spec, reporting, ({ json, quiet }, folder) =>
    Effect.gen(function* () {
      if (isFile(folder)) {
        return yield* usageError(`${folder} is a file: ${spec.name} reads the folder of an export`);
      }
      const { noProgress, run } = yield* Effect.promise(load);
      const progress = noProgress();
      const work = Effect.provide(run(folder, { progress }), Terminal.logger);
      const report = yield* quiet ? work : ProgressBar.showing(
        work,
        (_, __, width) => ProgressBar.share(progress.rows, progress.rowsTotal, "rows", width),
      );
      yield* Terminal.print(
        json ? [Terminal.printableJson(report)] : linesOf(folder, report).map(Terminal.printable),
      );
      process.exitCode = codeOf(report);
    }));
