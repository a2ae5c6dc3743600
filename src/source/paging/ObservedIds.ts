/** The ids that a walk has met, each as a 53-bit hash, with the first and the last answer that held it. */

/** Joins the two 32-bit lanes of a hash to an integer that a number holds exactly. */
const join = (one: number, other: number, length: number): number => {
  let a = one ^ length;
  let b = other;
  a = Math.imul(a ^ a >>> 16, 0x85ebca6b) ^ Math.imul(b ^ b >>> 13, 0xc2b2ae35);
  b = Math.imul(b ^ b >>> 16, 0x27d4eb2f) ^ Math.imul(a ^ a >>> 13, 0x165667b1);
  return (a >>> 0) * 0x200000 + (b >>> 11);
};

/** Hash UTF-8 bytes, four at a time. Two of a million ids share their hash once in some 18,000 such lists. */
export const hashBytes = (bytes: Uint8Array, from: number, to: number): number => {
  let one = 0x811c9dc5;
  let other = 0x9e3779b9;
  let at = from;
  for (; at + 4 <= to; at += 4) {
    const word = bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 | bytes[at + 3]! << 24;
    one = Math.imul(one ^ word, 0x01000193) ^ one >>> 15;
    other = Math.imul(other + word, 0x2c1b3c6d) ^ other >>> 13;
  }
  for (; at < to; at++) {
    one = Math.imul(one ^ bytes[at]!, 0x01000193) ^ one >>> 15;
    other = Math.imul(other + bytes[at]!, 0x2c1b3c6d) ^ other >>> 13;
  }
  return join(one, other, to - from);
};

const utf8 = new TextEncoder();

/** Hash a text as {@link hashBytes} hashes its UTF-8. */
export const hashText = (text: string): number => {
  const bytes = utf8.encode(text);
  return hashBytes(bytes, 0, bytes.length);
};

/** More ids are not remembered, of lists in orders that hold: 25 MB. */
export const MOST_OBSERVED = 2 ** 20;

/** A table of ids in the order they were first met. Memory: 24 to 48 bytes an id, and some more while more are expected. */
export class ObservedIds {
  #hashes = new Float64Array(64);
  #first = new Int32Array(64);
  #last = new Int32Array(64);
  /** Indices of entries plus one, in the first free place from the one that a hash says; 0 is free. */
  #slots = new Int32Array(128);
  #size = 0;
  #expected = 0;
  /** The number of rows that the tenant counted, by answer, of those that were asked for one by one. */
  readonly totals: Array<number | undefined> = [];

  /** The number of ids. */
  get size(): number {
    return this.#size;
  }

  #placeOf(hash: number): number {
    const mask = this.#slots.length - 1;
    let place = (hash ^ hash / 0x200000) & mask;
    for (let entry = this.#slots[place]!; entry !== 0; entry = this.#slots[place]!) {
      if (this.#hashes[entry - 1] === hash) return place;
      place = (place + 1) & mask;
    }
    return place;
  }

  /** Note that an answer held the id. Gives the last answer that held it before, -1 where none did. */
  meet(hash: number, answer: number): number {
    const place = this.#placeOf(hash);
    const entry = this.#slots[place]! - 1;
    if (entry >= 0) {
      const before = this.#last[entry]!;
      this.#last[entry] = answer;
      return before;
    }
    if (this.#size === this.#hashes.length) {
      this.#grow();
      return this.meet(hash, answer);
    }
    this.#hashes[this.#size] = hash;
    this.#first[this.#size] = this.#last[this.#size] = answer;
    this.#slots[place] = ++this.#size;
    return -1;
  }

  /** Tell whether the id is there. */
  has(hash: number): boolean {
    return this.#slots[this.#placeOf(hash)] !== 0;
  }

  /**
   * Note how many ids a tenant tells of: memory is asked for in fewer steps then. It may tell of any number, so a step is for at
   * most 16 times the ids that are there, and for no more than are remembered.
   */
  expect(count: number | undefined): void {
    this.#expected = Math.min(count ?? this.#expected, MOST_OBSERVED);
  }

  #grow(): void {
    const copied = <A extends Float64Array | Int32Array>(to: A, from: A): A => (to.set(from), to);
    const wanted = Math.min(this.#expected, 16 * this.#size);
    let length = 2 * this.#size;
    while (length < wanted) length *= 2;
    this.#hashes = copied(new Float64Array(length), this.#hashes);
    this.#first = copied(new Int32Array(length), this.#first);
    this.#last = copied(new Int32Array(length), this.#last);
    this.#slots = new Int32Array(2 * length);
    for (let entry = 0; entry < this.#size; entry++) {
      this.#slots[this.#placeOf(this.#hashes[entry]!)] = entry + 1;
    }
  }

  /** The hashes of the first so many ids: of those that were last met before an answer, and of those met since. */
  hashes(count: number, answer: number): { readonly before: Array<number>; readonly since: Array<number> } {
    const [before, since] = [new Array<number>(), new Array<number>()];
    for (let entry = 0; entry < count; entry++) {
      (this.#last[entry]! < answer ? before : since).push(this.#hashes[entry]!);
    }
    return { before, since };
  }

  /**
   * Tell whether the list was, at some moment, exactly the ids met both before and after it: as many as the tenant counted
   * then, and in another answer. That takes for granted that no id leaves the list and comes back in between.
   */
  isProven(): boolean {
    const changes = new Int32Array(this.totals.length + 1);
    for (let entry = 0; entry < this.#size; entry++) {
      changes[this.#first[entry]!]!++;
      changes[this.#last[entry]! + 1]!--;
    }
    const times = new Map<number, number>();
    for (const total of this.totals) {
      if (total !== undefined) times.set(total, (times.get(total) ?? 0) + 1);
    }
    let count = 0;
    for (let answer = 0; answer < this.totals.length; answer++) {
      count += changes[answer]!;
      const total = this.totals[answer];
      if (count === total && times.get(total)! > 1 && (total > 0 || this.#size === 0)) return true;
    }
    return false;
  }
}
