/**
 * Help, made from the tables of commands, flags, exit codes and variables.
 *
 * @module
 */
import { exitCodes, exitCodeTexts } from "../ExitCode.ts";
import type { CommandSpec } from "../options/CommandSpec.ts";
import { meant } from "../../options/Options.ts";
import type * as Flag from "../options/Flag.ts";
import * as Layout from "./Layout.ts";
import { variables } from "./Variables.ts";

const PROGRAM = "monocloud-sessions";

/** A topic of help. */
export interface HelpOptions {
  readonly commands: ReadonlyArray<CommandSpec>;
  /** Columns of the terminal. */
  readonly width: number;
  readonly style: Layout.Style;
}

/** The topics that are no commands. */
export const topics = ["exit-codes", "environment"] as const;

const termOf = ({ name, placeholder }: Flag.About): string =>
  placeholder === undefined ? `--${name}` : `--${name} ${placeholder}`;

const textOf = ({ text, byDefault, isRepeatable }: Flag.About): string =>
  [
    text,
    ...(isRepeatable ? ["Repeatable."] : []),
    ...(byDefault === undefined || byDefault === "" ? [] : [`(default: ${byDefault})`]),
  ].join(" ");

const rowsOf = ({ flags }: Flag.Group): ReadonlyArray<readonly [string, string]> =>
  Object.values(flags).map((flag) => [termOf(flag), textOf(flag)]);

const examplesOf = (spec: CommandSpec, { width, style }: HelpOptions): ReadonlyArray<string> => {
  const lines = spec.examples.map(([line, purpose]) => [`${PROGRAM} ${line}`, purpose] as const);
  return Layout.section("Examples", Layout.commandLines(lines, width), style);
};

/** Give the help of one command. */
export const ofCommand = (spec: CommandSpec, options: HelpOptions): ReadonlyArray<string> => {
  const { width, style } = options;
  const { name, argument, groups, summary } = spec;
  const usage = [
    PROGRAM,
    name,
    ...(groups.length > 0 ? ["[options]"] : []),
    ...(argument ? [argument.placeholder] : []),
  ];
  return [
    ...Layout.wrap(summary, width),
    ...Layout.section("Usage", Layout.commandLine(usage.join(" "), width, ""), style),
    ...(argument
      ? Layout.section(
        "Argument",
        Layout.entries([[argument.placeholder, argument.text]], width, style),
        style,
      )
      : []),
    ...groups.flatMap((group) =>
      Layout.section(group.title, Layout.entries(rowsOf(group), width, style), style)
    ),
    ...examplesOf(spec, options),
  ];
};

const ofProgram = (options: HelpOptions): ReadonlyArray<string> => {
  const { commands, width, style } = options;
  const started: CommandSpec["examples"] = [
    [`${PROGRAM} check`, "Are domain and key good, and how much is there?"],
    [`${PROGRAM} export --all-users --out sessions.csv`, "Every session of every user, as CSV"],
    [`${PROGRAM} sandbox`, "A tenant of made-up users to try things on, without an account"],
  ];
  return [
    ...Layout.wrap("Every active session of a MonoCloud tenant, to NDJSON, CSV and Parquet.", width),
    ...Layout.section("Usage", [`  ${PROGRAM} COMMAND [options]`], style),
    ...Layout.section(
      "Commands",
      Layout.entries(commands.map(({ name, summary }) => [name, summary]), width, style),
      style,
    ),
    ...Layout.section("Examples", Layout.commandLines(started, width), style),
    ...Layout.section(
      "More",
      Layout.entries(
        [
          ["help COMMAND", "The options of a command."],
          ["help exit-codes", "What each exit code means."],
          ["help environment", "The variables that are read."],
          [
            "completion SHELL",
            "Completions for bash, zsh or fish, to be put where the shell looks for them.",
          ],
          ["--version", "The version."],
        ],
        width,
        style,
      ),
      style,
    ),
  ];
};

const ofExitCodes = ({ width, style }: HelpOptions): ReadonlyArray<string> => [
  ...Layout.wrap(
    "On any code but 0 and 4 output files are not created. A folder keeps its completed parts.",
    width,
  ),
  ...Layout.section(
    "Exit codes",
    Layout.entries(
      Object.entries(exitCodes).map((
        [name, code],
      ) => [`${code}`, exitCodeTexts[name as keyof typeof exitCodes]]),
      width,
      style,
    ),
    style,
  ),
  "",
  ...Layout.wrap(
    'With --json, whatever fails prints {"error": {"reason", "message", "exit_code"}} on standard output.',
    width,
  ),
];

const ofEnvironment = ({ width, style }: HelpOptions): ReadonlyArray<string> =>
  variables.flatMap(({ title, rows }, at) =>
    Layout.section(title, Layout.entries(rows, width, style), style).slice(at === 0 ? 1 : 0)
  );

/** Give the lines of help on a topic, or what to say where there is none. */
export const on = (
  topic: string | undefined,
  options: HelpOptions,
): { readonly lines: ReadonlyArray<string> } | { readonly flaw: string } => {
  const command = options.commands.find(({ name }) => name === topic);
  if (command !== undefined) return { lines: ofCommand(command, options) };
  if (topic === undefined || topic === "help") return { lines: ofProgram(options) };
  if (topic === "exit-codes") return { lines: ofExitCodes(options) };
  if (topic === "environment") return { lines: ofEnvironment(options) };
  const all = [...options.commands.map(({ name }) => name), ...topics];
  const near = meant(topic, all);
  return {
    flaw:
      `There is no help on ${JSON.stringify(topic)}.${near === undefined ? "" : ` Did you mean ${near}?`} ` +
      `There is some on ${all.join(", ")}`,
  };
};
