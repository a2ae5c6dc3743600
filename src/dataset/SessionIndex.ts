/**
 * Index of the sessions of a dataset: how late the newest version of each is, and whether it was said to have ended. By it a run
 * that reads whole lists tells what to deliver.
 *
 * Parts are numbered in the order of what they tell: a row after a tombstone takes it back.
 */
import type { Holding } from "../source/incremental/Changes.ts";
import * as DigestTable from "./DigestTable.ts";
import type { Part, Run } from "./Manifest.ts";
import * as PartReader from "./PartReader.ts";
import { decode } from "./Tombstones.ts";
import { keyOf, lastUpdated, spelled } from "../format/DecodedRow.ts";
import * as CheckedReader from "./CheckedReader.ts";

export interface SessionIndex {
  /**
   * Tells of a session as the tenant lists it, whatever the dataset's formats make of its ids. (In a dataset of CSV alone `=x`
   * and `'=x` are written alike, and are one session here.)
   */
  readonly holds: (userId: string, sessionId: string, lastUpdated: number) => Holding;
}

export interface LoadOptions {
  readonly reader: Omit<CheckedReader.Reader, "root">;
  /** The parts, by the folders that they lie in, the earlier ones first. */
  readonly places: ReadonlyArray<{ readonly root: string; readonly parts: ReadonlyArray<Part> }>;
  readonly runs: ReadonlyArray<Pick<Run, "run" | "options">>;
  /** The users to tell of. @default {all} */
  readonly users?: ReadonlySet<string> | undefined;
}

const isTombstones = ({ format }: Part): boolean => format === "tombstones";

/** Gives the parts that {@link load} reads. */
export const partsOf = (parts: ReadonlyArray<Part>): ReadonlyArray<Part> =>
  [...PartReader.oneOfEach(parts), ...parts.filter(isTombstones)]
    // Those of a run are written when all of its sessions are.
    .sort((one, other) => one.part - other.part || Number(isTombstones(one)) - Number(isTombstones(other)));

/**
 * Reads a dataset into an index, step by step; the index is what it returns.
 *
 * Memory: 24 to 48 bytes for each session of the dataset, and half as much more for a moment while it grows.
 */
export async function* load(
  { reader: shared, places, runs, users }: LoadOptions,
): AsyncGenerator<undefined, SessionIndex> {
  const all = places.flatMap(({ parts }) => PartReader.oneOfEach(parts));
  const texts = new Set(all.map((part) => PartReader.writtenAs(part, runs).text));
  const written = users &&
    new Set(
      [...users].flatMap((id) => [...texts].flatMap((text) => spelled([id, ""], text).map(([id]) => id))),
    );
  const isMeant = (userId: string) => written === undefined || written.has(userId);
  const newest = DigestTable.map();
  // A session that has ended is held as a negative number: no time is one.
  const ended = (time: number) => -1 - time;
  const timeOf = (value: number) => value < 0 ? -1 - value : value;
  const inOrder = places.flatMap(({ root, parts }) =>
    partsOf(parts).map((part) => ({ reader: { ...shared, root }, part }))
  );
  for (const { reader, part } of inOrder) {
    if (isTombstones(part)) {
      for await (const lines of CheckedReader.lines(reader, part, decode)) {
        for (const { line: { user_id, session_id, gone } } of lines) {
          const key = [user_id, session_id];
          const value = newest.get(key);
          if (value !== undefined) newest.set(key, gone ? ended(timeOf(value)) : timeOf(value));
        }
        yield;
      }
      continue;
    }
    for await (const rows of CheckedReader.sessions(reader, part, PartReader.writtenAs(part, runs))) {
      for (const row of rows) {
        const key = keyOf(row);
        if (!isMeant(key[0])) continue;
        newest.set(key, Math.max(lastUpdated(row), timeOf(newest.get(key) ?? 0)));
      }
      yield;
    }
  }

  return {
    holds: (userId, sessionId, time) => {
      let found: Holding = "lacks";
      for (const text of texts) {
        for (const key of spelled([userId, sessionId], text)) {
          const value = newest.get(key);
          if (value === undefined || timeOf(value) < time) continue;
          if (value >= 0) return "has";
          found = "ended";
        }
      }
      return found;
    },
  };
}
