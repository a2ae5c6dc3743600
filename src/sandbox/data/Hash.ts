/**
 * Seeded hashing on 32-bit integers: what makes every generated value a function of its coordinates alone, so that nothing
 * has to be held or replayed. Not for secrets.
 */

/** Scatters the bits of a 32-bit integer; one-to-one. */
export const mix = (value: number): number => {
  let x = value | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
};

/** Gives a signed 32-bit hash of up to four integers. */
export const hash = (a: number, b: number, c = 0, d = 0): number =>
  mix(mix(mix(mix(a + 0x9e3779b9) ^ b) + 0x85ebca6b ^ c) + 0xc2b2ae35 ^ d);

/** Gives a signed 32-bit hash of a text. */
export const hashText = (seed: number, text: string): number => {
  let h = mix(seed ^ text.length);
  for (let index = 0; index < text.length; index++) {
    h = Math.imul(h ^ text.charCodeAt(index), 0x01000193) ^ (h >>> 15);
  }
  return mix(h);
};

/** Brings a seed of any safe integer to 32 bits. */
export const seedOf = (seed: number): number => hash(seed, Math.floor(seed / 2 ** 32));

/** Gives a 32-bit hash as a fraction: 0 up to, not including, 1. */
export const fraction = (word: number): number => (word >>> 0) / 2 ** 32;

/** A sequence of draws that starts from one hash. Holds two integers. */
export class Draws {
  #word: number;

  constructor(word: number) {
    this.#word = word;
  }

  /** The next 32 bits. */
  word(): number {
    this.#word = (this.#word + 0x6d2b79f5) | 0;
    return mix(this.#word);
  }

  /** 0 up to, not including, 1. */
  fraction(): number {
    return fraction(this.word());
  }

  /** A whole number from 0 up to, not including, `limit`. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** One of the list, which must not be empty. */
  pick<A>(list: readonly A[]): A {
    return list[this.below(list.length)] as A;
  }

  /** A whole number whose expected value is `expected`. */
  around(expected: number): number {
    return Math.floor(expected + this.fraction());
  }
}

/** Gives the numbers 0 to `length` - 1 in a drawn order. */
export const shuffled = (length: number, draws: Draws): Uint32Array => {
  const order = Uint32Array.from({ length }, (_, index) => index);
  for (let last = length - 1; last > 0; last--) {
    const other = draws.below(last + 1);
    const kept = order[last] as number;
    order[last] = order[other] as number;
    order[other] = kept;
  }
  return order;
};

let quads: readonly string[] | undefined;

/** Writes a 32-bit integer as 8 upper-case hexadecimal digits. */
export const hex = (word: number): string => {
  // 16 bits at a time: a table of 65,536 short strings, built once, is what makes three ids a row affordable.
  quads ??= Array.from({ length: 0x10000 }, (_, n) => n.toString(16).toUpperCase().padStart(4, "0"));
  return (quads[word >>> 16] as string) + (quads[word & 0xffff] as string);
};
