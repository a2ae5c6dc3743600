/** Inventory of a dataset: what the manifest says of its finished runs, and the journal of the one that is not. */
import type * as Inspect from "../Inspect.ts";
import * as Layout from "../Layout.ts";
import type { Part } from "../Manifest.ts";

export interface Of {
  readonly run: number;
  readonly kind: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly sessions: number;
  readonly quarantined: number;
  /** Lines that say which sessions were removed; unknown for a run that has not finished. */
  readonly tombstones: number | undefined;
  readonly redelivered: number;
  /** Unknown for a run that has not finished. */
  readonly bytes: number | undefined;
  /** The file that says so. */
  readonly said: string;
}

export interface Stated {
  readonly root: string;
  readonly parts: ReadonlyArray<Part>;
  /** Parts that others have taken the place of, whether their files are still there or not. */
  readonly superseded: ReadonlyArray<Part>;
  readonly runs: ReadonlyMap<number, Of>;
  /** True if there is a run that has not finished. */
  readonly unfinished: boolean;
}

/** Take the inventory of what was found in the folder. */
export const by = (
  root: string,
  { manifest, journal }: Inspect.Inspection,
): Stated => {
  const unfinished = journal !== undefined && !manifest?.runs.some(({ run }) => run === journal.header.run);
  const runs = new Map<number, Of>();
  for (const run of manifest?.runs ?? []) {
    const { gone, again } = run.tombstones ?? { gone: 0, again: 0 };
    const redelivered = run.redelivered?.sessions ?? 0;
    runs.set(run.run, { ...run, tombstones: gone + again, redelivered, said: Layout.names.manifest });
  }
  const checkpoints = unfinished ? journal.checkpoints : [];
  const last = checkpoints.at(-1);
  if (journal !== undefined && last !== undefined) {
    const { redelivered, progress: { sessions, quarantined } } = last.run_progress;
    runs.set(journal.header.run, {
      ...journal.header,
      sessions,
      quarantined,
      tombstones: undefined,
      redelivered: redelivered?.sessions ?? 0,
      bytes: undefined,
      said: Layout.names.journal,
    });
  }
  return {
    root,
    runs,
    parts: [...manifest?.parts ?? [], ...checkpoints.flatMap(({ parts }) => parts)],
    superseded: manifest?.superseded ?? [],
    unfinished,
  };
};
