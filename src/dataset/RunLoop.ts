/** The work of a run, from where its journal says it stands to its end or its next interruption. */
import * as Cause from "effect/Cause";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import * as Batch from "../session/Batch.ts";
import * as Export from "../export/Export.ts";
import type { SinkError } from "../sink/Sink.ts";
import { TenantClient } from "../api/TenantClient.ts";
import type { ByActivity } from "../source/activity/ByActivity.ts";
import type { PageSizes } from "../source/paging/PageSizes.ts";
import * as SessionSource from "../source/SessionSource.ts";
import * as CheckedReader from "./CheckedReader.ts";
import * as Checkpoints from "./Checkpoints.ts";
import * as Cursors from "./Cursors.ts";
import type { DatasetOptions } from "./DatasetOptions.ts";
import type * as Journal from "./Journal.ts";
import type * as Layout from "./Layout.ts";
import type { Lease } from "./Lease.ts";
import type * as Manifest from "./Manifest.ts";
import * as RunEnd from "./RunEnd.ts";
import { partsOf } from "./RunEnd.ts";
import * as RunState from "./RunState.ts";
import * as SessionIndex from "./SessionIndex.ts";
import * as Tombstones from "./Tombstones.ts";
import * as UsersFile from "./UsersFile.ts";

/** Knowledge of its users that the run of a shard has from the whole run. */
export interface Whole {
  /** The folder that has the list of users. */
  readonly listRoot: string;
  /** Cursors from which the walks begin. */
  readonly cursors: Cursors.ByUser | undefined;
  /** The dataset, where a run prunes: what it holds of these users is not delivered again. */
  readonly held?: {
    readonly root: string;
    readonly manifest: Manifest.Manifest;
    readonly users: ReadonlySet<string>;
  } | undefined;
}

export interface Run extends RunEnd.Run {
  readonly options: Omit<DatasetOptions<never, never>, "users">;
  /** True if the users come from the tenant's own list. */
  readonly areListed: boolean | undefined;
  readonly state: RunState.RunState;
  /** Cursor of each user, where the walk begins; none in a full run, which begins at the beginning. */
  readonly cursors: Cursors.ByUser | undefined;
  readonly sizes: PageSizes;
  readonly whole: Whole | undefined;
  /** State of the run as an earlier process left it. */
  readonly before: Manifest.RunProgress;
}

/** Read what the dataset holds of each session, to tell what it lacks. */
const loadIndex = ({ restore, ...run }: Run) =>
  Effect.suspend(() => {
    const { options: { root }, header, manifest, progress, whole: { held } = {} } = run;
    const own = { root, parts: partsOf({ restore, ...run }) };
    const places = held === undefined ? [own] : [{ root: held.root, parts: held.manifest.parts }, own];
    const rowsTotal = places.flatMap(({ parts }) => SessionIndex.partsOf(parts)).reduce(
      (sum, { rows }) => sum + rows,
      0,
    );
    progress.compared = { rows: 0, rowsTotal };
    const reader = { purpose: "tell what was removed", progress: progress.compared };
    const runs = [...(held?.manifest ?? manifest).runs, header];
    const index = SessionIndex.load({ reader, places, runs, users: held?.users });
    return CheckedReader.forEach(index, restore, () => Effect.void);
  }).pipe(Effect.ensuring(Effect.sync(() => delete run.progress.compared)));

/** Give the users to walk, those first that were begun or failed before, each with where its walk begins. */
const usersOf = ({ options: { root }, header, state, cursors, whole, before }: Run) => {
  const startOf = (userId: string, saved?: unknown): SessionSource.Start => {
    const cursor = cursors?.get(userId);
    return { userId, state: saved, cursor: cursor === undefined ? undefined : JSON.parse(cursor) };
  };
  const begun = [...before.open, ...before.failed];
  for (const { user_id, state: saved } of begun) state.open(user_id, saved);
  return Stream.concat(
    Stream.fromIterable(begun.map(({ user_id, state: saved }) => startOf(user_id, saved))),
    Stream.map(UsersFile.from(whole?.listRoot ?? root, header, before.position), (userId) => {
      state.openNext(userId);
      return startOf(userId);
    }),
  );
};

/** Give the batches of the run. With an index, what it has is left out. */
const batchesOf = (
  { options: { walk = {}, lookback }, header, areListed, sizes }: Run,
  users: ReturnType<typeof usersOf>,
  index: () => SessionIndex.SessionIndex | undefined,
) => {
  const { sort, ...rest } = walk;
  const common = { ...rest, sizes, onFailure: "continue" as const, areListed };
  if (sort !== undefined) return SessionSource.batches(users, { ...common, sort });
  const whole = header.prune === true;
  return SessionSource.changes(users, {
    ...common,
    since: header.since,
    lookback,
    whole,
    holds: whole ? (...session) => index()?.holds(...session) ?? "lacks" : undefined,
  });
};

/** Give the cursor of a user whose walk has ended; undefined where there is none to keep. */
const cursorOf = (
  { cursors, state, options: { walk } }: Run,
  userId: string,
  end: Batch.WalkEnd,
  began: number,
): string | undefined => {
  if (walk?.sort !== undefined) return undefined;
  const cursor = end.cursor === undefined ? undefined : JSON.stringify(end.cursor);
  if (!Tombstones.isUserGone(end)) return cursor;
  if (cursor !== undefined) return Cursors.forget(cursor);
  const before = cursors?.get(userId);
  // Some of it may have been delivered in this run before it was not there any more.
  return before !== undefined || state.isBegun(userId)
    ? Cursors.forget(before ?? `{"seen":[]}`, began / 1000)
    : undefined;
};

