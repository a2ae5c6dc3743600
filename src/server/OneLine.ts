/**
 * Texts on one line.
 *
 * @module
 */

/** Characters that end a line, that a terminal obeys, or that have no shape. */
const unprintable = /[\s\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu;

/** Puts a text on one line, without what a terminal would obey. */
export const oneLine = (text: string): string => text.replace(unprintable, " ").trim();
