/**
 * The sandbox's people and their sessions, generated. Session `i` of user `u` is computed from the seed, `u` and `i` alone,
 * so a population of any size holds nothing.
 */
import * as Check from "./Check.ts";
import { Draws, fraction, hash, hashText, hex, seedOf } from "./Hash.ts";
import * as Metadata from "./Metadata.ts";

/** One session as the sandbox serves it. */
export interface SandboxSession {
  /** Seconds since the epoch, as are the other two times. */
  readonly last_updated: number;
  readonly expires_at: number;
  readonly last_metadata?: Metadata.SandboxMetadata | null;
  /** 64 hexadecimal digits. A few sessions have none. */
  readonly session_key?: string | null;
  /** 32 hexadecimal digits, upper case. */
  readonly session_id: string;
  readonly initiated_at: number;
  readonly client_ids: readonly string[];
}

/** Options of the generated population. */
export interface PopulationOptions {
  /** Any safe integer: the same seed gives the same bytes. @default {1} */
  readonly seed?: number;
  /** The number of users. @default {100} */
  readonly users?: number;
  /**
   * Sessions of each user: exactly this many, or a mean around which users differ as they do in life: many have few, a few
   * have thousands. @default {{ mean: 20 }}
   */
  readonly sessionsPerUser?: number | { readonly mean: number };
  /**
   * Every `initiated_at` is rounded down to a multiple of this, which makes large groups of equals.
   * @default {1}
   */
  readonly tieSeconds?: number;
  /** Seconds since the epoch of the earliest sign-in. @default {90 days before `until`} */
  readonly from?: number;
  /** Seconds since the epoch of the latest sign-in and use. @default {1767225600, which is 2026-01-01T00:00:00Z} */
  readonly until?: number;
}

/** The fields of a session by which the list can be sorted. */
export type SessionKey = "session_id" | "initiated_at" | "expires_at" | "last_updated";

/** Generated users 0 to `users` - 1 with their sessions. Every method takes constant time and holds nothing. */
export type Population = ReturnType<typeof make>;

const day = 86_400;
const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/** Writes the lowest bits of a word, six to a character. */
const sixes = (word: number, characters: number): string => {
  let text = "";
  for (let at = 0; at < characters; at++) text += letters.charAt(word >>> at * 6 & 63);
  return text;
};

/** Reads one of the 32-bit words of a session id. */
const word = (id: string, at: number): number => Number.parseInt(id.slice(at * 8, at * 8 + 8), 16) | 0;

/** The spread of sessions per user, as the sigma of a log-normal: a median of 0.3 and a 99.9 % of 40 times the mean. */
const spread = 1.6;

