/**
 * Counts the words of each sentence in README and docs: `deno run --allow-read docs/prose.ts`.
 *
 * A sentence is three words or more of a paragraph or a list item; cells of tables count for the longest alone. Code is one
 * word.
 *
 * @module
 */
import { readdir, readFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);

/** Give the paths of README and docs, from the project's folder. */
export const pages = async (): Promise<ReadonlyArray<string>> => {
  const names = await readdir(new URL("docs/", root));
  return ["README.md", ...names.filter((name) => name.endsWith(".md")).sort().map((name) => `docs/${name}`)];
};

/** Read a page. */
export const read = (path: string): Promise<string> => readFile(new URL(path, root), "utf8");

/** Give the text of a page, less its code, pictures and targets of links. */
const textOf = (page: string): string =>
  page
    .replace(/^```[\s\S]*?^```$/gm, "\n\n")
    .replace(/<!--[\s\S]*?-->/g, "")
    .replace(/!\[[^\]]*\]\([^)]*\)/g, "")
    .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
    .replace(/`[^`]*`/g, "Code");

/** Give the sentences of a text. Of an empty line, whatever stands before it ends. */
const split = (text: string): ReadonlyArray<string> =>
  text.split(/\n\s*\n|(?<=[.!?:…][)*"_]*)(?<!e\.g\.)\s+(?=[*_"(\[]*[\p{Lu}\d])/u)
    .map((sentence) => sentence.replace(/\s+/g, " ").trim())
    .filter((sentence) => wordsOf(sentence) >= 3);

/** Give the sentences of a page: those of its paragraphs and lists, and those of its tables. */
export const sentencesOf = (page: string): Record<"prose" | "cells", ReadonlyArray<string>> => {
  const lines = textOf(page).split("\n").filter((line) => !line.startsWith("#"));
  const isRow = (line: string) => line.startsWith("|");
  return {
    prose: split(
      lines.map((line) => isRow(line) ? "" : line.replace(/^\s*([-*]|\d+\.)\s+/, "\n\n")).join("\n"),
    ),
    cells: split(lines.filter(isRow).map((line) => line.replace(/(?<!\\)\|/g, "\n\n")).join("\n")),
  };
};

/** Count the words of a sentence. */
export const wordsOf = (text: string): number =>
  text.split(/\s+/).filter((word) => /[\p{L}\d]/u.test(word)).length;

/** Counts of a page's sentences. */
export interface Count {
  readonly lines: number;
  /** Sentences in paragraphs and lists. */
  readonly sentences: number;
  /** The words of one of those. */
  readonly median: number;
  readonly mean: number;
  /** All, those of tables included, the longest first. */
  readonly longest: ReadonlyArray<string>;
}

const byLength = (sentences: ReadonlyArray<string>) =>
  sentences.toSorted((one, other) => wordsOf(other) - wordsOf(one));

/** Count a page. */
export const count = (page: string): Count => {
  const { prose, cells } = sentencesOf(page);
  const words = byLength(prose).map(wordsOf);
  return {
    lines: page.split("\n").length - 1,
    sentences: words.length,
    median: words[words.length >> 1] ?? 0,
    mean: words.reduce((sum, each) => sum + each, 0) / Math.max(1, words.length),
    longest: byLength([...prose, ...cells]),
  };
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const path of await pages()) {
    const { lines, sentences, median, mean, longest } = count(await read(path));
    const most = wordsOf(longest[0] ?? "");
    console.log(
      `${path}: ${lines} lines, ${sentences} sentences, median ${median}, mean ${
        mean.toFixed(1)
      }, most ${most}`,
    );
    if (most > 30) console.log(`  ${longest[0]}`);
  }
}