/** Take a batch in: its rows, the ids it came upon, and the user's cursor once the walk has ended. */
const ingest = (
  run: Run,
  batch: Batch.Batch,
  { began, isHalfRead }: { readonly began: number; readonly isHalfRead: (userId: string) => boolean },
) =>
  Effect.gen(function* () {
    const { checkpoints, cursors, header, progress, state } = run;
    const { userId, quarantined, end } = batch;
    const lateUpTo = run.activity?.lateUpTo;
    if (lateUpTo !== undefined && run.activity?.isExcused(userId) === false) {
      run.late += Batch.sessions(batch).filter(({ last_updated }) => last_updated <= lateUpTo).length;
    }
    if (Batch.size(batch) > 0 || quarantined.length > 0) {
      progress.encodedBytes += yield* checkpoints.write(batch);
    }
    const cursor = end && cursorOf(run, userId, end, began);
    if (cursor !== undefined && cursor !== cursors?.get(userId)) {
      yield* checkpoints.keep("cursors", [Cursors.lineOf(userId, cursor, header.journal_version)]);
      cursors?.set(userId, cursor);
    }
    const observed = header.prune === true && !isHalfRead(userId) ? Tombstones.observedLines(batch) : [];
    if (observed.length > 0) yield* checkpoints.keep("observed", observed);
    state.add(batch);
    checkpoints.touch();
  });

/** Make a run that goes on from where its journal says it stands. */
export const make = (
  { options, areListed, manifest, journal, lease, activity, whole, restore }: {
    readonly options: Run["options"];
    readonly areListed: boolean | undefined;
    readonly manifest: Manifest.Manifest;
    readonly journal: Journal.Journal;
    readonly lease: Lease;
    readonly activity?: ByActivity | undefined;
    readonly whole?: Whole | undefined;
    readonly restore: Run["restore"];
  },
) =>
  Effect.gen(function* (): Effect.fn.Return<
    Run,
    SinkError | Layout.DatasetError,
    TenantClient | Scope.Scope
  > {
    const { root, progress = Export.noProgress() } = options;
    const { header } = journal;
    const { traffic } = yield* TenantClient;
    const before = journal.checkpoints.at(-1)?.run_progress ?? header.run_progress;
    const state = yield* RunState.make(before, progress, traffic);
    const checkpoints = yield* Checkpoints.make(options, journal, lease, state.progress);
    const own = Cursors.load(root, [...manifest.parts, ...checkpoints.parts()]);
    const cursors = header.kind === "full" ? undefined : yield* restore(own);
    // A run that reads whole lists finds out anew what the tenant gives.
    const known = header.kind === "full" || header.prune === true ? undefined : manifest.page_size;
    return {
      options,
      areListed,
      manifest,
      header,
      lease,
      state,
      checkpoints,
      cursors: cursors && whole?.cursors ? new Map([...whole.cursors, ...cursors]) : cursors,
      progress,
      sizes: SessionSource.sizesOf(options.walk?.pageSize, known),
      activity,
      whole,
      late: 0,
      restore,
      before,
    };
  });

/** Walk the users of a run. If that is broken off, completes what has come by then, and then fails as the walk did. */
export const walkUsers = (run: Run) =>
  Effect.gen(function* () {
    const { activity, checkpoints, header } = run;
    const began = yield* Clock.currentTimeMillis;
    // Needed as long as users are walked.
    let index = header.prune === true ? yield* loadIndex(run) : undefined;
    // What an earlier run came upon of them is not known here.
    const halfRead = new Set(
      header.run_progress.open.filter(({ state }) => state !== undefined).map(({ user_id }) => user_id),
    );
    const context = { began, isHalfRead: (userId: string) => halfRead.has(userId) };
    const batches = batchesOf(run, usersOf(run), () => index);
    const source = activity === undefined ? batches : activity.watch(batches);
    const { options: { change = (batch) => batch, maxQuarantined }, state, restore } = run;
    const broken = yield* Export.drain({
      source,
      tally: state.tally,
      maxQuarantined,
      restore,
      take: (batch) =>
        Effect.zipRight(
          ingest(run, change(batch), context),
          Effect.suspend(() => checkpoints.isFull() ? checkpoints.take() : Effect.void),
        ),
    });
    index = undefined;
    if (Cause.isEmpty(broken)) return;
    yield* checkpoints.take(true);
    return yield* Effect.failCause(broken);
  });

/**
 * Go on with a run to its end, and put it into the manifest. If it is broken off, completes what has come by then, and then
 * fails as the run did. Can't be interrupted but between batches.
 */
export const resume = <E, R>(
  { users: { all: areListed }, shards: _, ...options }: DatasetOptions<E, R>,
  manifest: Manifest.Manifest,
  journal: Journal.Journal,
  lease: Lease,
  activity?: ByActivity,
) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const run = yield* make({ options, areListed, manifest, journal, lease, activity, restore });
      return yield* RunEnd.complete(run, journal, Effect.as(walkUsers(run), run.cursors));
    })
  );
