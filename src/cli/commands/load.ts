/** The program of `monocloud-sessions load`. */
import * as Effect from "effect/Effect";
import * as Load from "../../warehouse/Load.ts";
import { usageError } from "../ExitCode.ts";
import { isFile } from "../options/Destination.ts";
import type { LoadArgs } from "../options/WarehouseFlags.ts";
import * as WarehouseTarget from "../options/WarehouseTarget.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Summary from "../ui/Summary.ts";
import * as Terminal from "../ui/Terminal.ts";

export const run = (args: LoadArgs, folder: string) =>
  Effect.gen(function* () {
    const target = yield* WarehouseTarget.from(args);
    if (args.printDdl) return yield* WarehouseTarget.printDdl(target, args.history);
    if (isFile(folder)) return yield* usageError(`${folder} is a file: load reads the folder of an export`);
    const progress = Load.noProgress();
    const loading = Effect.provide(
      Load.load({ ...args, root: folder, target, progress }),
      Terminal.logger,
    );
    const report = yield* args.quiet ? loading : ProgressBar.countingRows(loading, progress);
    yield* Summary.concludeSync(report, { ...args, isComplete: report.verified });
  });
