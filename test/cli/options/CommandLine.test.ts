import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CommandSpec } from "../../../src/cli/options/Command.ts";
import * as CommandLine from "../../../src/cli/options/CommandLine.ts";
import * as Flag from "../../../src/cli/options/Flag.ts";

const flags = {
  user: Flag.texts({ name: "user", placeholder: "ID", text: "A user." }),
  format: Flag.text({ name: "format", placeholder: "F", text: "A format." }),
  json: Flag.toggle("json", "As JSON."),
  quiet: Flag.toggle("quiet", "Quiet."),
};

const commands: ReadonlyArray<CommandSpec> = [
  { name: "export", summary: "Export.", groups: [{ title: "All", flags }], examples: [] },
  {
    name: "verify",
    summary: "Verify.",
    argument: { placeholder: "DIR", text: "The folder." },
    groups: [{ title: "All", flags: { json: flags.json } }],
    examples: [],
  },
];

type Run = Extract<CommandLine.Request, { readonly kind: "run" }>;

const read = (line: string) => CommandLine.read(line.split(" ").filter((word) => word), commands);

/** The words of a command, in one order whatever theirs was. */
const wordsOf = ({ command, given: { flags, argument, logLevel } }: Run) => [
  ...(logLevel === undefined ? [] : ["--log-level", logLevel]),
  command,
  ...[...flags].flatMap(([name, values]) =>
    values.length === 0 ? [`--${name}`] : values.flatMap((value) => [`--${name}`, value])
  ),
  ...(argument === undefined ? [] : [argument]),
];

const words = (line: string) => {
  const request = read(line);
  return request.kind === "run" ? wordsOf(request).join(" ") : request;
};

describe("CommandLine.read()", () => {
  it.each([
    ["export --user a --json", "export --user a --json"],
    ["export --user=a --format=csv", "export --user a --format csv"],
    ["export --user=a=b", "export --user a=b"],
    ["export --user a --format csv --user b", "export --user a --user b --format csv"],
    ["--json --quiet export --user a", "export --json --quiet --user a"],
    ["verify data --json", "verify --json data"],
    ["verify -- --odd", "verify --odd"],
    ["export --user -a", "export --user -a"],
    ["export --log-level all --user a", "--log-level all export --user a"],
  ])("tells the words of %j apart: %j", (line, expected) => expect(words(line)).toBe(expected));

  it("takes every value as it is, whether behind = or a space", () => {
    const value = fc.string().filter((text) => !text.startsWith("--"));
    fc.assert(fc.property(fc.array(value, { minLength: 1 }), fc.boolean(), (values, isJoined) => {
      const given = values.flatMap((value) => isJoined ? [`--user=${value}`] : ["--user", value]);
      expect(wordsOf(CommandLine.read(["export", ...given], commands) as Run)).toEqual(
        ["export", ...values.flatMap((value) => ["--user", value])],
      );
    }));
  });

  it.each([
    ["", { kind: "help", topic: undefined }],
    ["help", { kind: "help", topic: undefined }],
    ["--help", { kind: "help", topic: undefined }],
    ["-h", { kind: "help", topic: undefined }],
    ["help export", { kind: "help", topic: "export" }],
    ["export --help", { kind: "help", topic: "export" }],
    ["--help export", { kind: "help", topic: "export" }],
    ["export --bogus -h", { kind: "help", topic: "export" }],
    ["help exit-codes", { kind: "help", topic: "exit-codes" }],
    ["--version", { kind: "version" }],
    ["completion zsh", { kind: "completion", shell: "zsh" }],
    ["--completions bash", { kind: "completion", shell: "bash" }],
  ])("takes %j for %j", (line, expected) => expect(read(line)).toEqual(expected));

  it.each([
    ["exprot", 'There is no command "exprot". Did you mean export?'],
    ["exprot --help", "Did you mean export?"],
    ["quux", 'There is no command "quux". The commands are export, verify, help, completion'],
    ["export --fromat csv", "export has no option --fromat. Did you mean --format?"],
    ["export --form csv", "Did you mean --format?"],
    ["export --FORMAT csv", "Did you mean --format?"],
    ["export -format csv", "export has no option -format. Did you mean --format?"],
    ["verify data --user a", "verify has no option --user. export has it."],
    ["--user a export", "--user belongs behind the command: monocloud-sessions export --user"],
    ["export --format", "--format needs a value: --format F"],
    ["export --format --json", "--format needs a value: --format F"],
    ["export --format csv --format=csv", "--format is given twice: give it once"],
    ["export --json=yes", "--json is given or left out: it takes no value"],
    ["export data", "export has no use for a word behind export: every"],
    ["export --json sk_live_1", "export has no use for a word behind --json: every"],
    ["SK_live_1", "There is no command of that name. The commands are"],
    ["verify one two", "verify has no use for a word behind DIR: every"],
    ["verify", "verify needs DIR: The folder."],
  ])("refuses %j: %s", (line, message) => expect(() => read(line)).toThrow(message));
});
