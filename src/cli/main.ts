#!/usr/bin/env node
/**
 * The command line: wiring only.
 *
 * @module
 */
import process from "node:process";
import * as Command from "@effect/cli/Command";
import * as CliConfig from "@effect/cli/CliConfig";
import * as ValidationError from "@effect/cli/ValidationError";
import * as NodeFileSystem from "@effect/platform-node-shared/NodeFileSystem";
import * as NodePath from "@effect/platform-node-shared/NodePath";
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime";
import * as NodeTerminal from "@effect/platform-node-shared/NodeTerminal";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import { version } from "../version.ts";
import * as check from "./check.ts";
import * as exporting from "./export.ts";
import { codeOf, exitCodes, UsageError } from "./Failure.ts";
import * as sandbox from "./sandbox.ts";

const root = Command.make("monocloud-sessions").pipe(
  Command.withDescription(
    "Every active session of a user, of many users or of a whole MonoCloud tenant, to NDJSON, CSV and Parquet.",
  ),
  Command.withSubcommands([exporting.command, check.command, sandbox.command]),
);

const run = Command.run(root, { name: "monocloud-sessions", version });

/** A key on the command line is visible to everyone on the machine: it is refused before anything could print it. */
const refuseKeyFlags = (args: ReadonlyArray<string>): Effect.Effect<void, UsageError> =>
  args.some((arg) => /^--?(api-?)?key(=|$)/i.test(arg))
    ? Effect.fail(
      new UsageError({
        message:
          "The API key does not go on the command line, where other users of the machine can read it. " +
          "Set MONOCLOUD_API_KEY, or name a file with --api-key-file. If it was a real key, replace it",
      }),
    )
    : Effect.void;

const program = Effect.suspend(() => {
  const args = process.argv.length <= 2 ? [...process.argv, "--help"] : process.argv;
  return Effect.zipRight(refuseKeyFlags(args.slice(2)), run(args));
});

const layer = Layer.mergeAll(
  NodeFileSystem.layer,
  NodePath.layer,
  NodeTerminal.layer,
  CliConfig.layer({ showBuiltIns: false }),
);

/** Errors are told on standard error, each with what to do; the stack only of what should not have happened. */
const report = (cause: Cause.Cause<unknown>) => {
  if (Cause.isInterruptedOnly(cause)) return;
  const error = Cause.squash(cause);
  const code = codeOf(error);
  if (ValidationError.isValidationError(error)) return;
  process.stderr.write(
    code === undefined ? `Unexpected: ${Cause.pretty(cause)}\n` : `Error: ${(error as Error).message}\n`,
  );
};

NodeRuntime.runMain(
  Effect.tapErrorCause(Effect.provide(program, layer), (cause) => Effect.sync(() => report(cause))),
  {
    disableErrorReporting: true,
    disablePrettyLogger: true,
    teardown: (exit, onExit) => {
      if (Exit.isSuccess(exit)) return onExit(Number(process.exitCode ?? 0));
      if (Cause.isInterruptedOnly(exit.cause)) return onExit(130);
      const error = Cause.squash(exit.cause);
      onExit(
        ValidationError.isValidationError(error) ? exitCodes.usage : codeOf(error) ?? exitCodes.internal,
      );
    },
  },
);
