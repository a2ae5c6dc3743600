/**
 * Completions for shells, from the table of commands: every command, its flags, and the words and paths that a flag takes.
 */
import { type CommandSpec, flagsOf } from "../options/Command.ts";
import type * as Flag from "../options/Flag.ts";
import { topics } from "./Help.ts";

const PROGRAM = "monocloud-sessions";

export const shells = ["bash", "zsh", "fish"] as const;

export type Shell = typeof shells[number];

type Commands = ReadonlyArray<CommandSpec>;

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

const firstSentence = (text: string): string => /^.*?[.:;](?= |$)/.exec(text)?.[0].slice(0, -1) ?? text;

const helpTopics = (
  commands: Commands,
): ReadonlyArray<string> => [...commands.map(({ name }) => name), ...topics];

const allNames = (commands: Commands): ReadonlyArray<string> => [
  ...commands.map(({ name }) => name),
  "help",
  "completion",
];

/** Give the flags that take a value and are alike in this, of all commands. */
const namesWhere = (commands: Commands, isSo: (flag: Flag.About) => boolean): ReadonlyArray<string> => [
  ...new Set(commands.flatMap(flagsOf).filter(isSo).map(({ name }) => `--${name}`)),
];

const bash = (commands: Commands): string => {
  const withWords = commands.flatMap(flagsOf).filter(({ words }) => words !== undefined);
  const words = new Map(withWords.map(({ name, words = [] }) => [name, words]));
  const isOther = ({ placeholder, words, isPath }: Flag.About) => placeholder && !words && !isPath;
  return `# bash completion for ${PROGRAM}
_monocloud_sessions() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" command="" word
  COMPREPLY=()
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in
      -*) ;;
      *) command="$word"; break ;;
    esac
  done
  case "$previous" in
${
    [...words].map(([name, words]) =>
      `    --${name}) COMPREPLY=($(compgen -W ${quoted(words.join(" "))} -- "$current")); return ;;`
    ).join("\n")
  }
    ${
    namesWhere(commands, ({ isPath }) => isPath === true).join("|")
  }) COMPREPLY=($(compgen -f -- "$current")); return ;;
    ${namesWhere(commands, (flag) => Boolean(isOther(flag))).join("|")}) return ;;
  esac
  case "$command" in
${
    commands.map((command) => {
      const flags = [...flagsOf(command).map(({ name }) => `--${name}`), "--help"].join(" ");
      const others = command.argument === undefined
        ? ""
        : `; [[ "$current" == -* ]] || COMPREPLY=($(compgen -d -- "$current"))`;
      return `    ${command.name}) COMPREPLY=($(compgen -W ${quoted(flags)} -- "$current"))${others} ;;`;
    }).join("\n")
  }
    help) COMPREPLY=($(compgen -W ${quoted(helpTopics(commands).join(" "))} -- "$current")) ;;
    completion) COMPREPLY=($(compgen -W ${quoted(shells.join(" "))} -- "$current")) ;;
    "") COMPREPLY=($(compgen -W ${
    quoted([...allNames(commands), "--help", "--version"].join(" "))
  } -- "$current")) ;;
  esac
}
complete -o filenames -F _monocloud_sessions ${PROGRAM}
`;
};

/** Escape what \`_arguments\` and \`_describe\` take for their own. */
const zshText = (text: string): string => text.replace(/[\\[\]:]/g, "\\$&");

const zshFlag = ({ name, placeholder, text, words, isPath, isRepeatable }: Flag.About): string => {
  const action = words !== undefined ? `(${words.map(zshText).join(" ")})` : isPath === true ? "_files" : " ";
  const value = placeholder === undefined ? "" : `:${zshText(placeholder)}:${action}`;
  const sign = placeholder === undefined ? "" : "=";
  return quoted(`${isRepeatable ? "*" : ""}--${name}${sign}[${zshText(firstSentence(text))}]${value}`);
};

const zsh = (commands: Commands): string =>
  `#compdef ${PROGRAM}
_monocloud_sessions() {
  local context state state_descr line
  typeset -A opt_args
  _arguments -C '(- *)--help[Show help]' '(- *)--version[Show the version]' '1:command:->command' '*::argument:->argument'
  case $state in
    command)
      local -a commands
      commands=(${
    [
      ...commands.map(({ name, summary }) => quoted(`${name}:${zshText(firstSentence(summary))}`)),
      "'help:Show help'",
      "'completion:Print completions'",
    ].join(" ")
  })
      _describe command commands
      ;;
    argument)
      case $line[1] in
${
    commands.map((command) =>
      `        ${command.name}) _arguments '--help[Show help]' ${flagsOf(command).map(zshFlag).join(" ")}${
        command.argument === undefined ? "" : ` '1:folder:_files -/'`
      } ;;`
    ).join("\n")
  }
        help) _arguments '1:topic:(${helpTopics(commands).join(" ")})' ;;
        completion) _arguments '1:shell:(${shells.join(" ")})' ;;
      esac
      ;;
  esac
}
if [ "$funcstack[1]" = "_monocloud_sessions" ]; then _monocloud_sessions "$@"; else compdef _monocloud_sessions ${PROGRAM}; fi
`;

const fishFlag = (command: string, { name, placeholder, text, words, isPath }: Flag.About): string =>
  [
    `complete -c ${PROGRAM} -n ${quoted(`__fish_seen_subcommand_from ${command}`)} -l ${name}`,
    ...(placeholder === undefined ? [] : [isPath === true ? "-rF" : "-x"]),
    ...(words === undefined ? [] : [`-a ${quoted(words.join(" "))}`]),
    `-d ${quoted(firstSentence(text))}`,
  ].join(" ");

const fish = (commands: Commands): string => {
  const names = allNames(commands).join(" ");
  const first = (name: string, summary: string) =>
    `complete -c ${PROGRAM} -n ${quoted(`not __fish_seen_subcommand_from ${names}`)} -a ${name} -d ${
      quoted(firstSentence(summary))
    }`;
  const after = (name: string, words: ReadonlyArray<string>) =>
    `complete -c ${PROGRAM} -n ${quoted(`__fish_seen_subcommand_from ${name}`)} -a ${
      quoted(words.join(" "))
    }`;
  return [
    `# fish completion for ${PROGRAM}`,
    `complete -c ${PROGRAM} -f`,
    ...commands.map(({ name, summary }) => first(name, summary)),
    first("help", "Show help."),
    first("completion", "Print completions."),
    `complete -c ${PROGRAM} -l help -s h -d 'Show help'`,
    after("help", helpTopics(commands)),
    after("completion", shells),
    ...commands.flatMap((command) => [
      ...flagsOf(command).map((flag) => fishFlag(command.name, flag)),
      ...(command.argument === undefined
        ? []
        : [`complete -c ${PROGRAM} -n ${quoted(`__fish_seen_subcommand_from ${command.name}`)} -F`]),
    ]),
    "",
  ].join("\n");
};

const scripts: Readonly<Record<Shell, (commands: Commands) => string>> = { bash, zsh, fish };

export const of = (shell: string | undefined, commands: Commands): string | undefined =>
  shells.some((known) => known === shell) ? scripts[shell as Shell](commands) : undefined;
