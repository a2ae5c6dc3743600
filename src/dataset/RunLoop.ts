/** The work of a run, from where its journal says it stands to its end or its next interruption. */
import * as Cause from "effect/Cause";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Option from "effect/Option";
import * as Stream from "effect/Stream";
import * as Struct from "effect/Struct";
import * as Batch from "../session/Batch.ts";
import * as Export from "../export/Export.ts";
import type { SinkError } from "../sink/Sink.ts";
import type { ApiError } from "../api/ApiError.ts";
import { TenantClient } from "../api/TenantClient.ts";
import type { ByActivity } from "../source/activity/ByActivity.ts";
import type { PageSizes } from "../source/paging/PageSizes.ts";
import * as SessionSource from "../source/SessionSource.ts";
import * as CheckedReader from "./CheckedReader.ts";
import * as Checkpoints from "./Checkpoints.ts";
import * as Cursors from "./Cursors.ts";
import type { DatasetOptions } from "./DatasetOptions.ts";
import * as Inspect from "./Inspect.ts";
import type * as Journal from "./Journal.ts";
import * as Layout from "./Layout.ts";
import type { Lease } from "./Lease.ts";
import * as Manifest from "./Manifest.ts";
import * as RunState from "./RunState.ts";
import * as SessionIndex from "./SessionIndex.ts";
import * as Tombstones from "./Tombstones.ts";
import * as UsersFile from "./UsersFile.ts";

