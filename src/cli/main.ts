#!/usr/bin/env node
/** The command line: wiring only. */
import process from "node:process";
import * as NodeRuntime from "@effect/platform-node-shared/NodeRuntime";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Logger from "effect/Logger";
import * as LogLevel from "effect/LogLevel";
import { version } from "../version.ts";
import { commands } from "./commands/mod.ts";
import { codeOf, exitCodes, failureOf, interrupted, type UsageError, usageError } from "./ExitCode.ts";
import * as Completions from "./help/Completions.ts";
import * as Help from "./help/Help.ts";
import type { Given } from "./options/Command.ts";
import * as CommandLine from "./options/CommandLine.ts";
import * as Terminal from "./ui/Terminal.ts";

const isKeyFlag = (arg: string): boolean => {
  const [name = ""] = arg.split("=");
  return /^-.*(key|token|secret)/i.test(name) && name !== "--api-key-file";
};

/** A key on the command line is visible to everyone on the machine: it is refused before anything could print it. */
const refuseKeyFlags = (args: ReadonlyArray<string>): Effect.Effect<void, UsageError> =>
  args.some(isKeyFlag)
    ? usageError(
      "The API key does not go on the command line, where other users of the machine can read it. " +
        "Set MONOCLOUD_API_KEY, or name a file with --api-key-file. If it was a real key, replace it. " +
        "The secret to redact with goes into MONOCLOUD_REDACT_SECRET",
    )
    : Effect.void;

/** The runtime interrupts the command on the other two signals that end it, and not when its terminal is closed. */
const noteHangup = Effect.sync(() =>
  process.once("SIGHUP", () => process.emit("SIGTERM", "SIGTERM") || process.exit(exitCodes.again))
);

const help = (topic: string | undefined) => {
  const found = Help.on(topic, { commands, ...Terminal.look() });
  return "lines" in found ? Terminal.print(found.lines) : usageError(found.flaw);
};

const completion = (shell: string | undefined) => {
  const script = Completions.of(shell, commands);
  if (script !== undefined) return Terminal.print([script.trimEnd()]);
  return usageError(
    `Completions are for ${Completions.shells.join(", ")}: monocloud-sessions completion bash`,
  );
};

const runCommand = (name: string, given: Given) => {
  const { logLevel = "info" } = given;
  const level = LogLevel.allLevels.find(({ _tag }) => _tag.toLowerCase() === logLevel);
  if (level === undefined) {
    const levels = LogLevel.allLevels.map(({ _tag }) => _tag.toLowerCase()).join(", ");
    return usageError(`--log-level must be one of ${levels}: it is ${JSON.stringify(logLevel)}`);
  }
  const { run, interrupted } = commands.find((command) => command.name === name)!;
  const work = Logger.withMinimumLogLevel(run(given), level);
  return interrupted === undefined
    ? work
    : Effect.onInterrupt(work, () => Terminal.say([`Interrupted: ${interrupted}`]));
};

/** Do what is asked for. */
const answer = (request: CommandLine.Request): Effect.Effect<unknown, unknown> => {
  switch (request.kind) {
    case "help":
      return help(request.topic);
    case "version":
      return Terminal.print([version]);
    case "completion":
      return completion(request.shell);
    case "run":
      return runCommand(request.command, request.given);
  }
};

const program = Effect.gen(function* () {
  const words = process.argv.slice(2);
  yield* refuseKeyFlags(words);
  const request = yield* Effect.try({
    try: () => CommandLine.read(words, commands),
    catch: (error) => error as UsageError,
  });
  yield* answer(request);
});

/** Errors are told on standard error, each with what to do; the stack only of what should not have happened. */
const report = (cause: Cause.Cause<unknown>): Effect.Effect<void> => {
  const error = Cause.squash(cause);
  const code = codeOf(error);
  if (Cause.isInterruptedOnly(cause) || code === exitCodes.readerGone) return Effect.void;
  const lines = code === undefined
    ? `Unexpected: ${Cause.pretty(cause)}`.split("\n")
    : [`Error: ${(error as Error).message}`];
  return Effect.zipRight(Terminal.say(lines), printFailure(failureOf(error)));
};

/** Tell whether results, and so failures, are to be JSON. */
const wantsJson = (): boolean => CommandLine.untilDashes(process.argv.slice(2)).includes("--json");

/** Print a failure as JSON, where that is wanted; there may be nobody left to read it. */
const printFailure = (failure: object): Effect.Effect<void> =>
  wantsJson() ? Effect.ignore(Terminal.print([Terminal.printableJson(failure)])) : Effect.void;

const main = Effect.zipRight(Effect.zipRight(Terminal.guard, noteHangup), program).pipe(
  Effect.tapErrorCause(report),
  // With a code, the work was done before the signal.
  Effect.onInterrupt(() => process.exitCode === undefined ? printFailure(interrupted) : Effect.void),
);

NodeRuntime.runMain(main, {
  disableErrorReporting: true,
  disablePrettyLogger: true,
  teardown: (exit, onExit) => {
    if (Exit.isSuccess(exit)) return onExit(Number(process.exitCode ?? 0));
    if (Cause.isInterruptedOnly(exit.cause)) return onExit(Number(process.exitCode ?? exitCodes.again));
    onExit(codeOf(Cause.squash(exit.cause)) ?? exitCodes.internal);
  },
});
