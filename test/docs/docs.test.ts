/** README and docs: what they link to is there, what they name exists, and they can be read. */
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { count, pages, read, sentencesOf, wordsOf } from "../../docs/prose.ts";
import { exitCodes } from "../../src/cli/ExitCode.ts";
import { names } from "../../src/server/Variables.ts";
import { columns } from "../../src/session/Columns.ts";
import { command, project, start } from "../cli/command.ts";
import { onDeno } from "../runtime.ts";

const all = new Map(
  await Promise.all((await pages()).map(async (path) => [path, await read(path)] as const)),
);

const json = async (path: string) => JSON.parse(await readFile(join(project, path), "utf8"));

/** Give the anchors of a page, as GitHub makes them of its headings. */
const anchorsOf = (page: string): ReadonlySet<string> =>
  new Set(
    [...page.replace(/^```[\s\S]*?^```$/gm, "").matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
      heading.toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-")
    ),
  );

/** Give the relative links of a page. */
const linksOf = (page: string): ReadonlyArray<string> =>
  [...page.replace(/^```[\s\S]*?^```$/gm, "").matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = ""]) => target)
    .filter((target) => !/^[a-z]+:/.test(target));

/** Give the lines of a page's snippets in a language, those that `\` continues as one. */
const linesOf = (page: string, language: string): ReadonlyArray<string> =>
  [...page.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].flatMap(([, text = ""]) =>
    text.replace(/\\\n\s*/g, " ").split("\n").filter((line) => line !== "")
  );

/** Give the rows of a page's tables whose first cell is code, as the texts of all code in that cell. */
const firstCells = (page: string): ReadonlyArray<string> =>
  [...page.matchAll(/^\| (`.*?) +\|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, code = ""]) => code)
  );

describe.skipIf(onDeno).each([...all])("%s", (path, page) => {
  it("links to what is there", async () => {
    const missing = [];
    for (const link of linksOf(page)) {
      const [file = "", anchor] = link.split("#");
      const target = file === "" ? path : join(path, "..", file);
      const found = await stat(join(project, target)).catch(() => undefined);
      if (found === undefined) missing.push(link);
      else if (anchor !== undefined && !anchorsOf(await read(target)).has(anchor)) missing.push(link);
    }
    expect(missing).toEqual([]);
  });

  it("has short sentences", () => {
    const { median, longest } = count(page);
    expect(median).toBeLessThan(18);
    expect(longest.filter((sentence) => wordsOf(sentence) > 40)).toEqual([]);
  });

  it("has a title and shows something in its first screen", () => {
    const screen = page.split("\n").slice(0, 30).join("\n");
    expect(page).toMatch(/^# \S/);
    expect(screen).toContain("\n```");
  });

  it("uses the words of today", () => {
    const former = [
      /--rejected\b/,
      /--max-rejected\b/,
      /prune-report/,
      /prune report/i,
      /\bdoubts?\b/i,
      /userDoubts/,
      /\binitiatedAt\b/,
      /tenant_waiting/,
      /outcome="left"/,
      /\bput(s|ting)? aside\b/i,
      /\bvouch/i,
      /\bsuch as are no\b/i,
      /\bno objects\b/i,
      /other than with 0 and 4/i,
      /this walk can't/i,
      /it has happened or it has not/i,
      /not what they should be/i,
      /it was written/i,
      /be more patient/i,
      /stands so\b/i,
      /as many requests are under way/i,
      /as pay\b/i,
      /those taken are/i,
      /a row that rises/i,
      /hostile reading/i,
    ];
    expect(former.filter((words) => words.test(page)).map(String)).toEqual([]);
  });

  it("calls commands that exist, with flags that they know", async () => {
    const { scripts } = await json("package.json");
    const wrong = [];
    for (const line of linesOf(page, "sh")) {
      const code = line.replace(/(^|\s)#.*$/, "");
      for (const [, script = ""] of code.matchAll(/\bnpm run ([\w:]+)/g)) {
        if (!Object.hasOwn(scripts, script)) wrong.push(line);
      }
      for (const [, file = ""] of code.matchAll(/\bdeno (?:run|serve) .*?(\S+\.ts)\b/g)) {
        if (!await stat(join(project, file)).catch(() => undefined)) wrong.push(line);
      }
      for (const [, name = "", rest = ""] of code.matchAll(/(?:^|\s)monocloud-sessions (\w+)([^|&;]*)/g)) {
        const flags = await flagsOf(name);
        const given = [...rest.matchAll(/(?:^|\s)(--[a-z-]+)/g)].map(([, flag = ""]) => flag);
        if (flags.size === 0 || given.some((flag) => !flags.has(flag))) wrong.push(line);
      }
    }
    expect(wrong).toEqual([]);
  });
});

/** Give the flags that a subcommand's help knows; none if there is no such subcommand. */
const flagsOf = async (name: string): Promise<ReadonlySet<string>> => {
  const [program = "", ...args] = command;
  const { code, out } = known.get(name) ?? await start(program, [...args, name, "--help"]).done;
  known.set(name, { code, out });
  return new Set(code === 0 ? [...out.matchAll(/--[a-z][a-z-]*/g)].map(([flag]) => flag) : []);
};
const known = new Map<string, { readonly code: number | null; readonly out: string }>();

