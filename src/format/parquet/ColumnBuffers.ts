/**
 * The values of columns, gathered until a row group is full. Those taken are of one group and lie where the next ones will: they
 * must not be looked at once the next is begun. What is held for a group would otherwise be new for each, and old by its end.
 */

/** Values in an array whose room is used again: the first so many are those of this group. */
export interface Values<A> {
  readonly all: Array<A>;
  count: number;
}

/** No value of a group yet. To append one is to write `values.all[values.count++]`, in a loop that knows one kind of value. */
export const none = <A>(): Values<A> => ({ all: [], count: 0 });

export const take = <A>(values: Values<A>): Array<A> => {
  values.all.length = values.count;
  values.count = 0;
  return values.all;
};

/** No text that is longer is taken for an id of the usual length. */
const LONGEST = 256;

/** No text of a group yet. Texts are in UTF-8, laid end to end. */
export const bytes = () => {
  let all = new Uint8Array(1 << 10);
  let at = 0;
  let last = 0;
  /** The end of each, and its length; -1 for null. */
  const ends = none<number>();
  const lengths = none<number>();
  // Ids are mostly of one length, so that those of a group lie where those of the group before lay: the same views show them.
  let views: Array<Uint8Array | undefined> = [];
  const taken = none<Uint8Array | null>();
  const ensureCapacity = (length: number): void => {
    if (at + length <= all.length) return;
    const larger = new Uint8Array(2 * (at + length));
    larger.set(all);
    all = larger;
    views = [];
  };
  return {
    push: (bytes: Uint8Array, from: number, to: number): void => {
      last = to - from;
      ensureCapacity(last);
      for (let i = from; i < to; i++) all[at++] = bytes[i]!;
      ends.all[ends.count++] = at;
      lengths.all[lengths.count++] = last;
    },
    pushNull: (): void => {
      // As much room as for the one before, so that those behind it lie where they would.
      const gap = last <= LONGEST ? last : 0;
      ensureCapacity(gap);
      at += gap;
      ends.all[ends.count++] = at;
      lengths.all[lengths.count++] = -1;
    },
    take: (): Array<Uint8Array | null> => {
      const { count } = ends;
      for (let i = 0; i < count; i++) {
        const length = lengths.all[i]!;
        const from = ends.all[i]! - length;
        let view = length < 0 ? null : views[i];
        if (view !== null && (view?.byteOffset !== from || view.length !== length)) {
          view = views[i] = all.subarray(from, from + length);
        }
        taken.all[taken.count++] = view;
      }
      at = ends.count = lengths.count = 0;
      return take(taken);
    },
  };
};

export const numbers = () => {
  let all = new Float64Array(1 << 7);
  let count = 0;
  const taken = none<number | null>();
  return {
    push: (number: number | null): void => {
      if (count === all.length) {
        const larger = new Float64Array(2 * count);
        larger.set(all);
        all = larger;
      }
      all[count++] = number ?? NaN;
    },
    take: (): Array<number | null> => {
      for (let i = 0; i < count; i++) taken.all[taken.count++] = Number.isNaN(all[i]) ? null : all[i]!;
      count = 0;
      return take(taken);
    },
  };
};
