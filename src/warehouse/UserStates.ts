/** Users of a run as its checkpoints write them: cursor, walk state, and what is known of their lists. */
import * as Cursors from "../dataset/Cursors.ts";
import * as Tombstones from "../dataset/Tombstones.ts";
import type { Batch, WalkEnd } from "../session/Batch.ts";
import type { Start } from "../source/SessionSource.ts";
import type { Listed, StagedUser, StoredCursor } from "./Checkpoint.ts";

/** Changes to a user since the last checkpoint. */
interface Touched {
  /** Gives where the walk stands; undefined once it has ended. */
  readonly state: (() => unknown) | undefined;
  readonly end: WalkEnd | undefined;
  /** True of a walk that reads the whole list. */
  readonly isWhole: boolean;
}

export interface UserStatesOptions {
  /** As stored when this process began. */
  readonly cursors: ReadonlyMap<string, StoredCursor>;
  readonly run: number;
  readonly prune: boolean;
  /** When this process began, in milliseconds since the epoch. */
  readonly beganAt: number;
}

export type UserStates = ReturnType<typeof make>;

export const make = ({ cursors: stored, run, prune, beganAt }: UserStatesOptions) => {
  const cursors = new Map(stored);
  const touched = new Map<string, Touched>();

  const cursorOf = (userId: string, end: WalkEnd): string | null => {
    const before = cursors.get(userId)?.cursor ?? null;
    const cursor = end.cursor === undefined ? undefined : JSON.stringify(end.cursor);
    if (!Tombstones.isUserGone(end)) return cursor ?? before;
    return cursor !== undefined || before !== null
      ? Cursors.forget(cursor ?? before!, cursor === undefined ? beganAt / 1000 : undefined)
      : null;
  };

  const listedOf = ({ state, end, isWhole }: Touched): Listed => {
    if (!isWhole && !(end !== undefined && prune && Tombstones.isUserGone(end))) return "";
    if (end === undefined) return state === undefined ? "" : "open";
    if (Tombstones.isUserGone(end)) return "gone";
    return end.status === "complete" && end.verified ? "whole" : "";
  };

  const rowOf = ([userId, its]: readonly [string, Touched]): StagedUser => {
    const { cursor = null, state: before = null, run: last = 0 } = cursors.get(userId) ?? {};
    const { state, end } = its;
    const base = { userId, listed: listedOf(its) };
    const reached = () => state === undefined ? before : JSON.stringify(state());
    if (end === undefined) return { ...base, cursor, state: reached(), run: last };
    // A list that is read in two runs tells nothing of what has ended: the next run begins it anew.
    if (end.status === "failed") return { ...base, cursor, state: prune ? null : reached(), run: last };
    return { ...base, cursor: cursorOf(userId, end), state: null, run };
  };

  return {
    isKnown: (userId: string): boolean => cursors.has(userId),
    /** Tells whether the run is done with a user. */
    isDone: (userId: string): boolean => cursors.get(userId)?.run === run,
    startOf: (userId: string): Exclude<Start, string> => {
      const { cursor = null, state = null } = cursors.get(userId) ?? {};
      return {
        userId,
        ...(cursor !== null && { cursor: JSON.parse(cursor) }),
        ...(state !== null && { state: JSON.parse(state) }),
      };
    },
    /** Takes note of a batch, of a walk that reads the whole list or not. */
    touch: ({ userId, end, state }: Batch, isWhole: boolean): void => {
      touched.set(userId, { state: state ?? touched.get(userId)?.state, end, isWhole });
    },
    /** Gives the users that were touched since this was last asked for. */
    flush: (): ReadonlyArray<StagedUser> => {
      const rows = [...touched].map(rowOf);
      for (const row of rows) cursors.set(row.userId, row);
      touched.clear();
      return rows;
    },
    /** Gives those whom a tenant that lists `asked` lists no more, and of whom something is known that they leave. */
    absentFrom: (asked: ReadonlySet<string>): ReadonlyArray<StagedUser> =>
      [...cursors.values()].filter(({ userId }) => !asked.has(userId)).flatMap((row) => {
        const forgotten = row.cursor === null ? null : Cursors.forget(row.cursor);
        return forgotten === row.cursor && row.state === null
          ? []
          : [{ ...row, cursor: forgotten, state: null, listed: "" as const }];
      }),
  };
};
