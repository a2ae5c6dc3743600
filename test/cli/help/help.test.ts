import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { pictures } from "../../../docs/pictures.ts";
import * as Help from "../../../src/cli/help/Help.ts";
import * as Layout from "../../../src/cli/help/Layout.ts";
import { exitCodes } from "../../../src/cli/ExitCode.ts";
import { commands } from "../../../src/cli/commands/mod.ts";
import { flagsOf } from "../../../src/cli/options/Command.ts";
import { names } from "../../../src/server/Variables.ts";
import { newFolder } from "../../folders.ts";
import { has } from "../../programs.ts";
import { bash, project, quotedCommand, run, start } from "../command.ts";

const linesOn = (topic: string | undefined, width: number): ReadonlyArray<string> => {
  const found = Help.on(topic, { commands, width, style: Layout.plain });
  if ("flaw" in found) throw new Error(found.flaw);
  return found.lines;
};

const exporting = commands.find(({ name }) => name === "export")!;

const topics = [undefined, ...commands.map(({ name }) => name), ...Help.topics];

describe("help", () => {
  it.each(topics.flatMap((topic) => [40, 80, 120].map((width) => [topic, width] as const)))(
    "on %s fits %d columns",
    (topic, width) => {
      for (const line of linesOn(topic, width)) expect(line.length, line).toBeLessThanOrEqual(width);
    },
  );

  it("on export takes no more than 90 lines, and names every option", () => {
    const lines = linesOn("export", 80);
    expect(lines.length).toBeLessThanOrEqual(90);
    for (const { name } of flagsOf(exporting)) {
      expect(lines.join("\n")).toMatch(new RegExp(`^ {2}--${name}\\b`, "m"));
    }
  });

  it("on exit codes and the environment names all of them", () => {
    for (const code of Object.values(exitCodes)) {
      expect(linesOn("exit-codes", 80).join("\n")).toMatch(new RegExp(`^ {2}${code} `, "m"));
    }
    const variables = names.filter((name) => !/^OTEL_(RES|SERV)/.test(name));
    for (const name of variables) expect(linesOn("environment", 80).join("\n")).toContain(name);
  });

  it("is drawn in docs as it is: else run `npm run pictures`", async () => {
    for (const [path, picture] of pictures()) {
      expect(await readFile(join(project, "docs", path), "utf8"), path).toBe(picture);
    }
  });

  it("comes the same way however it is asked for, on standard output", async () => {
    const [first, ...others] = await Promise.all(
      [["export", "--help"], ["export", "-h"], ["help", "export"], ["--help", "export"]].map((args) =>
        run(args)
      ),
    );
    expect(first).toMatchObject({ code: 0, err: "" });
    expect(first!.out).toBe(`${linesOn("export", 80).join("\n")}\n`);
    for (const other of others) expect(other).toEqual(first);
    for (const args of [[], ["help"], ["--help"], ["-h"]]) {
      expect((await run(args)).out).toBe(`${linesOn(undefined, 80).join("\n")}\n`);
    }
    expect((await run(["help", "exit-code"])).err).toContain("Did you mean exit-codes?");
  });

  it("takes the width of the terminal", async (context) => {
    const line = `stty cols 40; ${quotedCommand} help export`;
    const found = await start("script", ["-qec", line, "/dev/null"], {
      env: { TERM: "xterm", NO_COLOR: "1" },
    }).done
      .catch(() => undefined);
    if (found === undefined) return context.skip("needs script of util-linux");
    expect(found.out.replaceAll("\r", "")).toBe(`${linesOn("export", 40).join("\n")}\n`);
  });
});

describe("completions", () => {
  /** Complete the last word of a line by the script for bash, as bash does. */
  const completedBy = (completion: string) => async (line: string): Promise<ReadonlyArray<string>> => {
    const words = line.split(" ");
    const script = `${completion}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}
_monocloud_sessions; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const cwd = await newFolder();
    const { out: printed, err } = await bash(`touch ids.txt; mkdir data; ${script}`, [], { cwd }).done;
    expect(err).toBe("");
    return printed.split("\n").filter((word) => word);
  };

  it.skipIf(!has("bash"))("in bash know every command, flag and word", async () => {
    const completed = completedBy((await run(["completion", "bash"])).out);
    expect(await completed("monocloud-sessions ")).toEqual(
      expect.arrayContaining([...commands.map(({ name }) => name), "help", "completion"]),
    );
    for (const command of commands) {
      const flags = flagsOf(command).map(({ name }) => `--${name}`);
      expect(await completed(`monocloud-sessions ${command.name} --`)).toEqual([...flags, "--help"]);
    }
    expect(await completed("monocloud-sessions --quiet export --fo")).toEqual(["--format"]);
    expect(await completed("monocloud-sessions export --format c")).toEqual(["csv", "csv.gz"]);
    expect(await completed("monocloud-sessions export --users-file i")).toEqual(["ids.txt"]);
    expect(await completed("monocloud-sessions export --user ")).toEqual([]);
    expect(await completed("monocloud-sessions verify d")).toEqual(["data"]);
    expect(await completed("monocloud-sessions help exit")).toEqual(["exit-codes"]);
    expect(await completed("monocloud-sessions completion f")).toEqual(["fish"]);
  });

  it.skipIf(!has("fish"))("in fish know every command and flag", async () => {
    const { out } = await run(["completion", "fish"]);
    const ask = async (line: string) =>
      (await start("fish", ["--no-config", "-c", `${out}\ncomplete -C ${JSON.stringify(line)}`]).done).out;
    const [known, flags] = [await ask("monocloud-sessions "), await ask("monocloud-sessions export --")];
    for (const { name } of commands) expect(known).toContain(name);
    for (const { name } of flagsOf(exporting)) expect(flags).toContain(`--${name}`);
  });

  it.skipIf(!has("zsh"))("in zsh are a script that loads", async () => {
    const { out } = await run(["completion", "zsh"]);
    const load = `autoload -Uz compinit; compinit -u -d $PWD/dump\n${out}\nprint $_comps[monocloud-sessions]`;
    const { out: printed, err } = await start("zsh", ["-fc", load], { cwd: await newFolder() }).done;
    expect({ printed, err }).toEqual({ printed: "_monocloud_sessions\n", err: "" });
  });

  it("of zsh and fish name every command and flag", async () => {
    const scripts = await Promise.all(["zsh", "fish"].map((shell) => run(["completion", shell])));
    for (const { out } of scripts) {
      for (const command of commands) {
        expect(out).toContain(command.name);
        for (const { name } of flagsOf(command)) expect(out).toMatch(new RegExp(`(--|-l )${name}\\b`));
      }
    }
  });

  it("for another shell are refused", async () => {
    expect(await run(["completion", "tcsh"])).toMatchObject({
      code: 2,
      err: "Error: Completions are for bash, zsh, fish: monocloud-sessions completion bash\n",
    });
  });
});
