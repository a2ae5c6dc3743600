/**
 * The words of the command line, told apart by the table of commands: flags may stand before the command or behind its argument,
 * as `--user ID` or `--user=ID`, and a misspelt one is told with what it may have been.
 */
import { usageError } from "../ExitCode.ts";
import { type CommandSpec, flagsOf, type Given } from "./Command.ts";
import { meant } from "../../options/Options.ts";
import type * as Flag from "./Flag.ts";

export type Request =
  | { readonly kind: "help"; readonly topic: string | undefined }
  | { readonly kind: "version" }
  | { readonly kind: "completion"; readonly shell: string | undefined }
  | { readonly kind: "run"; readonly command: string; readonly given: Given };

/** Flags that may stand before the command. */
const GLOBAL = new Set(["json", "quiet", "verbose"]);

/** A flag of every command, of which help does not speak. */
const LOG_LEVEL = "log-level";

const refuse = (message: string): never => {
  throw usageError(message);
};

const didYouMean = (found: string | undefined): string =>
  found === undefined ? "" : ` Did you mean ${found}?`;

/** Say why a flag, with its dashes, is not one of a command. */
const unknownFlag = (flag: string, command: CommandSpec, commands: ReadonlyArray<CommandSpec>): string => {
  const name = flag.replace(/^-+/, "");
  const names = flagsOf(command).map((flag) => flag.name);
  const near = meant(name, [...names, "help"]);
  const owner = near === undefined
    ? commands.find((other) => flagsOf(other).some((flag) => flag.name === name))
    : undefined;
  return `${command.name} has no option ${flag}.` +
    (owner === undefined ? didYouMean(near && `--${near}`) : ` ${owner.name} has it.`) +
    ` "monocloud-sessions help ${command.name}" lists all of them`;
};

const usageOf = ({ name, placeholder }: Flag.About): string => `--${name} ${placeholder}`;

/** Read the words of a command, its name left out. */
const givenOf = (
  words: ReadonlyArray<string>,
  command: CommandSpec,
  commands: ReadonlyArray<CommandSpec>,
): Given => {
  const known = new Map(flagsOf(command).map((flag) => [flag.name, flag]));
  const flags = new Map<string, ReadonlyArray<string>>();
  const ahead = [...words];
  const rest: Array<string> = [];
  /** The word before the first one that nothing takes, which is not told itself: it may be a key. */
  let behind = command.name;
  let logLevel: string | undefined;

  /** Take the next word for a value, unless it is plainly a flag. */
  const next = (flag: Flag.About): string => {
    const next = ahead.shift();
    const isFlag = next?.startsWith("--") === true && known.has(next.slice(2).split("=")[0]!);
    return next === undefined || isFlag ? refuse(`--${flag.name} needs a value: ${usageOf(flag)}`) : next;
  };

  const readFlag = (word: string): void => {
    const [, dashed = "", name = "", value] = /^(--?([^=]*))(?:=(.*))?$/s.exec(word)!;
    if (name === LOG_LEVEL) return void (logLevel = value ?? ahead.shift() ?? "");
    const flag = word.startsWith("--") ? known.get(name) : undefined;
    if (flag === undefined) return refuse(unknownFlag(dashed, command, commands));
    const values = flags.get(name);
    if (flag.placeholder === undefined) {
      if (value !== undefined) refuse(`--${name} is given or left out: it takes no value`);
      return void flags.set(name, []);
    }
    if (values !== undefined && !flag.isRepeatable) refuse(`--${name} is given twice: give it once`);
    flags.set(name, [...values ?? [], value ?? next(flag)]);
  };

  while (ahead.length > 0) {
    const word = ahead.shift()!;
    if (word === "--") rest.push(...ahead.splice(0));
    else if (word.length > 1 && word.startsWith("-")) {
      readFlag(word);
      if (rest.length === 0) behind = word.split("=")[0]!;
    } else rest.push(word);
  }
  const { name, argument } = command;
  const [first, second] = rest;
  if (argument !== undefined && first === undefined) {
    refuse(`${name} needs ${argument.placeholder}: ${argument.text}`);
  }
  const extra = argument === undefined ? first : second;
  if (extra !== undefined) {
    refuse(
      `${name} has no use for a word behind ${argument === undefined ? behind : argument.placeholder}: ` +
        `every option's value follows its name, as "monocloud-sessions help ${name}" shows`,
    );
  }
  return { flags, argument: first, logLevel };
};

const asksForHelp = (words: ReadonlyArray<string>): boolean =>
  words.includes("--help") || words.includes("-h");

/** Give the words before `--`, behind which nothing is a flag. */
export const untilDashes = (words: ReadonlyArray<string>): ReadonlyArray<string> => {
  const end = words.indexOf("--");
  return end < 0 ? words : words.slice(0, end);
};

/** Find the command: the first word that is no flag that may stand before it. */
const commandAt = (words: ReadonlyArray<string>): number => {
  for (let at = 0; at < words.length; at++) {
    const word = words[at]!;
    if (!word.startsWith("-")) return at;
    if (word === `--${LOG_LEVEL}`) at++;
    else if (!GLOBAL.has(word.slice(2)) && !/^(-h|--help|--version)$/.test(word)) return at;
  }
  return -1;
};

const builtIns = ["help", "completion"];

const notACommand = (word: string, commands: ReadonlyArray<CommandSpec>): string => {
  const [name = ""] = word.split("=");
  if (word.startsWith("-")) {
    const owner = commands.find((command) => flagsOf(command).some((flag) => `--${flag.name}` === name));
    return owner === undefined
      ? `There is no option ${name}. "monocloud-sessions help" shows what there is`
      : `${name} belongs behind the command: monocloud-sessions ${owner.name} ${name}`;
  }
  const near = meant(word, [...commands.map((command) => command.name), ...builtIns]);
  // What is no word may be a key.
  const told = /^[a-z]+(-[a-z]+)*$/i.test(word) ? ` ${JSON.stringify(word)}` : " of that name";
  return `There is no command${told}.${didYouMean(near)} ` +
    `The commands are ${[...commands.map((command) => command.name), ...builtIns].join(", ")}`;
};

/** Tell what the words behind the program's name ask for. Throws a `UsageError` that says what to do. */
export const read = (words: ReadonlyArray<string>, commands: ReadonlyArray<CommandSpec>): Request => {
  const at = commandAt(words);
  const [name, ...after] = at < 0 ? [] : words.slice(at);
  if (name === "help") return { kind: "help", topic: after.find((word) => !word.startsWith("-")) };
  const command = commands.find((command) => command.name === name);
  const isKnown = command !== undefined || name === undefined || builtIns.includes(name);
  if (isKnown && asksForHelp(untilDashes(words))) return { kind: "help", topic: command?.name };
  if (untilDashes(words.slice(0, 1)).includes("--version")) return { kind: "version" };
  if (name === "completion" || name === "--completions") return { kind: "completion", shell: after[0] };
  if (name === undefined) return { kind: "help", topic: undefined };
  if (command === undefined) return refuse(notACommand(name, commands));
  const given = givenOf([...words.slice(0, at), ...after], command, commands);
  return { kind: "run", command: command.name, given };
};
