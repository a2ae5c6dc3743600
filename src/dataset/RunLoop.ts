/**
 * The work of a run, from where its journal says it stands to its end or its next interruption.
 *
 * @module
 */
import * as Cause from "effect/Cause";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Option from "effect/Option";
import * as Stream from "effect/Stream";
import * as Batch from "../session/Batch.ts";
import * as Export from "../export/Export.ts";
import type { OutputError } from "../sink/Output.ts";
import type { ApiError } from "../api/ApiError.ts";
import { TenantHttp } from "../api/HttpPolicy.ts";
import * as SessionSource from "../source/SessionSource.ts";
import type { DatasetOptions } from "./DatasetOptions.ts";
import * as Layout from "./Layout.ts";
import * as Inspect from "./Inspect.ts";
import * as Journal from "./Journal.ts";
import type { Lease } from "./Lease.ts";
import * as UsersFile from "./UsersFile.ts";
import * as Manifest from "./Manifest.ts";
import * as Cursors from "./Cursors.ts";
import * as PartWriter from "./PartWriter.ts";
import * as Tombstones from "./Tombstones.ts";
import * as SessionIndex from "./SessionIndex.ts";
import * as CheckedReader from "./CheckedReader.ts";

const PART_ROWS = 500_000;
const PART_BYTES = 512 * 2 ** 20;

/** The tally of a run that stands there. Users that failed are tried again, so they do not count as ended. */
const tallyOf = (
  { progress, failed, missing, unverified, open }: Manifest.Standing,
  shown: Export.Progress,
): Export.Tally => ({
  progress: Object.assign(shown, progress, { users: progress.users - failed.length, failed: 0 }),
  missing: [...missing],
  unverified: [...unverified],
  failed: [],
  walking: new Set(open.filter(({ state }) => state !== undefined).map(({ user_id }) => user_id)),
});

/** Counts what may have been delivered before as it is, from what a run that stands there had counted. */
const counterOf = (begun: Manifest.Standing["redelivered"]) => {
  let { sessions, users: { count, first } } = begun ?? { sessions: 0, users: { count: 0, first: [] } };
  const walking = new Set<string>();
  return {
    add: ({ userId, redelivered = 0, end }: Batch.Batch): void => {
      sessions += redelivered;
      if (redelivered > 0 && !walking.has(userId) && !first.includes(userId)) {
        walking.add(userId);
        count++;
        if (first.length < 100) first = [...first, userId];
      }
      if (end !== undefined) walking.delete(userId);
    },
    now: () => sessions > 0 ? { redelivered: { sessions, users: { count, first } } } : {},
  };
};

/** Users that have been begun and have not ended, each with where its walk stands or what tells that. */
type Open = Map<string, unknown>;

const stateOf = (state: unknown): unknown => typeof state === "function" ? state() : state;

const isSpent = <E>(cause: Cause.Cause<Option.Option<E>>): boolean =>
  Option.exists(Cause.failureOption(cause), Option.isNone);

const causeOf = <E>(cause: Cause.Cause<Option.Option<E>>): Cause.Cause<E> =>
  Cause.flatMap(cause, Option.match({ onNone: () => Cause.empty, onSome: Cause.fail }));

/**
 * Goes on with the run to its end, and puts it into the manifest. If it is broken off, completes what has come by then, and
 * then fails as the run did. Can't be interrupted but between batches.
 */
