/**
 * The tokens of JSON in its bytes: where each ends, if it is one. What is taken here, `JSON.parse` takes.
 *
 * @module
 */

export const QUOTE = 0x22,
  COMMA = 0x2c,
  OPEN_BRACKET = 0x5b,
  BACKSLASH = 0x5c,
  CLOSE_BRACKET = 0x5d,
  OPEN_BRACE = 0x7b,
  CLOSE_BRACE = 0x7d;
export const TAB = 0x09, LF = 0x0a, CR = 0x0d, SPACE = 0x20, COLON = 0x3a, ZERO = 0x30, NINE = 0x39;
export const MINUS = 0x2d, POINT = 0x2e;
const PLUS = 0x2b;

/** The meaning of a byte within a string: 0 nothing, 1 its end, 2 an escape, 3 an error, 4 the beginning of several. */
const inString = Uint8Array.from(
  { length: 256 },
  (_, byte) => byte === QUOTE ? 1 : byte === BACKSLASH ? 2 : byte < 0x20 ? 3 : byte < 0x80 ? 0 : 4,
);

const isHex = (byte: number | undefined): boolean =>
  byte !== undefined && (byte >= ZERO && byte <= NINE || (byte | 0x20) >= 0x61 && (byte | 0x20) <= 0x66);

/** Gives the place past the escape whose backslash is at `at`; -1 if it is none. */
const escape = (bytes: Uint8Array, at: number): number => {
  switch (bytes[at + 1]) {
    case QUOTE:
    case BACKSLASH:
    case 0x2f:
    case 0x62:
    case 0x66:
    case 0x6e:
    case 0x72:
    case 0x74:
      return at + 2;
    case 0x75:
      for (let i = at + 2; i < at + 6; i++) if (!isHex(bytes[i])) return -1;
      return at + 6;
    default:
      return -1;
  }
};

/** Gives the place past the character of several bytes at `at`; -1 if it is none by UTF-8. */
const character = (bytes: Uint8Array, at: number): number => {
  const [lead = 0, second = 0] = [bytes[at], bytes[at + 1]];
  const length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length === 0) return -1;
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < least || second > most) return -1;
  for (let i = at + 2; i < at + length; i++) if (((bytes[i] ?? 0) & 0xc0) !== 0x80) return -1;
  return at + length;
};

/**
 * Gives the end of the string that begins at `at`, past its first quote: where its last quote is, or the complement of that
 * if its text is not simply its bytes, each a character. -1 if it is no string.
 */
export const string = (bytes: Uint8Array, words: DataView, from: number): number => {
  let isPlain = true;
  const last = bytes.length - 4;
  for (let at = from; at < bytes.length;) {
    // Four bytes at once, as long as none of them means anything.
    for (; at <= last; at += 4) {
      const four = words.getInt32(at, true);
      const quote = four ^ 0x22222222;
      const backslash = four ^ 0x5c5c5c5c;
      const found = (four - 0x20202020 | quote - 0x01010101 | backslash - 0x01010101 | four) & 0x80808080;
      if (found === 0) continue;
      at += 31 - Math.clz32(found & -found) >> 3;
      break;
    }
    const means = inString[bytes[at]!];
    if (means === 0) at++;
    else if (means === 1) return isPlain ? at : ~at;
    else {
      isPlain = false;
      at = means === 2 ? escape(bytes, at) : means === 4 ? character(bytes, at) : -1;
      if (at === -1) return -1;
    }
  }
  return -1;
};

const digits = (bytes: Uint8Array, from: number): number => {
  let at = from;
  for (let byte = bytes[at]!; byte >= ZERO && byte <= NINE; byte = bytes[++at]!);
  return at;
};

/** Gives the end of the number that begins at `from`; -1 if it is none. */
export const number = (bytes: Uint8Array, from: number): number => {
  const first = bytes[from] === MINUS ? from + 1 : from;
  let at = bytes[first] === ZERO ? first + 1 : digits(bytes, first);
  if (at === first) return -1;
  if (bytes[at] === POINT) {
    const end = digits(bytes, at + 1);
    if (end === at + 1) return -1;
    at = end;
  }
  if ((bytes[at]! | 0x20) === 0x65) {
    const exponent = bytes[at + 1] === PLUS || bytes[at + 1] === MINUS ? at + 2 : at + 1;
    at = digits(bytes, exponent);
    if (at === exponent) return -1;
  }
  return at;
};

const [NULL, TRUE, FALSE] = ["null", "true", "false"].map((word) => new TextEncoder().encode(word));

/** Gives the end of the `null`, `true` or `false` that begins at `from`; -1 if it is none. */
export const word = (bytes: Uint8Array, from: number): number => {
  const byte = bytes[from];
  const word = byte === 0x6e ? NULL : byte === 0x74 ? TRUE : byte === 0x66 ? FALSE : undefined;
  if (word === undefined) return -1;
  for (let i = 1; i < word.length; i++) if (bytes[from + i] !== word[i]) return -1;
  return from + word.length;
};
