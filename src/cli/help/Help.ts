/** Help, made from the tables of commands, flags, exit codes and variables. */
import { exitCodes, exitCodeTexts, type ExitName } from "../ExitCode.ts";
import type { CommandSpec } from "../options/Command.ts";
import { meant } from "../../options/Options.ts";
import type * as Flag from "../options/Flag.ts";
import * as Layout from "./Layout.ts";
import { variables } from "./Variables.ts";

const PROGRAM = "monocloud-sessions";

export interface HelpOptions {
  readonly commands: ReadonlyArray<CommandSpec>;
  /** Columns of the terminal. */
  readonly width: number;
  readonly style: Layout.Style;
}

export const topics = ["exit-codes", "environment"] as const;

const termOf = ({ name, placeholder }: Flag.About): string =>
  placeholder === undefined ? `--${name}` : `--${name} ${placeholder}`;

const textOf = ({ text, byDefault, isRepeatable }: Flag.About): string =>
  [
    text,
    ...(isRepeatable ? ["Repeatable."] : []),
    ...(byDefault === undefined || byDefault === "" ? [] : [`(default: ${byDefault})`]),
  ].join(" ");

const rowsOf = ({ flags }: Flag.Group): ReadonlyArray<Row> =>
  Object.values(flags).map((flag) => [termOf(flag), textOf(flag)]);

const examplesOf = (spec: CommandSpec, { width, style }: HelpOptions): ReadonlyArray<string> => {
  const lines = spec.examples.map(([line, purpose]) => [`${PROGRAM} ${line}`, purpose] as const);
  return Layout.section("Examples", Layout.commandLines(lines, width), style);
};

type Row = readonly [term: string, text: string];

const table = (title: string, rows: ReadonlyArray<Row>, { width, style }: HelpOptions) =>
  Layout.section(title, Layout.entries(rows, width, style), style);

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
    ...(argument ? table("Argument", [[argument.placeholder, argument.text]], options) : []),
    ...groups.flatMap((group) => table(group.title, rowsOf(group), options)),
    ...examplesOf(spec, options),
  ];
};

const more: ReadonlyArray<Row> = [
  ["help COMMAND", "The options of a command."],
  ["help exit-codes", "What each exit code means."],
  ["help environment", "The variables that are read."],
  ["completion SHELL", "Completions for bash, zsh or fish, to be put where the shell looks for them."],
  ["--version", "The version."],
];

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
    ...table("Commands", commands.map(({ name, summary }) => [name, summary]), options),
    ...Layout.section("Examples", Layout.commandLines(started, width), style),
    ...table("More", more, options),
  ];
};

const ofExitCodes = (options: HelpOptions): ReadonlyArray<string> => {
  const { width } = options;
  const rows = Object.entries(exitCodeTexts).map((
    [name, text],
  ): Row => [`${exitCodes[name as ExitName]}`, text]);
  return [
    ...Layout.wrap(
      "On any code but 0 and 4 output files are not created. A folder keeps its completed parts.",
      width,
    ),
    ...table("Exit codes", rows, options),
    "",
    ...Layout.wrap(
      'With --json, whatever fails prints {"error": {"reason", "message", "exit_code"}} on standard output.',
      width,
    ),
  ];
};

const ofEnvironment = (options: HelpOptions): ReadonlyArray<string> =>
  variables.flatMap(({ title, rows }, at) => table(title, rows, options).slice(at === 0 ? 1 : 0));

export const on = (
  topic: string | undefined,
  options: HelpOptions,
): { readonly lines: ReadonlyArray<string> } | { readonly flaw: string } => {
  const command = options.commands.find(({ name }) => name === topic);
  if (command !== undefined) return { lines: ofCommand(command, options) };
  if (topic === undefined || topic === "help" || topic === "completion") return { lines: ofProgram(options) };
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
