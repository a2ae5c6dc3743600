/** Finds the rows that are there twice. */
import * as DigestList from "../DigestList.ts";
import * as DigestTable from "../DigestTable.ts";
import type { Part } from "../Manifest.ts";
import * as PartReader from "../PartReader.ts";
import { faults, type Note } from "./Problems.ts";
import { isCertain, keyOf, lastUpdated, type Row } from "../../format/DecodedRow.ts";
import type { Stated } from "./Inventory.ts";

/** Reads parts once more, to tell where the rows are whose keys seem to come twice. */
export const find = async (
  { root, runs }: Stated,
  parts: ReadonlyArray<Part>,
  key: (row: Row) => ReadonlyArray<string>,
  mayBe: (key: ReadonlyArray<string>) => boolean,
  note: Note,
): Promise<void> => {
  const seen = new Map<string, { readonly path: string; readonly number: number }>();
  for (const part of parts) {
    const { path } = part;
    let number = 0;
    const again = faults((problem) => note(path, problem));
    try {
      for await (
        const rows of PartReader.rows(root, part, PartReader.writtenBy(part, runs.get(part.run)?.options))
      ) {
        for (const row of rows) {
          number++;
          if ("flaw" in row || !isCertain(row) || !mayBe(key(row))) continue;
          const name = JSON.stringify(key(row));
          const before = seen.get(name);
          if (before === undefined) {
            seen.set(name, { path, number });
            continue;
          }
          const at = number;
          const [userId, sessionId] = keyOf(row);
          again.add(() =>
            `row ${at} is there twice: session ${JSON.stringify(sessionId)} of user ${
              JSON.stringify(userId)
            } is ` +
            `row ${before.number}${before.path === path ? "" : ` of ${before.path}`} already`
          );
        }
      }
    } catch {
      // That it can't be read is known.
    }
    again.tell();
  }
};

/**
 * Runs over which together a session may come once only; in others it may come again, as it is then. A run that tries users
 * again goes on with their walks of the run before.
 */
const groups = (runs: Stated["runs"]): ReadonlyMap<number, string> => {
  const found = new Map<number, string>();
  let walked = "once";
  for (const { run, kind } of [...runs.values()].sort((one, other) => one.run - other.run)) {
    const own = kind === "full" ? "once" : `run ${run}`;
    found.set(run, kind === "retry" ? walked : own);
    if (kind === "changes") walked = own;
  }
  return found;
};

/** A run's sessions that earlier ones have as they are: how many, and the first thousand. */
interface Again {
  count: number;
  readonly versions: DigestTable.DigestSet;
}

/** Number of sessions of a run that are told to be there already; then it is plain that something is wrong. */
const MOST = 1000;

/**
 * Collects what each session is known by, and tells in the end which come twice. A run may hold as many versions that are
 * there already as it says it has delivered again.
 */
export const census = (stated: Stated) => {
  const sets = new Map<string, DigestList.Keys>();
  const groupOfRun = groups(stated.runs);
  const groupOf = (part: Part): string => groupOfRun.get(part.run) ?? "once";
  const hasVersions = stated.parts.some((part) => groupOf(part) !== "once");
  const versions = DigestTable.set();
  const again = new Map<number, Again>();
  // A session may change again in the second in which a run has read it.
  const version = (row: Row) => [...keyOf(row), String(lastUpdated(row)), JSON.stringify(row.values)];
  const readable: Array<Part> = [];
  const nameOf = (part: Part) => `${part.format} ${groupOf(part)}`;
  const rows = new Map<string, number>();
  for (const part of stated.parts) rows.set(nameOf(part), (rows.get(nameOf(part)) ?? 0) + part.rows);
  const rowsOf = (part: Part): number => rows.get(nameOf(part)) ?? 0;

  const countVersion = (row: Row, { run }: Part): void => {
    const key = version(row);
    if (versions.add(key) || !isCertain(row)) return;
    const its = again.get(run) ?? { count: 0, versions: DigestTable.set() };
    again.set(run, its);
    if (++its.count <= MOST) its.versions.add(key);
  };
  const tellVersions = async (note: Note): Promise<void> => {
    for (const [run, { count, versions }] of again) {
      const { redelivered = 0, said = "" } = stated.runs.get(run) ?? {};
      if (count <= redelivered) continue;
      if (redelivered > 0) {
        note(
          said,
          `says run ${run} has delivered ${redelivered} sessions again, and ${count} are there already`,
        );
        continue;
      }
      const others = (path: string, problem: string) => {
        if (readable.some((part) => part.path === path && part.run === run)) note(path, problem);
      };
      await find(stated, readable, version, versions.has, others);
    }
  };

  return {
    see: (row: Row, part: Part): void => {
      const name = groupOf(part);
      let group = sets.get(name);
      if (group === undefined) {
        sets.set(name, group = DigestList.make(Math.min(rowsOf(part), name === "once" ? 1 << 22 : 1 << 16)));
      }
      group.add(keyOf(row));
      if (hasVersions) countVersion(row, part);
    },
    read: (part: Part): void => void readable.push(part),
    tell: async (note: Note): Promise<void> => {
      for (const [name, keys] of sets) {
        const repeated = keys.repeated();
        if (repeated === undefined) continue;
        const parts = readable.filter((part) => groupOf(part) === name);
        await find(stated, parts, keyOf, repeated, note);
      }
      await tellVersions(note);
    },
  };
};
