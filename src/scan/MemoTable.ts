/** Functions that remember: in what a user's sessions say, most texts come again and again. */

/** Texts longer than this are not remembered, so that what is held stays small. */
const LONGEST = 256;

/**
 * Makes the same function, which remembers up to `most` results and then begins anew. It must give the same for the same key
 * whenever it is called.
 */
export const of = <Key extends string | number, A>(most: number, work: (key: Key) => A): (key: Key) => A => {
  const known = new Map<Key, A>();
  return (key) => {
    let result = known.get(key);
    if (result === undefined) {
      result = work(key);
      if (typeof key === "string" && key.length > LONGEST) return result;
      if (known.size === most) known.clear();
      known.set(key, result);
    }
    return result;
  };
};
