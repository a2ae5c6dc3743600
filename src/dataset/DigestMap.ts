/**
 * A map from more keys than memory could hold as text to a number each: 64 bits are kept of a key.
 *
 * @module
 */
import { digest } from "./DigestList.ts";

/** Numbers by key. Of a million keys, two share their 64 bits once in some 37 million times. */
export interface DigestMap {
  /** Undefined if it is not there. */
  readonly get: (key: ReadonlyArray<string>) => number | undefined;
  readonly set: (key: ReadonlyArray<string>, value: number) => void;
}

/** Makes an empty map. Memory: 24 to 48 bytes a key, and half as much more for a moment while it grows. */
export const make = (): DigestMap => {
  // Pairs of 32 bits, in the first free place from the one that their bits say; two zeros are a free place.
  let keys = new Uint32Array(2048);
  let values = new Float64Array(1024);
  let size = 0;
  const wanted = new Uint32Array(2);

  const isFree = (place: number) => keys[2 * place] === 0 && keys[2 * place + 1] === 0;
  const placeOf = (one: number, other: number): number => {
    let place = (one ^ other) & (values.length - 1);
    while (!isFree(place) && (keys[2 * place] !== one || keys[2 * place + 1] !== other)) {
      place = (place + 1) & (values.length - 1);
    }
    return place;
  };
  const find = (key: ReadonlyArray<string>): number => {
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
    for (let place = 0; place < oldValues.length; place++) {
      const [one, other] = [oldKeys[2 * place]!, oldKeys[2 * place + 1]!];
      if (one !== 0 || other !== 0) put(placeOf(one, other), one, other, oldValues[place]!);
    }
  };

  return {
    get: (key) => {
      const place = find(key);
      return isFree(place) ? undefined : values[place];
    },
    set: (key, value) => {
      const place = find(key);
      const isNew = isFree(place);
      put(place, wanted[0]!, wanted[1]!, value);
      if (isNew && ++size * 3 > 2 * values.length) grow();
    },
  };
};