describe("README", () => {
  it("is short", () => expect(count(all.get("README.md")!).lines).toBeLessThan(200));
});

describe.skipIf(onDeno)("docs/cli.md", () => {
  const page = all.get("docs/cli.md")!;

  it("has every flag of export, sync, load and work, and no other", async () => {
    const named = firstCells(page).filter((cell) => cell.startsWith("--")).map((cell) => cell.split(" ")[0]!);
    const ofEach = await Promise.all(["export", "sync", "load", "work"].map(flagsOf));
    const flags = [...new Set(ofEach.flatMap((flags) => [...flags]))].sort();
    expect([...new Set(named)].filter((flag) => !["--help", "--version"].includes(flag)).sort()).toEqual(
      flags,
    );
  });

  it("has every exit code, and no other", () => {
    const table = page.slice(page.indexOf("## Exit codes"), page.indexOf("## Proxies"));
    const codes = [...table.matchAll(/^\| ([\d, ]+?) +\|/gm)].flatMap(([, cell = ""]) =>
      cell.split(", ").map(Number)
    );
    expect(codes).toEqual(Object.values(exitCodes).toSorted((one, other) => one - other));
  });
});

it("docs/formats.md has every column", () => {
  const cells = firstCells(all.get("docs/formats.md")!);
  expect(columns.map(({ name }) => name).filter((name) => !cells.includes(name))).toEqual([]);
});

it("docs/server.md has every variable", () => {
  const page = all.get("docs/server.md")!;
  expect(names.filter((name) => !page.includes(name))).toEqual([]);
});

it("docs/library.md and CONTRIBUTING.md say why each dependency is there, and name no other", async () => {
  const { dependencies, peerDependencies, devDependencies } = await json("package.json");
  const cellsOf = (path: string, heading: string) => {
    const page = all.get(path)!;
    return firstCells(page.slice(page.indexOf(`\n${heading}\n`)));
  };
  const ofUsers = cellsOf("docs/library.md", "## Dependencies");
  expect(ofUsers.toSorted()).toEqual(Object.keys({ ...dependencies, ...peerDependencies }).sort());
  const ofDevelopment = cellsOf("docs/CONTRIBUTING.md", "## Dependencies for development");
  const others = Object.keys(devDependencies).filter((name) => !ofUsers.includes(name));
  expect(ofDevelopment.toSorted()).toEqual(others.sort());
});

it("docs/CONTRIBUTING.md and docs/ARCHITECTURE.md name what is there", async () => {
  const { scripts } = await json("package.json");
  const page = all.get("docs/CONTRIBUTING.md")!;
  const named = [...page.matchAll(/`(?:npm run )?((?:test|bench|ok)(?::\w+)?)`/g)].map(([, name = ""]) =>
    name
  );
  expect(named.filter((name) => !Object.hasOwn(scripts, name))).toEqual([]);
  const rooms = (await readdir(join(project, "src"), { withFileTypes: true }))
    .filter((entry) => entry.isDirectory()).map(({ name }) => name);
  expect(rooms.filter((room) => !firstCells(all.get("docs/ARCHITECTURE.md")!).includes(room))).toEqual([]);
});

it("docs/ARCHITECTURE.md names what says that it exists for speed alone", async () => {
  const files = (await readdir(join(project, "src"), { recursive: true })).filter((name) =>
    name.endsWith(".ts")
  );
  const links = linksOf(all.get("docs/ARCHITECTURE.md")!);
  const unnamed = [];
  for (const name of files) {
    const [first] = (await readFile(join(project, "src", name), "utf8")).split("*/");
    if (first!.includes("FOR SPEED ALONE") && !links.includes(`../src/${name}`)) unnamed.push(name);
  }
  expect(unnamed).toEqual([]);
});

describe("sentencesOf()", () => {
  it("leaves out code, and ends a sentence where a reader does", () => {
    const page =
      "# A title of words\n\nFirst `a. B` [of two](x.md). **Second** of two!\n\n```sh\nnot this one here\n```\n" +
      "- one item of three\n- two more words\n\n| a cell of five words | b |\n| --- | --- |\n| it ends. A new one. | no |\n";
    expect(sentencesOf(page)).toEqual({
      prose: ["First Code of two.", "**Second** of two!", "one item of three", "two more words"],
      cells: ["a cell of five words", "A new one."],
    });
    expect(wordsOf("a — b, c")).toBe(3);
  });
});

it.skipIf(onDeno)("prose.ts prints a line for each page", async () => {
  const deno = join(project, "node_modules", ".bin", "deno");
  const { code, out } = await start(deno, ["run", "--allow-read", "docs/prose.ts"]).done;
  expect({ code, lines: out.split("\n").filter((line) => line.includes(" sentences, ")).length })
    .toEqual({ code: 0, lines: all.size });
});
