/**
 * The exports of a server, each with its status.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import type * as Fiber from "effect/Fiber";
import type * as Export from "../../export/Export.ts";
import type * as Events from "./Events.ts";
import * as Job from "./Job.ts";
import { fail, type JobError, type ReadError } from "./JobError.ts";
import type * as JobStore from "./JobStore.ts";

/** An export in memory: its list of users may be long, and stays on the disk. */
export interface Entry {
  summary: Job.Summary;
  /** While it runs. */
  progress?: Export.Progress | undefined;
  fiber?: Fiber.RuntimeFiber<unknown> | undefined;
  /** Once somebody has watched it. */
  changes?: Events.ChangeTracker;
}

/** Tell whether an export has not ended. */
export const isOpen = (status: Job.Status): boolean => status === "queued" || status === "running";

/** Give the summary of an export, as it is now. */
export const summaryOf = ({ summary, progress }: Entry): Job.Summary => ({
  ...summary,
  ...(progress && { progress: Job.progressOf(progress) }),
});

/** No export at all. */
export const noCounts: Readonly<Record<Job.Status, number>> = {
  queued: 0,
  running: 0,
  done: 0,
  failed: 0,
  cancelled: 0,
};

/** The exports of a server. */
export interface JobTable {
  readonly set: (entry: Entry) => void;
  readonly delete: (id: string) => void;
  readonly get: (id: string) => Effect.Effect<Entry, JobError>;
  readonly all: () => ReadonlyArray<Entry>;
  /** Give the latest first: so many that are earlier than the one with this id. */
  readonly list: (limit: number, before: string | undefined) => ReadonlyArray<Job.Summary>;
  readonly running: () => number;
  /** Set the status of an export once that is on the disk: what can't be written down is not so. */
  readonly setStatus: (
    entry: Entry,
    status: Job.Status,
    error?: Job.Failure,
  ) => Effect.Effect<void, ReadError>;
  readonly counts: () => Readonly<Record<Job.Status, number>>;
}

/** Make a table without an export. */
export const make = (store: JobStore.JobStore): JobTable => {
  const entries = new Map<string, Entry>();
  return {
    set: (entry) => void entries.set(entry.summary.id, entry),
    delete: (id) => void entries.delete(id),
    get: (id) => {
      const entry = entries.get(id);
      return entry === undefined ? fail("Absent", `There is no export ${id}`) : Effect.succeed(entry);
    },
    all: () => [...entries.values()],
    list: (limit, before) =>
      [...entries.values()].map(summaryOf)
        .filter(({ id }) => before === undefined || id < before)
        .sort((one, other) => one.id < other.id ? 1 : -1)
        .slice(0, limit),
    running: () => [...entries.values()].filter(({ fiber }) => fiber !== undefined).length,
    setStatus: (entry, status, error) => {
      const { error: _, ...rest } = summaryOf(entry);
      const summary = { ...rest, status, ...(error && { error }) };
      const { id, progress } = summary;
      const written = store.writeState(id, {
        status,
        ...(progress && { progress }),
        ...(error && { error }),
      });
      return Effect.map(written, () => void (entry.summary = summary));
    },
    counts: () => {
      const counts = { ...noCounts };
      for (const { summary } of entries.values()) counts[summary.status]++;
      return counts;
    },
  };
};