interface Run {
  readonly options: Omit<DatasetOptions<never, never>, "users">;
  /** True if the users come from the tenant's own list. */
  readonly areListed: boolean | undefined;
  readonly manifest: Manifest.Manifest;
  readonly header: Manifest.Header;
  readonly lease: Lease;
  readonly state: RunState.RunState;
  readonly checkpoints: Checkpoints.Checkpoints;
  /** Cursor of each user, where the walk begins; none in a full run, which begins at the beginning. */
  readonly cursors: Cursors.ByUser | undefined;
  readonly progress: Export.Progress;
  readonly sizes: PageSizes;
  /** Choice and measure of users; only in the process that began a run by activity. */
  readonly activity: ByActivity | undefined;
  /** Sessions that the run before should have brought. */
  late: number;
  /** Lets work be interrupted that nothing rests on. */
  readonly restore: <A, E, R>(work: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>;
}

const partsOf = ({ manifest, checkpoints }: Run): ReadonlyArray<Manifest.Part> => [
  ...manifest.parts,
  ...checkpoints.parts(),
];

/** Read what the dataset holds of each session, to tell what it lacks. */
const loadIndex = ({ restore, ...run }: Run) =>
  Effect.suspend(() => {
    const { options: { root }, header, manifest, progress } = run;
    const parts = partsOf({ restore, ...run });
    const rowsTotal = SessionIndex.partsOf(parts).reduce((sum, { rows }) => sum + rows, 0);
    progress.compared = { rows: 0, rowsTotal };
    const reader = { root, purpose: "tell what was removed", progress: progress.compared };
    const index = SessionIndex.load({ reader, parts, runs: [...manifest.runs, header] });
    return CheckedReader.forEach(index, restore, () => Effect.void);
  }).pipe(Effect.ensuring(Effect.sync(() => delete run.progress.compared)));

/** Give the users to walk, those first that were begun or failed before, each with where its walk begins. */
const usersOf = ({ options: { root }, header, state, cursors }: Run, before: Manifest.RunProgress) => {
  const startOf = (userId: string, saved?: unknown): SessionSource.Start => {
    const cursor = cursors?.get(userId);
    return { userId, state: saved, cursor: cursor === undefined ? undefined : JSON.parse(cursor) };
  };
  const begun = [...before.open, ...before.failed];
  for (const { user_id, state: saved } of begun) state.open(user_id, saved);
  return Stream.concat(
    Stream.fromIterable(begun.map(({ user_id, state: saved }) => startOf(user_id, saved))),
    Stream.map(UsersFile.from(root, header, before.position), (userId) => {
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

const isSpent = <E>(cause: Cause.Cause<Option.Option<E>>): boolean =>
  Option.exists(Cause.failureOption(cause), Option.isNone);

const causeOf = <E>(cause: Cause.Cause<Option.Option<E>>): Cause.Cause<E> =>
  Cause.flatMap(cause, Option.match({ onNone: () => Cause.empty, onSome: Cause.fail }));

type Failure = ApiError | SinkError | Layout.DatasetError | Export.ExportError;

/** Walk all users, with a checkpoint whenever the parts are full. Gives why it broke off; an empty cause if it did not. */
const walk = (
  { restore, ...run }: Run,
  source: ReturnType<typeof batchesOf>,
  take: (batch: Batch.Batch) => Effect.Effect<void, SinkError | Export.ExportError>,
): Effect.Effect<
  Cause.Cause<Failure>,
  SinkError | Layout.DatasetError | Export.ExportError,
  TenantClient
> =>
  Effect.scoped(Effect.gen(function* () {
    const { options: { change = (batch) => batch, maxQuarantined }, checkpoints, state } = run;
    const pull = yield* Stream.toPull(source);
    while (true) {
      const pulled = yield* Effect.exit(restore(pull));
      if (Exit.isFailure(pulled)) return isSpent(pulled.cause) ? Cause.empty : causeOf(pulled.cause);
      for (const batch of pulled.value) {
        yield* take(change(batch));
        if (checkpoints.isFull()) yield* checkpoints.take();
        const judged = yield* Effect.exit(Export.checkQuarantined(state.tally, maxQuarantined, "now"));
        if (Exit.isFailure(judged)) return judged.cause;
      }
    }
  }));

/** Forget the cursors of users that the tenant lists no more: all of it is delivered should they come back. */
const forgetAbsent = ({ options: { root }, header, cursors, checkpoints, restore }: Run) =>
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
const finish = (run: Run) =>
  Effect.gen(function* () {
    const { checkpoints, cursors, header } = run;
    yield* forgetAbsent(run);
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
  { header, state, checkpoints, progress, activity, late }: Run,
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
 * Go on with a run to its end, and put it into the manifest. If it is broken off, completes what has come by then, and then
 * fails as the run did. Can't be interrupted but between batches.
 */
export const resume = <E, R>(
  { users: { all: areListed }, ...options }: DatasetOptions<E, R>,
  manifest: Manifest.Manifest,
  journal: Journal.Journal,
  lease: Lease,
  activity?: ByActivity,
) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { root, progress = Export.noProgress(), maxQuarantined } = options;
      const { header } = journal;
      const { traffic } = yield* TenantClient;
      const began = yield* Clock.currentTimeMillis;
      const before = journal.checkpoints.at(-1)?.run_progress ?? header.run_progress;
      const state = yield* RunState.make(before, progress, traffic);
      const checkpoints = yield* Checkpoints.make(options, journal, lease, state.progress);
      const parts = [...manifest.parts, ...checkpoints.parts()];
      const cursors = header.kind === "full" ? undefined : yield* restore(Cursors.load(root, parts));
      // A run that reads whole lists finds out anew what the tenant gives.
      const known = header.kind === "full" || header.prune === true ? undefined : manifest.page_size;
      const sizes = SessionSource.sizesOf(options.walk?.pageSize, known);
      const base = {
        options,
        areListed,
        manifest,
        header,
        lease,
        progress,
        sizes,
        activity,
        late: 0,
        restore,
      };
      const run: Run = { ...base, state, checkpoints, cursors };

      // Needed as long as users are walked.
      let index = header.prune === true ? yield* loadIndex(run) : undefined;
      // What an earlier run came upon of them is not known here.
      const halfRead = new Set(
        header.run_progress.open.filter(({ state }) => state !== undefined).map(({ user_id }) => user_id),
      );
      const context = { began, isHalfRead: (userId: string) => halfRead.has(userId) };
      const batches = batchesOf(run, usersOf(run, before), () => index);
      const source = activity === undefined ? batches : activity.watch(batches);
      const work = Effect.gen(function* () {
        const broken = yield* walk(run, source, (batch) => ingest(run, batch, context));
        if (!Cause.isEmpty(broken)) {
          yield* checkpoints.take(true);
          return yield* Effect.failCause(broken);
        }
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
        index = undefined;
        return yield* finish(run);
      });
      const finished = yield* Effect.ensuring(work, checkpoints.discard);
      const summary = yield* putIntoManifest(run, journal, finished);
      return {
        summary,
        failed: { count: progress.failed, first: state.tally.failed },
        files: checkpoints.parts().filter(Manifest.isResult),
      };
    })
  );
