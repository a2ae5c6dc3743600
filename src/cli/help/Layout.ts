/**
 * Text in columns that fit a terminal.
 *
 * @module
 */

export interface Style {
  readonly heading: (text: string) => string;
  readonly term: (text: string) => string;
}

export const plain: Style = { heading: (text) => text, term: (text) => text };

export const coloured: Style = {
  heading: (text) => `\u001b[1m${text}\u001b[0m`,
  term: (text) => `\u001b[36m${text}\u001b[0m`,
};

/** Break text into lines of no more than `width` columns, where it has a word that short. */
export const wrap = (text: string, width: number): ReadonlyArray<string> => {
  const lines: Array<string> = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) {
      lines[lines.length - 1] = `${last} ${word}`;
    } else lines.push(...pieces(word, width));
  }
  return lines;
};

/** Break a word that is longer than a line behind one of its own separators. */
const pieces = (word: string, width: number): ReadonlyArray<string> => {
  if (word.length <= width) return [word];
  const at = Math.max(
    word.lastIndexOf("|", width - 1),
    word.lastIndexOf(",", width - 1),
    word.lastIndexOf("/", width - 1),
  );
  const end = at > 0 ? at + 1 : width;
  return [word.slice(0, end), ...pieces(word.slice(end), width)];
};

/** Below so many columns a text goes under its term. */
const NARROW = 60;

const WIDEST = 26;

/** Lay out terms and their texts: side by side, or one under the other where there is little room. */
export const entries = (
  rows: ReadonlyArray<readonly [term: string, text: string]>,
  width: number,
  style: Style,
): ReadonlyArray<string> => {
  const longest = Math.max(...rows.map(([term]) => term.length));
  const isNarrow = width < NARROW;
  const column = isNarrow ? 2 : Math.min(longest, WIDEST);
  return rows.flatMap(([term, text]) => {
    const indent = " ".repeat(isNarrow ? 6 : column + 4);
    const lines = wrap(text, width - indent.length);
    if (isNarrow) {
      const terms = wrap(term, width - 2);
      return [...terms.map((line) => `  ${style.term(line)}`), ...lines.map((line) => indent + line)];
    }
    if (term.length > column) return [`  ${style.term(term)}`, ...lines.map((line) => indent + line)];
    const [first = "", ...rest] = lines;
    return [
      `  ${style.term(term)}${" ".repeat(column - term.length)}  ${first}`,
      ...rest.map((line) => indent + line),
    ];
  });
};

/** Lay out a heading with what stands beneath it, after an empty line. */
export const section = (title: string, lines: ReadonlyArray<string>, style: Style): ReadonlyArray<string> =>
  lines.length === 0 ? [] : ["", style.heading(title), ...lines];

/** Lay out a command line; a long one goes on with an end such as a backslash. */
export const commandLine = (line: string, width: number, end: string): ReadonlyArray<string> =>
  wrap(line, width - 4 - end.length).map((text, at, all) =>
    `${at === 0 ? "  " : "    "}${text}${at < all.length - 1 ? end : ""}`
  );

/** Lay out command lines, each beneath what it is for. */
export const commandLines = (
  examples: ReadonlyArray<readonly [line: string, purpose: string]>,
  width: number,
): ReadonlyArray<string> =>
  examples.flatMap(([line, purpose]) => [
    ...wrap(purpose, width - 4).map((text) => `  # ${text}`),
    ...commandLine(line, width, " \\"),
  ]);
