/**
 * The sessions that are active now: the generated ones, less those removed, plus those added. A user whose sessions never
 * changed costs nothing; one whose sessions did costs a number for each.
 */
import type { Ranked } from "./Pages.ts";
import type { Population, SandboxSession, SessionKey } from "./Population.ts";

/** A session of a changed user: the index of a generated one, or one that was added or updated. */
type Row = number | SandboxSession;

interface Changed {
  /** In order of `initiated_at`, equals in order of arrival. */
  readonly rows: Row[];
  /** The index that the next added session is generated from. */
  next: number;
  /** Counts changes: what was sorted before one is out of date. */
  version: number;
}

/** The present sessions of every user, by the user's index. A position counts from 0 in order of `initiated_at`. */
export type Active = ReturnType<typeof make>;

/** Sessions that are looked at to find when a user was last active; one with more is taken to be active to the end. */
const MANY = 1000;

/** The most positions remembered for lists that had to be sorted or filtered: 4 bytes each. */
const remembered = 1_000_000;

/** Makes the active sessions of a population, all of which are active at first. */
export const make = (population: Population) => {
  const changed = new Map<number, Changed>();
  const orders = new Map<string, Uint32Array>();
  let positions = 0;
  const activities = new Map<number, number>();
  let changes = 0;

  const count = (user: number): number => changed.get(user)?.rows.length ?? population.sessionCount(user);

  const row = (user: number, position: number): Row => changed.get(user)?.rows[position] ?? position;

  const read = (user: number, row: Row): SandboxSession =>
    typeof row === "number" ? population.session(user, row) : row;

  const value = (user: number, row: Row, key: SessionKey): string | number =>
    typeof row === "number" ? population.value(user, row, key) : row[key];

  const initiatedAt = (user: number, row: Row): number => value(user, row, "initiated_at") as number;

  const change = (user: number): Changed => {
    let list = changed.get(user);
    if (list === undefined) {
      const next = population.sessionCount(user);
      list = { rows: Array.from({ length: next }, (_, index) => index), next, version: 0 };
      changed.set(user, list);
    }
    list.version++;
    return list;
  };

  const positionOf = (user: number, sessionId: string): number => {
    const index = population.indexOf(user, sessionId);
    const rows = changed.get(user)?.rows;
    if (rows === undefined) return index !== undefined && index < population.sessionCount(user) ? index : -1;
    return rows.findIndex((row) => typeof row === "number" ? row === index : row.session_id === sessionId);
  };

  const sort = (user: number, key: SessionKey, clientId: string | undefined): Uint32Array => {
    const kept: number[] = [];
    for (let position = 0, length = count(user); position < length; position++) {
      const at = row(user, position);
      const clientIds = typeof at === "number" ? population.clientIdsOf(user, at) : at.client_ids;
      if (clientId === undefined || clientIds.includes(clientId)) kept.push(position);
    }
    if (key === "initiated_at") return Uint32Array.from(kept);
    const values = new Map(kept.map((position) => [position, value(user, row(user, position), key)]));
    return Uint32Array.from(kept).sort((a, b) => {
      const left = values.get(a) as string | number;
      const right = values.get(b) as string | number;
      return left < right ? -1 : left > right ? 1 : a - b;
    });
  };

  const order = (user: number, key: SessionKey, clientId: string | undefined): Uint32Array => {
    const name = JSON.stringify([user, changed.get(user)?.version, key, clientId]);
    const found = orders.get(name) ?? sort(user, key, clientId);
    // Deleting first moves it to the end of the map: the front is what went unused longest.
    if (orders.delete(name)) positions -= found.length + 1;
    orders.set(name, found);
    positions += found.length + 1;
    for (const [oldest, { length }] of orders) {
      if (positions <= remembered || oldest === name) break;
      orders.delete(oldest);
      positions -= length + 1;
    }
    return found;
  };

  /** Find when a user was last active before anything changed. */
  const activityAtFirst = (user: number): number | undefined => {
    const length = population.sessionCount(user);
    if (length > MANY) return population.until;
    let latest: number | undefined;
    for (let index = 0; index < length; index++) {
      latest = Math.max(latest ?? 0, population.value(user, index, "last_updated") as number);
    }
    return latest;
  };

  /** Gives when the user was last active, in seconds since the epoch; undefined if never. */
  const activity = (user: number): number | undefined => activities.get(user) ?? activityAtFirst(user);

  const act = (user: number, now: number): void => {
    changes++;
    activities.set(user, Math.max(now, activity(user) ?? 0));
  };

  return {
    count,
    activity,
    /** Counts the changes so far. */
    get changes() {
      return changes;
    },
    at: (user: number, position: number): SandboxSession => read(user, row(user, position)),
    /** Gives the sessions by position, as they were when the first was asked for. */
    *all(user: number): Generator<SandboxSession> {
      const rows = changed.get(user)?.rows.slice();
      const length = count(user);
      for (let position = 0; position < length; position++) yield read(user, rows?.[position] ?? position);
    },
    /** Gives the list sorted by a field; with a client, only the sessions that have it. */
    sorted(user: number, key: SessionKey, clientId: string | undefined): Ranked {
      const whole = key === "initiated_at" && clientId === undefined;
      const sorted = whole ? undefined : order(user, key, clientId);
      const position = (rank: number) => sorted === undefined ? rank : sorted[rank] as number;
      return {
        length: sorted?.length ?? count(user),
        row: position,
        value: (rank) => value(user, row(user, position(rank)), key),
      };
    },
    add(user: number, now: number, given: Partial<SandboxSession>): SandboxSession {
      const initiated_at = given.initiated_at ?? now;
      const index = changed.get(user)?.next ?? population.sessionCount(user);
      const session: SandboxSession = {
        ...population.session(user, index),
        last_updated: initiated_at,
        expires_at: Math.max(initiated_at, now) + 14 * 86_400,
        ...given,
        initiated_at,
      };
      if (positionOf(user, session.session_id) !== -1) {
        throw new RangeError(`Cannot add a session as 'session_id' must be new: found ${session.session_id}`);
      }
      const list = change(user);
      const { rows } = list;
      list.next++;
      let position = rows.length;
      while (position > 0 && initiatedAt(user, rows[position - 1] as Row) > initiated_at) position--;
      rows.splice(position, 0, session);
      act(user, Math.max(now, session.last_updated));
      return session;
    },
    remove(user: number, sessionId: string): boolean {
      const position = positionOf(user, sessionId);
      if (position === -1) return false;
      change(user).rows.splice(position, 1);
      return true;
    },
    /** Gives false when there is no such session. */
    update(user: number, sessionId: string, now: number): boolean {
      const position = positionOf(user, sessionId);
      if (position === -1) return false;
      const { rows } = change(user);
      const session = read(user, rows[position] as Row);
      const last_updated = Math.max(now, session.initiated_at);
      rows[position] = { ...session, last_updated };
      act(user, last_updated);
      return true;
    },
  };
};
