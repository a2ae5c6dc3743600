/** What a checkpoint is to write, gathered in memory: rows go on to temporary tables some thousands at a time. */
import * as Repeats from "./Repeats.ts";
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

export interface Lot {
  readonly write: (taken: TableRows.Taken) => void;
  readonly observe: (userId: string, ids: ReadonlyArray<string>) => void;
  readonly bury: (tombstones: ReadonlyArray<Tombstone>) => void;
  /** Counts all that was put in. */
  readonly size: () => number;
  readonly counts: { sessions: number; quarantined: number; replaced: number };
  /** Counts sessions that were put into the temporary table by another way. */
  readonly adopt: (sessions: number) => void;
  /** Tells whether so much is held that a checkpoint is due. */
  readonly isHeavy: () => boolean;
  /** Tells whether there is enough to be sent on; of what may be held until the end, only where there is too much. */
  readonly isFull: (mayHold: boolean) => boolean;
  /** Gives what is held, and holds nothing. */
  readonly take: () => Rows;
  /** Tells whether some of it was taken, or can't be added as it is: it is to be merged. */
  readonly needsMerge: () => boolean;
  /** Tells whether a key may be there twice. */
  readonly mayRepeat: () => boolean;
}

export const make = (): Lot => {
  const repeats = Repeats.make();
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
    write: ({ sessions, quarantined, replaced }) => {
      for (const session of sessions) {
        repeats.add(session[TableRows.userColumn] as string, session[TableRows.idColumn] as string);
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
    observe: (userId, ids) => {
      isMixed ||= ids.length > 0;
      for (const id of ids) put("observed", [userId, id]);
    },
    bury: (tombstones) => {
      isMixed ||= tombstones.length > 0;
      for (const { userId, sessionId, endedAt } of tombstones) {
        put("tombstones", [userId, sessionId, endedAt, sequence++]);
      }
    },
    adopt: (sessions) => {
      sequence += sessions;
      counts.sessions += sessions;
      isMixed = isAdopted = true;
    },
    isHeavy: () => chars >= DUE,
    size: () => sequence + counts.quarantined,
    isFull: (mayHold) => chars >= CHARS || (!mayHold && rows >= ROWS),
    take: () => {
      const rows_ = held;
      empty();
      chars = rows = 0;
      isTaken = true;
      return rows_;
    },
    needsMerge: () => isTaken || isMixed || repeats.mayBe(),
    mayRepeat: () => isAdopted || repeats.mayBe(),
  };
};
