/**
 * Draws what the command shows: its progress, and the help of every command as terminals of 80 and of 40 columns have it.
 * `npm run pictures` writes `docs/progress.svg` and `docs/help`.
 *
 * @module
 */
import { mkdir, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { commands } from "../src/cli/commands/mod.ts";
import * as Help from "../src/cli/help/Help.ts";
import * as Layout from "../src/cli/help/Layout.ts";
import * as ProgressBar from "../src/cli/ui/ProgressBar.ts";

/** The widths that it is drawn at, in columns. */
export const widths = [80, 40] as const;

/** Topics of help: the program, each command, and those that are no commands. */
export const topics: ReadonlyArray<string> = ["help", ...commands.map(({ name }) => name), ...Help.topics];

const [COLUMN, LINE, MARGIN] = [7.83, 18, 18];

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(" ", "\u00a0");

/** Mark what the terminal shows in bold or in colour. */
const marked = (line: string): string =>
  escaped(line)
    .replaceAll("\u001b[1m", `<tspan class="h">`)
    .replaceAll("\u001b[36m", `<tspan class="t">`)
    .replaceAll("\u001b[0m", "</tspan>");

/** Draw a terminal of this width after a command has printed these lines. Dark where its reader's screen is. */
const terminal = (command: string, printed: ReadonlyArray<string>, width: number, label: string): string => {
  const lines = [`<tspan class="p">$</tspan>\u00a0${escaped(command)}`, ...printed.map(marked)];
  const [across, down] = [Math.ceil(width * COLUMN + 2 * MARGIN), lines.length * LINE + 2 * MARGIN];
  const texts = lines.flatMap((line, at) =>
    line === "" ? [] : [`<text x="${MARGIN}" y="${MARGIN + 13 + at * LINE}">${line}</text>`]
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${across}" height="${down}" viewBox="0 0 ${across} ${down}" role="img" aria-label="${label}">
<style>
text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #1f2328 }
rect { fill: #f6f8fa; stroke: #d1d9e0 }
.h { font-weight: 700 }
.t { fill: #0b6e75 }
.p { fill: #59636e }
@media (prefers-color-scheme: dark) {
text { fill: #d4d7dd }
rect { fill: #15181e; stroke: #3d444d }
.t { fill: #56b6c2 }
.p { fill: #7d8590 }
}
</style>
<rect x="0.5" y="0.5" width="${across - 1}" height="${down - 1}" rx="8"/>
${texts.join("\n")}
</svg>
`;
};

const helpOn = (topic: string, width: number): string => {
  const found = Help.on(topic, { commands, width, style: Layout.coloured });
  if ("flaw" in found) throw new Error(found.flaw);
  const command = `monocloud-sessions help${topic === "help" ? "" : ` ${topic}`}`;
  return terminal(command, found.lines, width, `${command}, in ${width} columns`);
};

const progress = (): string => {
  const width = 132;
  const line = ProgressBar.render({
    users: 816,
    usersTotal: 2000,
    listed: 2000,
    sessions: 44_061,
    compared: undefined,
    secondsLeft: 12,
    speed: 5486,
    requests: 1155,
    retries: 46,
    waiting: 3,
    rate: 400,
    limit: 400,
    heldUntil: 0,
    lastFailure: undefined,
    now: 0,
  }, width);
  const command = "monocloud-sessions export --all-users --out data --format csv,parquet --rate 400/s";
  return terminal(command, [line], width, `The progress of an export: ${line}`);
};

/** Give the pictures by the paths of their files in `docs`. */
export const pictures = (): ReadonlyMap<string, string> =>
  new Map([
    ["progress.svg", progress()],
    ...topics.flatMap((topic) =>
      widths.map((width) => [`help/${topic}-${width}.svg`, helpOn(topic, width)] as const)
    ),
  ]);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = new URL("./", import.meta.url);
  await mkdir(new URL("help/", folder), { recursive: true });
  const drawn = pictures();
  for (const [path, picture] of drawn) await writeFile(new URL(path, folder), picture);
  console.error(`${fileURLToPath(folder)}: ${drawn.size} pictures`);
}