export const goOn = <E, R>(
  options: DatasetOptions<E, R>,
  manifest: Manifest.Manifest,
  { header, cuts }: Journal.Journal,
  { prove }: Lease,
) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { root, walk = {}, partRows = PART_ROWS, partBytes = PART_BYTES, lookback } = options;
      const { change = (batch: Batch.Batch) => batch, progress = Export.noProgress(), maxRejected } = options;
      const began = yield* Clock.currentTimeMillis;
      const { traffic } = yield* TenantHttp;
      const asked = traffic();
      const standing = cuts.at(-1)?.standing ?? header.standing;
      const append = yield* Journal.append(root, prove);
      const found = { manifest, journal: { header, cuts } };
      const parts = cuts.flatMap((cut) => cut.parts);
      const marks = header.kind === "full"
        ? undefined
        : yield* restore(Cursors.load(root, [...manifest.parts, ...parts]));

      const redelivered = counterOf(standing.redelivered);
      // What an earlier run came upon of them is not known here.
      const isWhole = header.prune_report === true;
      const halfRead = new Set(
        header.standing.open.filter(({ state }) => state !== undefined).map(({ user_id }) => user_id),
      );

      const open: Open = new Map();
      const failed = new Map<string, Manifest.Manifest["failed"][number]>();
      let position = standing.position;
      const startOf = (userId: string, state?: unknown): SessionSource.Start => {
        open.set(userId, state);
        const mark = marks?.get(userId);
        return { userId, state, mark: mark === undefined ? undefined : JSON.parse(mark) };
      };
      const left = [...standing.open, ...standing.failed].map(({ user_id, state }) =>
        startOf(user_id, state)
      );
      const users = Stream.concat(
        Stream.fromIterable(left),
        Stream.map(UsersFile.from(root, header, position), (userId) => {
          position++;
          return startOf(userId);
        }),
      );
      const { sort, ...rest } = walk;
      const areListed = options.users.all;

      const loadIndex = Effect.gen(function* () {
        const rowsTotal = SessionIndex.partsOf([...manifest.parts, ...parts])
          .reduce((sum, { rows }) => sum + rows, 0);
        progress.compared = { rows: 0, rowsTotal };
        const index = SessionIndex.load({
          reader: { root, purpose: "tell what was removed", progress: progress.compared },
          parts: [...manifest.parts, ...parts],
          runs: [...manifest.runs, header],
        });
        yield* Effect.addFinalizer(() => Effect.promise(() => index.return(undefined as never)));
        while (true) {
          const { done, value } = yield* restore(CheckedReader.attempt(() => index.next()));
          if (done) return value;
        }
      }).pipe(Effect.scoped, Effect.ensuring(Effect.sync(() => delete progress.compared)));
      // Needed as long as users are walked.
      let index = isWhole ? yield* loadIndex : undefined;

      const source = sort === undefined
        ? SessionSource.changes(users, {
          ...rest,
          since: header.since,
          lookback,
          whole: isWhole,
          holds: isWhole ? (...session) => index?.holds(...session) ?? "lacks" : undefined,
          onFailure: "continue",
          areListed,
        })
        : SessionSource.batches(users, { ...rest, sort, onFailure: "continue", areListed });

      const tally = tallyOf(standing, progress);
      const partsOptions = { ...options, onInvalid: options.onInvalid, run: header.run, prove };
      // The number that the journal says is taken, by this process.
      let number = cuts.reduce((number, { claims = number }) => Math.max(number, claims), header.claims ?? 0);
      let current = yield* PartWriter.make(partsOptions, number);
      let cutNumber = cuts.length;
      let isChanged = false;
      // Then the cut that follows is the last.
      let isBroken = false;

      const markOf = (userId: string, end: Batch.WalkEnd): string | undefined => {
        const mark = end.mark === undefined ? undefined : JSON.stringify(end.mark);
        if (!Tombstones.isUserGone(end)) return mark;
        if (mark !== undefined) return Cursors.forget(mark);
        const before = marks?.get(userId);
        // Some of it may have been delivered in this run before it was not there any more.
        return before !== undefined || open.get(userId) !== undefined
          ? Cursors.forget(before ?? `{"seen":[]}`, began / 1000)
          : undefined;
      };

      const takeIn = (batch: Batch.Batch) =>
        Effect.gen(function* () {
          const { userId, rejected, end, state } = batch;
          if (Batch.size(batch) > 0 || rejected.length > 0) {
            progress.encodedBytes += yield* current.write(batch);
          }
          const mark = end && sort === undefined ? markOf(userId, end) : undefined;
          if (mark !== undefined && mark !== marks?.get(userId)) {
            yield* current.keep("state", [Cursors.lineOf(userId, mark)]);
            marks?.set(userId, mark);
          }
          const seen = isWhole && !halfRead.has(userId) ? Tombstones.seenLines(batch) : [];
          if (seen.length > 0) yield* current.keep("seen", seen);
          Export.count(tally, batch);
          redelivered.add(batch);
          isChanged = true;
          if (end === undefined) {
            if (state !== undefined) open.set(userId, state);
            return;
          }
          if (end.status === "failed") {
            failed.set(userId, {
              user_id: userId,
              message: end.message ?? "",
              state: stateOf(open.get(userId)),
            });
          }
          open.delete(userId);
        });

      const standingNow = Effect.map(Clock.currentTimeMillis, (now): Manifest.Standing => {
        const { requests, retries } = traffic();
        return {
          position,
          open: [...open].map(([user_id, state]) => ({ user_id, state: stateOf(state) })),
          failed: [...failed.values()],
          progress,
          missing: tally.missing,
          unverified: tally.unverified,
          ...redelivered.now(),
          seconds: standing.seconds + (now - began) / 1000,
          requests: standing.requests + requests - asked.requests,
          retries: standing.retries + retries - asked.retries,
        };
      });

      const cut = Effect.gen(function* () {
        if (!isChanged && current.size().rows === 0) return;
        const complete = yield* current.commit;
        const at = new Date(yield* Clock.currentTimeMillis).toISOString();
        if (complete.length > 0) number++;
        yield* append({
          cut: cutNumber++,
          at,
          parts: complete,
          ...(complete.length > 0 && !isBroken && { claims: number }),
          standing: yield* standingNow,
        });
        yield* current.discard;
        isChanged = false;
        parts.push(...complete);
        current = yield* PartWriter.make(partsOptions, number);
      });

      const isFull = () => {
        const { rows, bytes } = current.size();
        return rows >= partRows || bytes >= partBytes;
      };

      const walkAll = Effect.scoped(Effect.gen(function* () {
        const pull = yield* Stream.toPull(source);
        while (true) {
          const pulled = yield* Effect.exit(restore(pull));
          if (Exit.isFailure(pulled)) return isSpent(pulled.cause) ? Cause.empty : causeOf(pulled.cause);
          for (const batch of pulled.value) {
            yield* takeIn(change(batch));
            if (isFull()) yield* cut;
            const judged = yield* Effect.exit(Export.checkRejected(tally, maxRejected, "now"));
            if (Exit.isFailure(judged)) return judged.cause;
          }
        }
      }));

      const finish = Effect.gen(function* () {
        const broken: Cause.Cause<ApiError | OutputError | Layout.DatasetError | Export.ExportError> =
          yield* walkAll;
        if (!Cause.isEmpty(broken)) {
          isBroken = true;
          yield* cut;
          return yield* Effect.failCause(broken);
        }
        yield* Effect.tapError(Export.checkRejected(tally, maxRejected, "end"), () => cut);
        yield* Effect.onError(
          Export.checkUsers(tally),
          () => Effect.ignore(parts.length === 0 ? Inspect.forget(root, found, prove) : Effect.void),
        );
        yield* forgetAbsent;
        index = undefined;
        // An export without a session is one as well: with its columns, if nothing else.
        if (![...manifest.parts, ...parts].some(Manifest.isResult)) yield* current.openFiles;
        isChanged = true;
        yield* cut;
        // The journal speaks of all sessions now; what follows is made anew if it is broken off.
        const removed = isWhole ? yield* tellRemoved : undefined;
        const isCompact = marks !== undefined && isBloated([...manifest.parts, ...parts], marks);
        if (isCompact) {
          for (const mark of marks) yield* current.keep("state", [Cursors.lineOf(...mark)]);
        }
        const last = yield* current.commit;
        parts.push(...last);
        return {
          nextPart: last.length > 0 ? number + 1 : number,
          summary: { ...yield* summaryNow, ...(removed && { removed }) },
          isCompact,
        };
      });

      /** Of users that the tenant lists no more everything is delivered should they come back. */
      const forgetAbsent = Effect.gen(function* () {
        if (header.all_users !== true || marks === undefined) return;
        const asked = new Set(header.standing.open.map(({ user_id }) => user_id));
        const listed = Stream.runForEach(
          UsersFile.from(root, header, 0),
          (userId) => Effect.sync(() => void asked.add(userId)),
        );
        yield* Effect.onInterrupt(restore(listed), () => Effect.ignore(cut));
        for (const [userId, mark] of marks) {
          const forgotten = asked.has(userId) ? mark : Cursors.forget(mark);
          if (forgotten === mark) continue;
          yield* current.keep("state", [Cursors.lineOf(userId, forgotten)]);
          marks.set(userId, forgotten);
        }
      });

      const tellRemoved = Effect.gen(function* () {
        const [vouched, counts] = [{ users: 0 }, { gone: 0, again: 0 }];
        const all = [...manifest.parts, ...parts];
        progress.compared = { rows: 0, rowsTotal: Tombstones.rowsOf(all) };
        const found = Tombstones.compare({
          reader: { root, purpose: "tell what was removed", progress: progress.compared },
          parts: all,
          runs: [...manifest.runs, header],
          stamp: { part: number, run: header.run, as_of: header.began },
          vouched,
        });
        yield* Effect.addFinalizer(() => Effect.promise(() => found.return(undefined)));
        // Whoever reads the folder is to find a file there, if with nothing in it.
        if (!all.some(({ format }) => format === "removed")) yield* current.keep("removed", []);
        while (true) {
          const { done, value } = yield* restore(CheckedReader.attempt(() => found.next()));
          if (done) return { ...vouched, ...counts };
          for (const { gone } of value) counts[gone ? "gone" : "again"]++;
          if (value.length > 0) {
            yield* current.keep("removed", value.map((line) => `${JSON.stringify(line)}\n`));
          }
        }
      }).pipe(Effect.scoped);

      const summaryNow = Effect.gen(function* () {
        const { seconds, requests, retries } = yield* standingNow;
        const { run, kind, began, options, user_doubts } = header;
        const { users, sessions, rejected, unverified, missing } = progress;
        return {
          ...{
            run,
            kind,
            began,
            options,
            user_doubts,
            users,
            sessions,
            rejected,
            seconds,
            requests,
            retries,
          },
          ended: new Date(yield* Clock.currentTimeMillis).toISOString(),
          bytes: parts.filter(Manifest.isResult).reduce((sum, { bytes }) => sum + bytes, 0),
          verified: unverified === 0 && progress.failed === 0 && user_doubts.length === 0,
          missing: { count: missing, first: tally.missing },
          unverified: { count: unverified, first: tally.unverified },
          ...(header.since !== undefined && { since: header.since }),
          ...redelivered.now(),
        } satisfies Manifest.Run;
      });

      const { summary, isCompact, nextPart } = yield* Effect.ensuring(
        finish,
        Effect.suspend(() => current.discard),
      );
      const all = [...manifest.parts, ...parts];
      const isSuperseded = ({ format, part }: Manifest.Part) =>
        format === "seen" || (isCompact && format === "state" && part < number);
      const superseded = all.filter(isSuperseded);
      const whole: Manifest.Manifest = {
        ...manifest,
        dataset_id: header.dataset_id ?? manifest.dataset_id ?? crypto.randomUUID(),
        runs: [...manifest.runs, summary],
        parts: all.filter((part) => !isSuperseded(part)),
        // Of those that were superseded before this run only results matter: they are in the totals of their runs.
        superseded: [...(manifest.superseded ?? []).filter(Manifest.isResult), ...superseded],
        next_part: nextPart,
        failed: [...failed.values()],
      };
      yield* Layout.replace(root, Layout.names.manifest, Manifest.textOf(whole), prove);
      yield* Inspect.forget(root, { manifest: whole, journal: found.journal }, prove);
      yield* Layout.remove(root, superseded.map(({ path }) => path), prove);
      return {
        summary,
        failed: { count: progress.failed, first: tally.failed },
        files: parts.filter(Manifest.isResult),
      };
    })
  );

/** Whether most of the marks kept are no longer those that count. */
const isBloated = (parts: ReadonlyArray<Manifest.Part>, marks: Cursors.Marks): boolean =>
  parts.reduce((sum, { format, rows }) => sum + (format === "state" ? rows : 0), 0) > 2 * marks.size + 1000;
