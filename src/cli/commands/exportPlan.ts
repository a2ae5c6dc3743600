/** The plan of an export, from its flags and the environment. */
import * as Effect from "effect/Effect";
import * as SessionFilters from "../../api/SessionFilters.ts";
import * as Export from "../../export/Export.ts";
import type * as SessionSource from "../../source/SessionSource.ts";
import { usageError } from "../ExitCode.ts";
import * as Destination from "../options/Destination.ts";
import type { Args } from "../options/ExportFlags.ts";
import * as ExportRules from "../options/ExportRules.ts";
import * as Inputs from "./inputs.ts";

/** Read all that is asked for, and refuse what can't be done, before any request. */
export const planOf = (args: Args) =>
  Effect.gen(function* () {
    const inputs = yield* Inputs.inputsOf(args);
    const { tenant, rate } = inputs;
    const destination = yield* Destination.from(args.out, args.format, {
      csv: { escapeFormulas: !args.keepFormulas },
      parquet: {
        ...(args.parquetVersion === undefined ? {} : { version: args.parquetVersion }),
        ...(args.rowGroupRows === undefined ? {} : { rowGroupRows: args.rowGroupRows }),
      },
      quarantine: args.quarantine,
      noClobber: args.noClobber,
      columns: args.columns,
      csvBom: args.csvBom,
    });
    const flaw = ExportRules.flawIn(args, destination);
    if (flaw !== undefined) return yield* usageError(flaw);
    const walk: SessionSource.SessionSourceOptions = {
      ...SessionFilters.pick(args),
      sort: args.sort,
      pageSize: args.pageSize,
      concurrency: args.concurrency,
      areListed: args.allUsers,
    };
    // Its workers do it, where there is one.
    const queue = Inputs.isQueued(args)
      ? yield* Effect.flatMap(
        Effect.promise(() => import("./queueing.ts")),
        ({ open }) => open(args.queue, { tenant, rate }),
      )
      : undefined;
    const progress = Export.noProgress();
    return { ...inputs, args, queue, destination, walk, progress };
  });

export type Plan = Effect.Effect.Success<ReturnType<typeof planOf>>;
