/**
 * Sets and maps of more keys than memory could hold as text: 64 bits are kept of each. Of a million keys, two share theirs
 * once in some 37 million times.
 */
import { digest } from "./DigestList.ts";

type Key = ReadonlyArray<string>;

export type DigestSet = ReturnType<typeof set>;

/** Makes an empty table. Without values, what is put there as one goes nowhere. */
const make = (hasValues: boolean) => {
  // Pairs of 32 bits, in the first free place from the one that their bits say; two zeros are a free place.
  let keys = new Uint32Array(2048);
  let values = new Float64Array(hasValues ? 1024 : 0);
  let size = 0;
  const wanted = new Uint32Array(2);

  const isFree = (place: number) => keys[2 * place] === 0 && keys[2 * place + 1] === 0;
  const placeOf = (one: number, other: number): number => {
    const mask = keys.length / 2 - 1;
    let place = (one ^ other) & mask;
    while (!isFree(place) && (keys[2 * place] !== one || keys[2 * place + 1] !== other)) {
      place = (place + 1) & mask;
    }
    return place;
  };
  const find = (key: Key): number => {
    digest(key, wanted, 0);
    if (wanted[0] === 0 && wanted[1] === 0) wanted[1] = 1;
    return placeOf(wanted[0]!, wanted[1]!);
  };
  const put = (place: number, one: number, other: number, value: number) => {
    keys[2 * place] = one;
    keys[2 * place + 1] = other;
    values[place] = value;
  };
  const grow = () => {
    const [oldKeys, oldValues] = [keys, values];
    keys = new Uint32Array(2 * oldKeys.length);
    values = new Float64Array(2 * oldValues.length);
    for (let place = 0; 2 * place < oldKeys.length; place++) {
      const [one, other] = [oldKeys[2 * place]!, oldKeys[2 * place + 1]!];
      if (one !== 0 || other !== 0) put(placeOf(one, other), one, other, oldValues[place] ?? 0);
    }
  };

  return {
    has: (key: Key): boolean => !isFree(find(key)),
    get: (key: Key): number | undefined => {
      const place = find(key);
      return isFree(place) ? undefined : values[place];
    },
    put: (key: Key, value: number): boolean => {
      const place = find(key);
      const isNew = isFree(place);
      put(place, wanted[0]!, wanted[1]!, value);
      if (isNew && ++size * 3 > keys.length) grow();
      return isNew;
    },
  };
};

/** Makes an empty set. Memory: 12 to 24 bytes a key, and half as much more for a moment while it grows. */
export const set = () => {
  const { has, put } = make(false);
  /** Adds a key; gives true if it was not there yet. */
  const add = (key: Key): boolean => put(key, 0);
  return { has, add };
};

/** Makes an empty map. Memory: 24 to 48 bytes a key, and half as much more for a moment while it grows. */
export const map = () => {
  const { get, put } = make(true);
  return { get, set: put };
};
