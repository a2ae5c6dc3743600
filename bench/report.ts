/** What the suite found, as Markdown with plots. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";

/** A table: numbers are written with the digits that mean something. */
export interface Table {
  readonly title: string;
  readonly rows: ReadonlyArray<Readonly<Record<string, string | number>>>;
}

/** Horizontal bars, one for each of what is compared, with how far rounds differ. */
export interface Plot {
  /** Name of the file, without ending. */
  readonly name: string;
  readonly title: string;
  readonly bars: ReadonlyArray<{
    readonly label: string;
    readonly value: number;
    readonly least?: number;
    readonly most?: number;
    readonly isOurs: boolean;
  }>;
}

/** Lines over a common axis, both logarithmic. */
export interface LinePlot {
  readonly kind: "lines";
  /** Name of the file, without ending. */
  readonly name: string;
  readonly title: string;
  readonly x: { readonly title: string; readonly values: ReadonlyArray<number> };
  readonly lines: ReadonlyArray<{
    readonly label: string;
    readonly values: ReadonlyArray<number>;
    readonly isOurs: boolean;
  }>;
}

/** What one case found. */
export interface Section {
  readonly title: string;
  /** What was done, and what to make of it. */
  readonly words: string;
  readonly tables: ReadonlyArray<Table>;
  readonly plots?: ReadonlyArray<Plot | LinePlot>;
}

const digits = (value: string | number): string => {
  if (typeof value === "string") return value;
  const size = Math.abs(value);
  return size >= 100 || Number.isInteger(value)
    ? Math.round(value).toLocaleString("en")
    : value.toFixed(size >= 10 ? 1 : 2);
};

const tableOf = ({ title, rows }: Table): string => {
  const names = Object.keys(rows[0] ?? {});
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |`;
  return [
    `**${title}**\n`,
    line(names),
    line(names.map((name) => typeof rows[0]![name] === "number" ? "---:" : "---")),
    ...rows.map((row) => line(names.map((name) => digits(row[name] ?? "")))),
  ].join("\n");
};

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

const svgOf = ({ title, bars }: Plot): string => {
  const [left, width, height] = [190, 420, 26];
  const scale = width / Math.max(...bars.map(({ value, most = value }) => Math.max(value, most)));
  const x = (value: number) => (left + value * scale).toFixed(1);
  const drawn = bars.map(({ label, value, least, most, isOurs }, index) => {
    const y = 44 + index * height;
    const whisker = least === undefined || most === undefined ? "" : (
      `<path class="w" d="M${x(least)} ${y + 9}H${x(most)}M${x(least)} ${y + 5}v8M${x(most)} ${y + 5}v8"/>`
    );
    return `<text x="${left - 8}" y="${y + 13}" text-anchor="end"${isOurs ? ' class="o"' : ""}>${
      escaped(label)
    }</text>` +
      `<rect class="${isOurs ? "us" : "them"}" x="${left}" y="${y}" width="${
        (value * scale).toFixed(1)
      }" height="18" rx="2"/>` +
      `${whisker}<text x="${(left + Math.max(value, most ?? 0) * scale + 6).toFixed(1)}" y="${y + 13}">${
        digits(value)
      }</text>`;
  });
  const [w, h] = [left + width + 70, 56 + bars.length * height];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" role="img" aria-label="${
    escaped(title)
  }">
