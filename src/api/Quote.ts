/**
 * The words of others, made fit to be shown: without the key, without characters that a terminal obeys, and not too long.
 */

/** The length of a text that is quoted, and that is looked at. */
const [QUOTED, LOOKED_AT] = [500, 4000];

/** As much of a key as gives away a part of it. A shorter key is looked for as a whole. */
const TELLING = 12;

/** The length from which on a key is looked for in disguise: a shorter one is in many a text by chance. */
const SHORTEST_DISGUISED = 5;

const asChar = (_: string, hex: string): string => String.fromCharCode(parseInt(hex, 16));

/** Decoders of one way of writing a text each. Each gives the text itself if it is not written that way. */
const undo: ReadonlyArray<(text: string) => string> = [
  (text) => text.replace(/%([0-9a-f]{2})/gi, asChar),
  (text) =>
    text.replace(/\\u00([0-9a-f]{2})|\\x([0-9a-f]{2})/gi, (_, a, b) => asChar(_, a ?? b)).replace(
      /\\(["'\\/])/g,
      "$1",
    ),
  (text) =>
    text.replace(
      /&#(?:x([0-9a-f]{1,4})|(\d{1,5}));/gi,
      (_, hex, dec) => String.fromCharCode(hex ? parseInt(hex, 16) : Number(dec)),
    ),
];

const asBytes = (codes: ReadonlyArray<number>): string => String.fromCharCode(...codes);

/** Decode runs of hexadecimal digits, from each of both places a byte may begin. */
const fromHex = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/(?:[0-9a-f]{2}[\s:,-]?){8,}[0-9a-f]?/gi)].flatMap(([run]) => {
    const digits = run.replace(/[^0-9a-f]/gi, "");
    return [0, 1].map((from) =>
      asBytes(
        Array.from({ length: (digits.length - from) >> 1 }, (_, n) =>
          parseInt(digits.slice(from + 2 * n, from + 2 * n + 2), 16)),
      )
    );
  });

/** Decode runs of base64, in either alphabet, from each of the four places that three bytes may begin. */
const fromBase64 = (text: string): ReadonlyArray<string> =>
  [...text.matchAll(/[A-Za-z0-9+/_-]{12,}/g)].flatMap(([run]) => {
    const digits = run.replaceAll("-", "+").replaceAll("_", "/");
    // Filled up to whole groups of four.
    return [0, 1, 2, 3].map((from) =>
      atob(`${digits.slice(from)}AAA`.slice(0, digits.length - from + 3 & ~3))
    );
  });

/** Gives all that a text says once it is read in up to so many ways, one after the other. */
const readings = (text: string, times: number): ReadonlyArray<string> => {
  if (times === 0) return [text];
  const undone = undo.map((one) => one(text)).filter((reading) => reading !== text);
  const more = [...undone, ...fromHex(text), ...fromBase64(text)];
  return [text, ...more.flatMap((reading) => readings(reading, times - 1))];
};

/** Gives every piece of a key that gives it away, in lower case. */
const piecesOf = (key: string): ReadonlySet<string> => {
  const hidden = key.toLowerCase();
  const length = Math.min(TELLING, hidden.length);
  return new Set(
    Array.from({ length: hidden.length - length + 1 }, (_, at) => hidden.slice(at, at + length)),
  );
};

/**
 * Makes the words of others fit to be shown. A tenant, a proxy or a client may quote what it was sent: a piece of 12
 * characters or more of the key is taken out. Where one is there in base64, in hexadecimal or in escapes of URLs, JSON or
 * HTML, nothing is left. Control characters become spaces, characters without a shape go, and long texts end early.
 */
export const quoteWithout = (key: string): (text: string) => string => {
  const pieces = piecesOf(key);
  const length = Math.min(TELLING, key.length);
  const tells = (text: string): boolean => {
    const low = text.toLowerCase();
    for (let at = 0; at + length <= low.length; at++) if (pieces.has(low.slice(at, at + length))) return true;
    return false;
  };
  /** The text without the pieces of the key that it holds. */
  const without = (text: string): string => {
    const low = text.toLowerCase();
    // In some languages a text has another length in lower case: then nothing tells where its pieces are.
    if (low.length !== text.length) return tells(text) ? "<redacted>" : text;
    let shown = "";
    let shownTo = 0;
    for (let at = 0; at + length <= low.length; at++) {
      if (!pieces.has(low.slice(at, at + length))) continue;
      let end = at + length;
      while (end < low.length && pieces.has(low.slice(end + 1 - length, end + 1))) end++;
      shown += `${text.slice(shownTo, at)}<redacted>`;
      shownTo = end;
      at = end - 1;
    }
    return shown + text.slice(shownTo);
  };
  return (text) => {
    // What has no shape could part a key, and keep it from being found.
    const visible = text.slice(0, LOOKED_AT).replace(/[\p{Cf}\p{DI}]+/gu, "");
    const known = without(visible);
    const packed = visible.replace(/[\p{Cc}\s]+/gu, "");
    const isDisguised = () =>
      readings(known, 3).some(tells) || (packed !== visible && readings(without(packed), 1).some(tells));
    if (length >= SHORTEST_DISGUISED && isDisguised()) return "<redacted>";
    const shown = known.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ");
    return shown.length <= QUOTED ? shown : `${shown.slice(0, QUOTED).toWellFormed()}…`;
  };
};
