/**
 * The values of columns, gathered until a row group is full.
 *
 * @module
 */

/** The values of one column of a row group in the making. */
export interface Values {
  readonly push: (value: unknown) => void;
  /** All of them, as the writer takes them. The next are those of another group; these must not be looked at by then. */
  readonly take: () => Array<unknown>;
}

/** Values of any kind. */
export const any = (): Values => {
  let values: Array<unknown> = [];
  return {
    push: (value) => values.push(value),
    take: () => {
      const taken = values;
      values = [];
      return taken;
    },
  };
};

/** Bytes laid end to end: as objects of their own, held until the group is full, they would keep the collector busy. */
export const bytes = (): Values => {
  let all = new Uint8Array(1 << 16);
  let ends: Array<number | null> = [];
  let at = 0;
  return {
    push: (value) => {
      if (value === null) return void ends.push(null);
      const its = value as Uint8Array;
      if (at + its.length > all.length) {
        const larger = new Uint8Array(2 * (at + its.length));
        larger.set(all);
        all = larger;
      }
      all.set(its, at);
      ends.push(at += its.length);
    },
    take: () => {
      let from = 0;
      const taken = ends.map((end) => end === null ? null : all.subarray(from, from = end));
      [ends, at] = [[], 0];
      return taken;
    },
  };
};

/** The same of numbers. */
export const numbers = (): Values => {
  let all = new Float64Array(1 << 10);
  let count = 0;
  return {
    push: (value) => {
      if (count === all.length) {
        const larger = new Float64Array(2 * count);
        larger.set(all);
        all = larger;
      }
      all[count++] = value === null ? NaN : value as number;
    },
    take: () => {
      const taken = Array.from(all.subarray(0, count), (number) => Number.isNaN(number) ? null : number);
      count = 0;
      return taken;
    },
  };
};
