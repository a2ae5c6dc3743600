/** What a checkpoint is to write, gathered in memory: rows go on to temporary tables some thousands at a time. */
import * as DigestTable from "../dataset/DigestTable.ts";
import type { Staged } from "./Statements.ts";
import * as TableRows from "./TableRows.ts";
import type { Value } from "./Target.ts";

/** Rows for the temporary tables, each a value for each of its columns. */
export type Rows = { readonly [Which in Staged]?: ReadonlyArray<ReadonlyArray<Value>> | undefined };

/** A session that has ended, or is listed again where `endedAt` is null. */
export interface Tombstone {
  readonly userId: string;
  readonly sessionId: string;
  /** Seconds since the epoch. */
  readonly endedAt: number | null;
}

/** Rows that are sent on at a time. */
const ROWS = 4096;
/** Characters of text that are held at the most: 32 MB in memory, or less. */
const CHARS = 1 << 24;
/** Characters after which a checkpoint is due, where all is held until then. */
const DUE = 1 << 23;

const lengthOf = (value: Value): number => {
  if (typeof value === "string") return value.length;
  return Array.isArray(value) ? value.reduce((sum: number, text: string) => sum + text.length, 0) : 8;
};

/** The most keys that are compared: some 24 MB. */
const COMPARED = 1_000_000;

export type Lot = ReturnType<typeof make>;

export const make = () => {
  const keys = DigestTable.set();
  /** True once a key may have come twice. */
  let mayRepeat = false;
  const counts = { sessions: 0, quarantined: 0, replaced: 0 };
  let held: Record<Staged, Array<ReadonlyArray<Value>>>;
  const empty = () => held = { sessions: [], observed: [], tombstones: [], users: [], quarantine: [] };
  empty();
  let [sequence, chars, rows] = [0, 0, 0];
  let isTaken = false;
  let isMixed = false;
  let isAdopted = false;
  const put = (which: Staged, values: ReadonlyArray<Value>) => {
    held[which].push(values);
    for (const value of values) chars += lengthOf(value);
    rows++;
  };
  return {
    counts,
    write: ({ sessions, quarantined, replaced }: TableRows.Taken): void => {
      mayRepeat ||= counts.sessions + sessions.length > COMPARED;
      for (const session of sessions) {
        const key = [session[TableRows.userColumn] as string, session[TableRows.idColumn] as string];
        mayRepeat ||= !keys.add(key);
        session[session.length - 1] = sequence++;
        put("sessions", session);
      }
      for (const line of quarantined) {
        put("quarantine", [
          line.userId,
          TableRows.digestOf(line),
          TableRows.cleanText(line.message),
          line.paths.map(TableRows.cleanText),
          TableRows.cleanText(line.row),
        ]);
      }
      counts.sessions += sessions.length;
      counts.quarantined += quarantined.length;
      counts.replaced += replaced;
    },
    observe: (userId: string, ids: ReadonlyArray<string>): void => {
      isMixed ||= ids.length > 0;
      for (const id of ids) put("observed", [userId, id]);
    },
    bury: (tombstones: ReadonlyArray<Tombstone>): void => {
      isMixed ||= tombstones.length > 0;
      for (const { userId, sessionId, endedAt } of tombstones) {
        put("tombstones", [userId, sessionId, endedAt, sequence++]);
      }
    },
    /** Counts sessions that were put into the temporary table by another way. */
    adopt: (sessions: number): void => {
      sequence += sessions;
      counts.sessions += sessions;
      isMixed = isAdopted = true;
    },
    /** Tells whether so much is held that a checkpoint is due. */
    isHeavy: (): boolean => chars >= DUE,
    /** Counts all that was put in. */
    size: (): number => sequence + counts.quarantined,
    /** Tells whether there is enough to be sent on; of what may be held until the end, only where there is too much. */
    isFull: (mayHold: boolean): boolean => chars >= CHARS || (!mayHold && rows >= ROWS),
    /** Gives what is held, and holds nothing. */
    take: (): Rows => {
      const rows_ = held;
      empty();
      chars = rows = 0;
      isTaken = true;
      return rows_;
    },
    /** Tells whether some of it was taken, or can't be added as it is: it is to be merged. */
    needsMerge: (): boolean => isTaken || isMixed || mayRepeat,
    /** Tells whether a key may be there twice. */
    mayRepeat: (): boolean => isAdopted || mayRepeat,
  };
};
