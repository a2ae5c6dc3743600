/**
 * What someone may have meant who misspelt a word.
 *
 * @module
 */

/** How many letters have to be put in, taken out or replaced to make one word the other. */
export const distance = (one: string, other: string): number => {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      const replaced = row[j - 1]! + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[other.length]!;
};

/** Give the word that is nearest, if one is near: a third of its letters may be wrong, or its end may be missing. */
export const nearest = (misspelt: string, words: ReadonlyArray<string>): string | undefined => {
  const word = misspelt.toLowerCase().slice(0, 40);
  const far = (other: string) =>
    word.length > 2 && other.startsWith(word)
      ? 0
      : distance(word, other) / Math.max(word.length, other.length);
  const [best] = [...words].sort((one, other) => far(one) - far(other));
  return best !== undefined && far(best) <= 0.4 ? best : undefined;
};
