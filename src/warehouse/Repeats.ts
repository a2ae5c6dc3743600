/** Tells whether keys may have come twice. It never says that none has where one has. */
import { hashText } from "../source/paging/ObservedIds.ts";

/** The most hashes that are kept: some 40 MB. */
const MOST = 1_000_000;

export interface Repeats {
  readonly add: (userId: string, sessionId: string) => void;
  readonly mayBe: () => boolean;
  readonly clear: () => void;
}

export const make = (): Repeats => {
  const hashes = new Set<number>();
  let mayBe = false;
  let [lastUser, ofUser] = ["", 0];
  return {
    add: (userId, sessionId) => {
      if (mayBe) return;
      if (userId !== lastUser) [lastUser, ofUser] = [userId, hashText(userId)];
      const before = hashes.size;
      hashes.add((hashText(sessionId) + ofUser) % Number.MAX_SAFE_INTEGER);
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
