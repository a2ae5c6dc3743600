/** A command: its flags, what help says of it, and what it does with what the command line gave. */
import * as Effect from "effect/Effect";
import type * as Types from "effect/Types";
import type { UsageError } from "../ExitCode.ts";
import type * as Flag from "./Flag.ts";

type Groups = ReadonlyArray<Flag.Group>;

export interface CommandSpec<G extends Groups = Groups> {
  readonly name: string;
  /** Its purpose, in a line. */
  readonly summary: string;
  readonly argument?: { readonly placeholder: string; readonly text: string } | undefined;
  readonly groups: G;
  /** Message on an interrupt; undefined where the command has its own, or ends by one. */
  readonly interrupted?: string;
  /** Command lines without the program's name, each with what it is for. */
  readonly examples: ReadonlyArray<readonly [line: string, purpose: string]>;
}

/** The words of a command line, told apart. */
export interface Given {
  /** A text for each time that a flag is there; none of one that takes no value. */
  readonly flags: ReadonlyMap<string, ReadonlyArray<string>>;
  readonly argument: string | undefined;
  /** Level of the library's log. */
  readonly logLevel: string | undefined;
}

/** The values of all flags in some groups. */
export type Args<G extends Groups> = Flag.Values<Types.UnionToIntersection<G[number]["flags"]>>;

export interface Command extends CommandSpec {
  readonly run: (given: Given) => Effect.Effect<unknown, unknown>;
}

export const flagsOf = ({ groups }: CommandSpec): ReadonlyArray<Flag.About> =>
  groups.flatMap(({ flags }) => Object.values(flags));

/** Make a command of a program, which is loaded once it runs: help has no need of it. */
export const make = <G extends Groups>(
  spec: CommandSpec<G>,
  load: () => Promise<{
    readonly run: (args: Args<G>, argument: string) => Effect.Effect<unknown, unknown>;
  }>,
): Command => ({
  ...spec,
  run: ({ flags: given, argument = "" }) =>
    Effect.gen(function* () {
      const args = yield* Effect.try({
        try: () =>
          Object.fromEntries(
            spec.groups.flatMap(({ flags }) => Object.entries(flags))
              .map(([name, flag]) => [name, flag.read(given.get(flag.name))]),
          ) as Args<G>,
        catch: (error) => error as UsageError,
      });
      const { run } = yield* Effect.promise(load);
      yield* run(args, argument);
    }),
});
