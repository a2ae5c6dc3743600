/**
 * The values of columns, gathered until a row group is full. Those taken are of one group: they must not be looked at once
 * the next is begun.
 *
 * @module
 */

/** Texts in UTF-8, laid end to end: as objects of their own, held until the group is full, they would keep the collector busy. */
export interface Bytes {
  readonly push: (bytes: Uint8Array, from: number, to: number) => void;
  readonly pushNull: () => void;
  readonly take: () => Array<Uint8Array | null>;
}

/** No text of a group yet. */
export const bytes = (): Bytes => {
  let all = new Uint8Array(1 << 16);
  let at = 0;
  /** Where each ends; -1 for null. */
  let ends: Array<number> = [];
  // Ids are mostly of one length, so that those of a group lie where those of the group before lay: the same views show them.
  const views: Array<Uint8Array | null> = [];
  let endsViewed: Array<number> = [];
  return {
    push: (bytes, from, to) => {
      if (at + to - from > all.length) {
        const larger = new Uint8Array(2 * (at + to - from));
        larger.set(all);
        all = larger;
        endsViewed = [];
      }
      for (let i = from; i < to; i++) all[at++] = bytes[i]!;
      ends.push(at);
    },
    pushNull: () => void ends.push(-1),
    take: () => {
      let [from, fromViewed] = [0, 0];
      views.length = ends.length;
      for (let i = 0; i < ends.length; i++) {
        const end = ends[i]!;
        const endViewed = endsViewed[i] ?? -1;
        if (end < 0) views[i] = null;
        else {
          if (end !== endViewed || from !== fromViewed) views[i] = all.subarray(from, end);
          from = end;
        }
        if (endViewed >= 0) fromViewed = endViewed;
      }
      [endsViewed, ends, at] = [ends, [], 0];
      return views;
    },
  };
};

/** Numbers, likewise. */
export interface Numbers {
  readonly push: (number: number | null) => void;
  readonly take: () => Array<number | null>;
}

/** No number of a group yet. */
export const numbers = (): Numbers => {
  let all = new Float64Array(1 << 10);
  let count = 0;
  return {
    push: (number) => {
      if (count === all.length) {
        const larger = new Float64Array(2 * count);
        larger.set(all);
        all = larger;
      }
      all[count++] = number ?? NaN;
    },
    take: () => {
      const taken: Array<number | null> = [];
      for (let i = 0; i < count; i++) taken.push(Number.isNaN(all[i]) ? null : all[i]!);
      count = 0;
      return taken;
    },
  };
};
