/** Tells whether keys may have come twice. It never says that none has where one has. */

/** The most hashes that are kept: some 40 MB. */
const MOST = 1_000_000;

export interface Repeats {
  readonly add: (userId: string, sessionId: string) => void;
  readonly mayBe: () => boolean;
  readonly clear: () => void;
}

/** Hash a text, from the hash of what is before it. Two keys that share a hash cost a statement, and nothing else. */
const hash = (text: string, before: number): number => {
  let [one, other] = [before | 0, (before / 0x100000000) | 0];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    one = Math.imul(one ^ code, 0x01000193);
    other = Math.imul(other + code, 0x2c1b3c6d) ^ other >>> 13;
  }
  return (one >>> 0) * 0x200000 + (other >>> 11);
};

export const make = (): Repeats => {
  const hashes = new Set<number>();
  let mayBe = false;
  let [lastUser, ofUser] = ["", 0];
  return {
    add: (userId, sessionId) => {
      if (mayBe) return;
      if (userId !== lastUser) [lastUser, ofUser] = [userId, hash(userId, 1)];
      const before = hashes.size;
      hashes.add(hash(sessionId, ofUser));
      mayBe = hashes.size === before || hashes.size === MOST;
      if (mayBe) hashes.clear();
    },
    mayBe: () => mayBe,
    clear: () => {
      hashes.clear();
      mayBe = false;
    },
  };
};
