/**
 * Where the parts of a JSON text begin and end, so that a row can be passed on exactly as it was served: digits of large
 * numbers, escapes and key order included, none of which survive `JSON.parse`.
 *
 * Both functions take text that `JSON.parse` has accepted, and rely on it.
 *
 * @module
 */

const QUOTE = 0x22, COMMA = 0x2c, COLON = 0x3a, OPEN = 0x5b, BACKSLASH = 0x5c, CLOSE = 0x5d, BEGIN = 0x7b, END = 0x7d;

/** The index just after the string that opens at `start`. */
const skipString = (text: string, start: number): number => {
  for (let end = text.indexOf('"', start + 1);; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text.charCodeAt(end - 1 - backslashes) === BACKSLASH) backslashes++;
    if (backslashes % 2 === 0) return end + 1;
  }
};

/** The index of the `,`, `]` or `}` that ends the value beginning at `start`. */
const skipValue = (text: string, start: number): number => {
  let depth = 0;
  for (let at = start;;) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = skipString(text, at);
      continue;
    }
    if (code === BEGIN || code === OPEN) depth++;
    else if (code === END || code === CLOSE) {
      if (depth === 0) return at;
      depth--;
    } else if (code === COMMA && depth === 0) return at;
    at++;
  }
};

/** The text of each element of a JSON array, without the white space around it. */
export const elements = (text: string): Array<string> => {
  const found: Array<string> = [];
  for (let at = text.indexOf("[") + 1;;) {
    const end = skipValue(text, at);
    const element = text.slice(at, end).trim();
    if (element !== "") found.push(element);
    if (text.charCodeAt(end) === CLOSE) return found;
    at = end + 1;
  }
};

/** The members of a JSON object: each name, decoded, with the text of its value. */
export const members = (text: string): Array<readonly [name: string, value: string]> => {
  const found: Array<readonly [string, string]> = [];
  for (let at = text.indexOf("{") + 1;;) {
    const open = text.indexOf('"', at);
    if (open === -1) return found;
    const close = skipString(text, open);
    let value = close;
    while (text.charCodeAt(value) !== COLON) value++;
    const end = skipValue(text, value + 1);
    found.push([JSON.parse(text.slice(open, close)), text.slice(value + 1, end).trim()]);
    if (text.charCodeAt(end) === END) return found;
    at = end + 1;
  }
};

/** The same JSON on one line: outside strings a line break is only white space, inside them JSON has none. */
export const onOneLine = (text: string): string =>
  text.includes("\n") || text.includes("\r") ? text.replace(/\s*[\r\n]\s*/g, " ") : text;