/** Makes a population. Throws a RangeError for an option out of range. */
export const make = (options: PopulationOptions = {}) => {
  const seed = seedOf(Check.whole("seed", options.seed ?? 1, Number.MIN_SAFE_INTEGER));
  const users = Check.whole("users", options.users ?? 100, 0, 2 ** 32 - 1);
  const perUser = options.sessionsPerUser ?? { mean: 20 };
  if (typeof perUser === "number") Check.whole("sessionsPerUser", perUser, 0, 2 ** 31 - 1);
  else Check.atLeast("sessionsPerUser.mean", perUser.mean, 0);
  const tieSeconds = Check.whole("tieSeconds", options.tieSeconds ?? 1, 1);
  const until = Check.whole("until", options.until ?? 1_767_225_600, 0, 250_000_000_000);
  const from = Check.whole("from", options.from ?? Math.max(0, until - 90 * day), 0, until);

  const metadata = Metadata.make(seed);
  const names = new Draws(hash(seed, 1));
  const clientIds = Array.from({ length: 6 }, () => {
    return Array.from({ length: 21 }, () => letters.charAt(names.below(52))).join("");
  });

  /** Gives 21 characters of A-Z, a-z, 0-9, `-` and `_`. */
  const userId = (user: number): string => {
    const first = hash(seed, user, 11);
    const tail = sixes(first, 5) + sixes(hash(seed, user, 12), 5) + sixes(hash(seed, user, 13), 5);
    // The index goes in behind a mask that can be computed from the rest, and so be taken out again.
    const masked = user ^ hashText(seed, tail);
    return sixes(masked, 5) + letters.charAt((masked >>> 30) | (first >>> 26 & 60)) + tail;
  };

  /** Gives the inverse of `userId`; undefined for any text that is not the id of a user. */
  const userOf = (id: string): number | undefined => {
    if (id.length !== 21) return undefined;
    let masked = 0;
    for (let at = 0; at < 6; at++) masked |= letters.indexOf(id.charAt(at)) << at * 6;
    const user = (masked ^ hashText(seed, id.slice(6))) >>> 0;
    return user < users && userId(user) === id ? user : undefined;
  };

  const countOf = (user: number): number => {
    if (typeof perUser === "number") return perUser;
    if (perUser.mean === 0) return 0;
    const draws = new Draws(hash(seed, user, 2));
    const normal = Math.sqrt(-2 * Math.log(1 - draws.fraction())) * Math.cos(2 * Math.PI * draws.fraction());
    const count = draws.around(perUser.mean * Math.exp(spread * normal - spread * spread / 2));
    return Math.min(count, 2 ** 31 - 1);
  };

  // Pages ask for one user's sessions in a row.
  let counted = -1;
  let count = 0;
  const sessionCount = (user: number): number => {
    if (user !== counted) {
      count = countOf(user);
      counted = user;
    }
    return count;
  };

  const initiatedAt = (user: number, index: number): number => {
    // Each session has its own slot of the time, so that order by index is order by time without a sort. Now
    // and then two of them share one second, as when a page signs in twice.
    const twice = (index & 1) === 1 && (hash(seed, user, index, 31) & 31) === 0;
    const slot = twice ? index - 1 : index;
    const part = (slot + fraction(hash(seed, user, slot, 32))) / Math.max(1, sessionCount(user));
    const time = Math.min(from + Math.floor(part * (until - from)), until);
    return time - time % tieSeconds;
  };

  const lastUpdated = (user: number, index: number, initiated: number): number => {
    const draws = new Draws(hash(seed, user, index, 33));
    return draws.chance(0.4)
      ? initiated
      : initiated + Math.floor(draws.fraction() ** 2 * (until - initiated));
  };

  // Only active sessions are listed, so all of them end after the latest use of any.
  const expiresAt = (user: number, index: number): number =>
    until + 1 + Math.floor(fraction(hash(seed, user, index, 34)) * 30 * day);

  const sessionId = (user: number, index: number): string => {
    const first = hash(seed, user, index, 21);
    const third = hash(seed, user, index, 22);
    // As with users: the two coordinates go in behind masks made of the other words, so no two ids can be
    // equal.
    const second = user ^ hash(seed, first, third, 23);
    return hex(first) + hex(second) + hex(third) + hex(index ^ hash(seed, first, third, 24));
  };

  /** Gives the inverse of `sessionId`: an index, whether or not below `sessionCount`; undefined for any other text. */
  const indexOf = (user: number, id: string): number | undefined => {
    if (!/^[0-9A-F]{32}$/.test(id)) return undefined;
    const index = (word(id, 3) ^ hash(seed, word(id, 0), word(id, 2), 24)) >>> 0;
    return sessionId(user, index) === id ? index : undefined;
  };

  const sessionKey = (user: number, index: number): string => {
    const draws = new Draws(hash(seed, user, index, 35));
    let key = "";
    for (let word = 0; word < 8; word++) key += hex(draws.word());
    return key;
  };

  // Made once, so that rows share their arrays.
  const runs = [1, 2, 3].map((length) =>
    clientIds.map((_, at) => [...clientIds, ...clientIds].slice(at, at + length))
  );

  const clientIdsOf = (user: number, index: number): readonly string[] => {
    const draws = new Draws(hash(seed, user, index, 36));
    const skew = draws.fraction();
    const one = Math.floor(skew * skew * clientIds.length);
    return runs[draws.chance(0.85) ? 0 : draws.below(2) + 1]?.[one] as readonly string[];
  };

  return {
    /** The seed, brought to 32 bits. */
    seed,
    users,
    from,
    until,
    /** The clients people sign in to, the most used first. */
    clientIds,
    userId,
    userOf,
    sessionCount,
    clientIdsOf,
    indexOf,
    session(user: number, index: number): SandboxSession {
      const last_metadata = metadata(user, index);
      const keyless = fraction(hash(seed, user, index, 37));
      const initiated_at = initiatedAt(user, index);
      const last_updated = lastUpdated(user, index, initiated_at);
      const expires_at = expiresAt(user, index);
      const session_id = sessionId(user, index);
      const client_ids = clientIdsOf(user, index);
      const session_key = keyless < 0.01 ? null : sessionKey(user, index);
      // In the order of fields of MonoCloud's example.
      if (keyless < 0.97 && last_metadata !== undefined) {
        return { last_updated, expires_at, last_metadata, session_key, session_id, initiated_at, client_ids };
      }
      return {
        last_updated,
        expires_at,
        ...(last_metadata === undefined ? {} : { last_metadata }),
        ...(keyless < 0.97 ? { session_key } : {}),
        session_id,
        initiated_at,
        client_ids,
      };
    },
    /** Gives one field of `session(user, index)`, without the cost of the others. */
    value(user: number, index: number, key: SessionKey): string | number {
      if (key === "session_id") return sessionId(user, index);
      if (key === "initiated_at") return initiatedAt(user, index);
      return key === "expires_at"
        ? expiresAt(user, index)
        : lastUpdated(user, index, initiatedAt(user, index));
    },
  };
};
