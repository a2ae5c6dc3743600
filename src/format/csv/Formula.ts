/**
 * Texts that spreadsheets take for formulas.
 *
 * OWASP's list has `=`, `+`, `-`, `@` in front, with their full-width forms, and tab, CR and LF. Others add `|` and `%`, such
 * as the gem `csv-safe`. White space before one of these hides nothing: LibreOffice, Google Sheets and programs that turn CSV
 * into workbooks are reported to take it away first. To some of them a byte order mark, or another character without a shape,
 * is white space too.
 */
import type { Column } from "../../session/Columns.ts";
import type { Text } from "../DecodedRow.ts";

const formula = /^(?:[\t\r\n]|[\s\p{Cc}\p{Cf}]*[=+\-@|%\uff1d\uff0b\uff0d\uff20])/u;

/** The pattern of version 0.1. */
const formulaBefore = /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/;

/** Tells whether a spreadsheet may take the text for a formula. */
export const isFormula = (text: string): boolean => formula.test(text);

/** Tells the same as version 0.1 did. */
export const wasFormula = (text: string): boolean => formulaBefore.test(text);

/** Tells whether an id goes as it is, though `-` in front makes a formula of other texts: it calls nothing. */
export const isPlainId = (text: string): boolean => /^[A-Za-z0-9_-]+$/.test(text);

/** The text with a `'` in front, which makes it inert. */
export const inert = (text: string): string => `'${text}`;

const escaped = ({ key }: Column, text: string, rule: (text: string) => boolean): string =>
  rule(text) && !(key && isPlainId(text)) ? inert(text) : text;

/** This version's way and that of 0.1, whose rule took fewer texts for formulas. */
const escapedSpellings = (column: Column, text: string): ReadonlyArray<string> =>
  isFormula(text) ? [escaped(column, text, isFormula), escaped(column, text, wasFormula)] : [text];

const isCertain = (written: string): boolean => !written.startsWith("'");

/** Text with a `'` before what a spreadsheet would run. */
export const escapedText: Text = {
  spellings: escapedSpellings,
  isCertain,
  // Text that began with such a `'` by itself loses it: of the two it is the rarer.
  original: (column, written) => {
    const bare = written.slice(1);
    return written.startsWith("'") && escapedSpellings(column, bare).includes(written) ? bare : written;
  },
};

/** Text of a file that may have been told to leave formulas as they are. */
export const eitherText: Text = {
  spellings: (column, text) => isFormula(text) ? [text, ...escapedSpellings(column, text)] : [text],
  isCertain,
};
