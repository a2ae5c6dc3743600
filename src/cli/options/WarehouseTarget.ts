/** The target that `--to` and `MONOCLOUD_TO` name. */
import * as Effect from "effect/Effect";
import * as Tables from "../../warehouse/Tables.ts";
import type { Target } from "../../warehouse/Target.ts";
import * as Targets from "../../warehouse/targets/Targets.ts";
import { type UsageError, usageError } from "../ExitCode.ts";
import * as Terminal from "../ui/Terminal.ts";
import { NameError } from "../../queue/Names.ts";
import * as Settings from "./Settings.ts";

export const from = (
  { to, schema }: { readonly to: string | undefined; readonly schema: string },
): Effect.Effect<Target, UsageError> =>
  Effect.gen(function* () {
    if (to !== undefined && Targets.hasPassword(to)) {
      return yield* usageError(
        "The password of the database does not go on the command line, where other users of the machine can read it. " +
          "Leave it out of --to, and put it into PGPASSWORD or ~/.pgpass, or the whole URL into MONOCLOUD_TO",
      );
    }
    const named = to ?? (yield* Settings.variable("MONOCLOUD_TO"));
    if (!named) {
      return yield* usageError(
        "Where to? Give --to or MONOCLOUD_TO: postgres://USER@HOST/DATABASE, or a file such as sessions.duckdb",
      );
    }
    return yield* Effect.try({
      try: () => Targets.named(named, { schema }),
      catch: (error) => usageError((error as Error).message),
    });
  });

/** Give the target that the file of a name leads to. */
export const named = (
  { to, schema, where }: { readonly to: string; readonly schema: string | undefined; readonly where: string },
): Effect.Effect<Target, NameError> =>
  Effect.try({
    try: () => Targets.named(to, { schema }),
    catch: (error) =>
      new NameError({ message: `The target in ${where} can't be used: ${(error as Error).message}` }),
  });

/** Print what makes a target's tables. */
export const printDdl = ({ dialect }: Target, history: boolean) => {
  const { createSchema } = dialect;
  const statements = [
    ...(createSchema === undefined ? [] : [createSchema.statement]),
    ...Tables.createAll(dialect, { history }),
  ];
  return Terminal.print(statements.flatMap((statement) => `${statement};`.split("\n")));
};
