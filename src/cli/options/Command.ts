/** A command: what help says of it, and what it does with what the command line gave. */
import * as Effect from "effect/Effect";
import type { UsageError } from "../ExitCode.ts";
import type { Given } from "./CommandLine.ts";
import type { CommandSpec } from "./CommandSpec.ts";
import type { Flags, Values } from "./Flag.ts";

export interface Command {
  readonly spec: CommandSpec;
  readonly run: (given: Given) => Effect.Effect<unknown, unknown>;
}

/** Make a command of work on the values of its flags, and on its argument. */
export const make = <F extends Flags>(
  spec: CommandSpec,
  flags: F,
  work: (args: Values<F>, argument: string) => Effect.Effect<unknown, unknown>,
): Command => ({
  spec,
  run: ({ flags: given, argument = "" }) =>
    Effect.flatMap(
      Effect.try({
        try: () =>
          Object.fromEntries(
            Object.entries(flags).map(([name, flag]) => [name, flag.read(given.get(flag.name))]),
          ) as Values<F>,
        catch: (error) => error as UsageError,
      }),
      (args) => work(args, argument),
    ),
});
