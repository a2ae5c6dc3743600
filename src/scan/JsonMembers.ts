/**
 * The places of the parts of a JSON text, so that a row can be passed on exactly as it was served: digits of large numbers,
 * escapes and key order included, none of which survive `JSON.parse`.
 *
 * The functions take text that `JSON.parse` has accepted, and rely on it: of other text they make parts that mean nothing,
 * or throw a `SyntaxError`.
 */

import {
  BACKSLASH,
  CLOSE_BRACE,
  CLOSE_BRACKET,
  COMMA,
  OPEN_BRACE,
  OPEN_BRACKET,
  QUOTE,
} from "./JsonTokens.ts";

const unfinished = () => new SyntaxError("JSON text ends before its value does");

/** Gives the index just after the string that opens at `start`. */
export const skipString = (text: string, start: number): number => {
  for (let end = text.indexOf('"', start + 1); end !== -1; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return end + 1;
  }
  throw unfinished();
};

/** Gives the index of the `,`, `]` or `}` that ends the value beginning at `start`. */
const skipValue = (text: string, start: number): number => {
  let depth = 0;
  for (let at = start; at < text.length;) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = skipString(text, at);
      continue;
    }
    if (code === OPEN_BRACE || code === OPEN_BRACKET) depth++;
    else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) {
      if (depth === 0) return at;
      depth--;
    } else if (code === COMMA && depth === 0) return at;
    at++;
  }
  throw unfinished();
};

/**
 * Gives the members of a JSON object: each name, decoded, with the text of its value. A name that is there twice counts
 * once, with its last value, as `JSON.parse` has it.
 */
export const members = (text: string): Array<readonly [name: string, value: string]> => {
  const found = new Map<string, string>();
  for (let at = text.indexOf("{") + 1;;) {
    const open = text.indexOf('"', at);
    if (open === -1) break;
    const close = skipString(text, open);
    const colon = text.indexOf(":", close);
    if (colon === -1) throw unfinished();
    const end = skipValue(text, colon + 1);
    found.set(JSON.parse(text.slice(open, close)), text.slice(colon + 1, end).trim());
    if (text.charCodeAt(end) === CLOSE_BRACE) break;
    at = end + 1;
  }
  return [...found];
};

/** Gives the same JSON on one line: outside strings a line break is only white space, inside them JSON has none. */
export const onOneLine = (text: string): string =>
  text.includes("\n") || text.includes("\r") ? text.replace(/[\r\n][ \t\r\n]*/g, " ") : text;