<style>text{font:13px system-ui,sans-serif;fill:#3d444d}.t{font-weight:600}.o{font-weight:600;fill:#1a7f37}.us{fill:#2da44e}.them{fill:#afb8c1}.w{stroke:#57606a;fill:none}.bg{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.o{fill:#58c27d}.them{fill:#484f58}.w{stroke:#8b949e}.bg{fill:#15181e}}</style>
<rect class="bg" width="${w}" height="${h}" rx="8"/>
<text class="t" x="16" y="26">${escaped(title)}</text>
${drawn.join("\n")}
</svg>
`;
};

const STYLE =
  "text{font:13px system-ui,sans-serif;fill:#3d444d}.t{font-weight:600}.o{font-weight:600;fill:#1a7f37}" +
  ".l{fill:none;stroke-width:2.5;stroke:#8c959f}.lo{stroke:#2da44e}.g{stroke:#d0d7de;fill:none}.bg{fill:#fff}" +
  "@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.o{fill:#58c27d}.l{stroke:#6e7681}.lo{stroke:#58c27d}" +
  ".g{stroke:#30363d}.bg{fill:#15181e}}";

const linesOf = ({ title, x, lines }: LinePlot): string => {
  const [left, top, width, height, right] = [70, 50, 380, 240, 220];
  const every = lines.flatMap(({ values }) => values);
  const powers = (values: ReadonlyArray<number>) =>
    [
      Math.floor(Math.log10(Math.min(...values))),
      Math.ceil(Math.log10(Math.max(...values))),
    ] as const;
  const [[x0, x1], [y0, y1]] = [powers(x.values), powers(every)];
  const at = (value: number) => left + (Math.log10(value) - x0) / (x1 - x0) * width;
  const up = (value: number) => top + height - (Math.log10(value) - y0) / (y1 - y0) * height;
  const decades = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => 10 ** (from + i));
  const grid = [
    ...decades(y0, y1).map((value) =>
      `<path class="g" d="M${left} ${up(value).toFixed(1)}h${width}"/><text x="${left - 8}" y="${
        (up(value) + 4).toFixed(1)
      }" text-anchor="end">${value.toLocaleString("en")}</text>`
    ),
    ...decades(x0, x1).map((value) =>
      `<path class="g" d="M${at(value).toFixed(1)} ${top}v${height}"/><text x="${at(value).toFixed(1)}" y="${
        top + height + 18
      }" text-anchor="middle">${value.toLocaleString("en")}</text>`
    ),
  ];
  // Labels stand at the ends of their lines, and apart from each other.
  let lowest = Infinity;
  const labels = lines.map((line) => ({ ...line, y: up(line.values.at(-1)!) }))
    .sort((one, other) => other.y - one.y)
    .map(({ label, isOurs, y }) => {
      lowest = Math.min(y, lowest - 18);
      return `<text x="${left + width + 8}" y="${(lowest + 4).toFixed(1)}"${isOurs ? ' class="o"' : ""}>${
        escaped(label)
      }</text>`;
    });
  const drawn = lines.map(({ values, isOurs }) =>
    `<path class="l${isOurs ? " lo" : ""}" d="${
      values.map((value, i) => `${i === 0 ? "M" : "L"}${at(x.values[i]!).toFixed(1)} ${up(value).toFixed(1)}`)
        .join("")
    }"/>`
  );
  const [w, h] = [left + width + right, top + height + 50];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" role="img" aria-label="${
    escaped(title)
  }">
<style>${STYLE}</style>
<rect class="bg" width="${w}" height="${h}" rx="8"/>
<text class="t" x="16" y="26">${escaped(title)}</text>
${[...grid, ...drawn, ...labels].join("\n")}
<text x="${left + width / 2}" y="${top + height + 38}" text-anchor="middle">${escaped(x.title)}</text>
</svg>
`;
};

/** The day, the machine and the versions: what figures are to be read with. */
const whereMeasured = (versions: Readonly<Record<string, string>>): string => {
  const what = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return `Measured on ${new Date().toISOString().slice(0, 10)}: ${cpus().length} cores of ${
    cpus()[0]?.model.trim()
  }, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release()}; ${what}.`;
};

const HEAD = `# What it costs

Made by \`npm run bench\`. Every comparison ran its contenders in turn, each a process of its own, and gives the median of the
rounds' ratios with the least and the most. The tenant is a process of its own as well, whose answers are cut out of rows
made before.
`;

/** Writes a section and its plots, in the place of what the report says under this title, or at its end. */
export const write = async (
  folder: string,
  { title, words, tables, plots = [] }: Section,
  versions: Readonly<Record<string, string>>,
): Promise<void> => {
  await mkdir(join(folder, "plots"), { recursive: true });
  for (const plot of plots) {
    const drawn = "kind" in plot ? linesOf(plot) : svgOf(plot);
    await writeFile(join(folder, "plots", `${plot.name}.svg`), drawn);
  }
  const report = join(folder, "report.md");
  const before = await readFile(report, "utf8").catch((error) => {
    if (error.code !== "ENOENT") throw error;
    return "";
  });
  const [, ...sections] = before.split(/^(?=## )/m);
  const heading = `## ${title}\n`;
  const at = sections.findIndex((section) => section.startsWith(heading));
  const section = [
    heading.trimEnd(),
    words,
    whereMeasured(versions),
    ...plots.map(({ name, title }) => `![${title}](plots/${name}.svg)`),
    ...tables.map(tableOf),
  ].join("\n\n");
  sections.splice(at < 0 ? sections.length : at, 1, section);
  await writeFile(report, `${[HEAD, ...sections].map((part) => part.trimEnd()).join("\n\n")}\n`);
};
