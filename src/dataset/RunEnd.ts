/** The end of a run whose users are all walked: what was removed, cursors that count no more, and its place in the manifest. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import * as Struct from "effect/Struct";
import * as Export from "../export/Export.ts";
import type { ByActivity } from "../source/activity/ByActivity.ts";
import type { PageSizes } from "../source/paging/PageSizes.ts";
import * as CheckedReader from "./CheckedReader.ts";
import type * as Checkpoints from "./Checkpoints.ts";
import * as Cursors from "./Cursors.ts";
import type { DatasetOptions } from "./DatasetOptions.ts";
import * as Inspect from "./Inspect.ts";
import type * as Journal from "./Journal.ts";
import * as Layout from "./Layout.ts";
import type { Lease } from "./Lease.ts";
import * as Manifest from "./Manifest.ts";
import type * as RunState from "./RunState.ts";
import * as Tombstones from "./Tombstones.ts";
import * as UsersFile from "./UsersFile.ts";

/** A run, as its end knows it. */
export interface Run {
  readonly options: Pick<DatasetOptions<never, never>, "root" | "maxQuarantined">;
  readonly manifest: Manifest.Manifest;
  readonly header: Manifest.Header;
  readonly lease: Lease;
  readonly state: Pick<RunState.RunState, "tally" | "progress" | "failed">;
  readonly checkpoints: Checkpoints.Checkpoints;
  readonly progress: Export.Progress;
  readonly sizes: Pick<PageSizes, "found">;
  /** Choice and measure of users; only in the process that began a run by activity. */
  readonly activity: ByActivity | undefined;
  /** Sessions that the run before should have brought. */
  late: number;
  /** Shards that were published; none in a run without. */
  readonly shards?: (() => Manifest.Run["shards"]) | undefined;
  /** Lets work be interrupted that nothing rests on. */
  readonly restore: <A, E, R>(work: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>;
}

export const partsOf = ({ manifest, checkpoints }: Run): ReadonlyArray<Manifest.Part> => [
  ...manifest.parts,
  ...checkpoints.parts(),
];

/** Forget the cursors of users that the tenant lists no more: all of it is delivered should they come back. */
const forgetAbsent = (
  { options: { root }, header, checkpoints, restore }: Run,
  cursors: Cursors.ByUser | undefined,
) =>
  Effect.gen(function* () {
    if (header.all_users !== true || cursors === undefined) return;
    const asked = new Set(header.run_progress.open.map(({ user_id }) => user_id));
    const listed = Stream.runForEach(
      UsersFile.from(root, header, 0),
      (userId) => Effect.sync(() => void asked.add(userId)),
    );
    yield* Effect.onInterrupt(restore(listed), () => Effect.ignore(checkpoints.take()));
    for (const [userId, cursor] of cursors) {
      const forgotten = asked.has(userId) ? cursor : Cursors.forget(cursor);
      if (forgotten === cursor) continue;
      yield* checkpoints.keep("cursors", [Cursors.lineOf(userId, forgotten, header.journal_version)]);
      cursors.set(userId, forgotten);
    }
  });

/** Write tombstones of what the run did not come upon, and what came back. */
const writeTombstones = (run: Run) =>
  Effect.gen(function* () {
    const { options: { root }, header, manifest, checkpoints, progress, restore } = run;
    const [verified, counts] = [{ users: 0 }, { gone: 0, again: 0 }];
    const parts = partsOf(run);
    progress.compared = { rows: 0, rowsTotal: Tombstones.rowsOf(parts) };
    const found = Tombstones.compare({
      reader: { root, purpose: "tell what was removed", progress: progress.compared },
      parts,
      runs: [...manifest.runs, header],
      stamp: { part: checkpoints.number(), run: header.run, as_of: header.began },
      verified,
    });
    // Whoever reads the folder is to find a file there, if with nothing in it.
    if (!parts.some(({ format }) => format === "tombstones")) yield* checkpoints.keep("tombstones", []);
    yield* CheckedReader.forEach(found, restore, (lines) => {
      for (const { gone } of lines) counts[gone ? "gone" : "again"]++;
      return lines.length === 0
        ? Effect.void
        : checkpoints.keep("tombstones", lines.map((line) => `${JSON.stringify(line)}\n`));
    });
    return { ...verified, ...counts };
  });

/** Tell whether most of the cursors kept are no longer those that count. */
const isBloated = (parts: ReadonlyArray<Manifest.Part>, cursors: Cursors.ByUser): boolean =>
  parts.reduce((sum, { format, rows }) => sum + (format === "cursors" ? rows : 0), 0) >
    2 * cursors.size + 1000;

/** Complete what the walk has brought. Gives what was removed, and whether all cursors were written anew. */
const finish = (run: Run, cursors: Cursors.ByUser | undefined) =>
  Effect.gen(function* () {
    const { checkpoints, header } = run;
    yield* forgetAbsent(run, cursors);
    // An export without a session is one as well: with its columns, if nothing else.
    if (!partsOf(run).some(Manifest.isResult)) yield* checkpoints.openFiles;
    checkpoints.touch();
    yield* checkpoints.take();
    // The journal speaks of all sessions now; what follows is made anew if it is broken off.
    const number = checkpoints.number();
    const tombstones = header.prune === true ? yield* writeTombstones(run) : undefined;
    const isCompact = cursors !== undefined && isBloated(partsOf(run), cursors);
    if (isCompact) {
      for (const cursor of cursors) {
        yield* checkpoints.keep("cursors", [Cursors.lineOf(...cursor, header.journal_version)]);
      }
    }
    yield* checkpoints.finish;
    return { tombstones, isCompact, number };
  });

const summaryOf = (
  { header, state, checkpoints, progress, activity, late, shards }: Run,
  tombstones: Manifest.Run["tombstones"],
) =>
  Effect.gen(function* () {
    const standing = yield* state.progress;
    const { unverified, missing, failed } = progress;
    const { redelivered } = standing;
    return {
      ...Struct.pick(header, "run", "kind", "began", "options", "user_list_unverified_reasons"),
      ...Struct.pick(progress, "users", "sessions", "quarantined"),
      ...Struct.pick(standing, "seconds", "requests", "retries"),
      ended: new Date(yield* Clock.currentTimeMillis).toISOString(),
      bytes: checkpoints.parts().filter(Manifest.isResult).reduce((sum, { bytes }) => sum + bytes, 0),
      verified: unverified === 0 && failed === 0 && header.user_list_unverified_reasons.length === 0,
      missing: { count: missing, first: state.tally.missing },
      unverified: { count: unverified, first: state.tally.unverified },
      ...(header.since !== undefined && { since: header.since }),
      ...(redelivered && { redelivered }),
      ...(tombstones && { tombstones }),
      ...(shards && { shards: shards() }),
      by_activity: activity?.report(activity.lateUpTo === undefined ? undefined : late) ?? header.by_activity,
    } satisfies Manifest.Run;
  });

/** Put the run into the manifest, and remove what it has made needless. */
const putIntoManifest = (
  run: Run,
  journal: Journal.Journal,
  { tombstones, isCompact, number }: Effect.Effect.Success<ReturnType<typeof finish>>,
) =>
  Effect.gen(function* () {
    const { options: { root }, manifest, header, state, checkpoints, lease: { prove } } = run;
    const summary = yield* summaryOf(run, tombstones);
    const all = partsOf(run);
    const isSuperseded = ({ format, part }: Manifest.Part) =>
      format === "observed" || (isCompact && format === "cursors" && part < number);
    const superseded = all.filter(isSuperseded);
    const whole: Manifest.Manifest = {
      ...manifest,
      dataset_id: header.dataset_id ?? manifest.dataset_id ?? crypto.randomUUID(),
      columns: Manifest.ownColumns,
      runs: [...manifest.runs, summary],
      parts: all.filter((part) => !isSuperseded(part)),
      // Of those that were superseded before this run only results matter: they are in the totals of their runs.
      superseded: [...(manifest.superseded ?? []).filter(Manifest.isResult), ...superseded],
      next_part: checkpoints.number(),
      failed: state.failed(),
      activity: run.activity === undefined ? manifest.activity : run.activity.state(),
      page_size: run.sizes.found() ?? manifest.page_size,
    };
    yield* Layout.replace(root, Layout.names.manifest, Manifest.textOf(whole), prove);
    yield* Inspect.deleteJournal(root, { manifest: whole, journal }, prove);
    yield* Layout.remove(root, superseded.map(({ path }) => path), prove);
    return summary;
  });

/**
 * Bring a run to its end: `walk` walks its users and gives their cursors, if it has them. What is wrong with all that came fails
 * it then, and is gone on from; else it becomes a run of the manifest.
 */
export const complete = <E, R>(
  run: Run,
  journal: Journal.Journal,
  walk: Effect.Effect<Cursors.ByUser | undefined, E, R>,
) =>
  Effect.gen(function* () {
    const { options: { root, maxQuarantined }, manifest, header, lease, state, checkpoints, progress } = run;
    const work = Effect.gen(function* () {
      const cursors = yield* walk;
      yield* Effect.tapError(
        Export.checkQuarantined(state.tally, maxQuarantined, "end"),
        () => checkpoints.take(),
      );
      const nothing = Inspect.deleteJournal(root, { manifest, journal }, lease.prove);
      yield* Effect.onError(
        // The few that such a run asks may all be gone.
        header.partial_users ? Effect.void : Export.checkUsers(state.tally),
        () => checkpoints.parts().length === 0 ? Effect.ignore(nothing) : Effect.void,
      );
      return yield* finish(run, cursors);
    });
    const finished = yield* Effect.ensuring(work, checkpoints.discard);
    const summary = yield* putIntoManifest(run, journal, finished);
    return {
      summary,
      failed: { count: progress.failed, first: state.tally.failed },
      files: checkpoints.parts().filter(Manifest.isResult),
    };
  });
