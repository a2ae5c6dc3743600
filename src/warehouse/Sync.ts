/**
 * Sync: sessions of users straight into a table that equals the tenant.
 *
 * **Why nothing is lost or repeated.** Rows, cursors and walk states of a checkpoint are written in one transaction. Whenever a
 * process ends, the table is as of some checkpoint, and the next run begins where that one says. What is delivered twice is the
 * same row of the table.
 */
import * as Cause from "effect/Cause";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Option from "effect/Option";
import type * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import type { ApiError } from "../api/ApiError.ts";
import * as SessionFilters from "../api/SessionFilters.ts";
import { TenantClient, type Traffic } from "../api/TenantClient.ts";
import * as Cursors from "../dataset/Cursors.ts";
import * as RunState from "../dataset/RunState.ts";
import * as Tombstones from "../dataset/Tombstones.ts";
import * as Export from "../export/Export.ts";
import type { Batch, WalkEnd } from "../session/Batch.ts";
import * as SessionSource from "../source/SessionSource.ts";
import type { UserList } from "../source/UserList.ts";
import * as Attempt from "./Attempt.ts";
import * as Commits from "./Commits.ts";
import * as Report from "./Report.ts";
import * as WarehouseOptions from "./WarehouseOptions.ts";
import type * as Store from "./Store.ts";
import * as TableRows from "./TableRows.ts";
import type { TargetError } from "./Target.ts";

/** Options of {@link sync}. */
export interface SyncOptions<E, R> extends WarehouseOptions.WarehouseOptions {
  readonly users: UserList<E, R>;
  /** The tenant's origin, to record it and to keep tenants apart. */
  readonly tenant: string;
  /** Options of walks. What chooses sessions must stay the same from run to run. */
  readonly walk?: Omit<SessionSource.SessionSourceOptions, "onFailure" | "sort"> | undefined;
  /**
   * Reads every user's list to its end, brings in what the table lacks, and ends what it has and the tenant lists no more.
   * Nothing is said of users whose walk is not verified.
   *
   * @default {false}
   */
  readonly prune?: boolean | undefined;
  /** Seconds, see {@link SessionSource.ChangesOptions}. @default {300} */
  readonly lookback?: number | undefined;
  /** Done to each batch before it is written. */
  readonly change?: ((batch: Batch) => Batch) | undefined;
  /** The policy that {@link change} follows, to record it: it must stay the same from run to run. */
  readonly redaction?: Readonly<Record<string, unknown>> | undefined;
  /** Limit of {@link Export.run}, over the whole run. */
  readonly maxQuarantined?: Export.MaxQuarantined | undefined;
  /** Kept up to date as the run goes on. */
  readonly progress?: Export.Progress | undefined;
}

/** What a run writes down for the process that goes on with it. */
interface SavedProgress {
  readonly progress: Export.Progress;
  readonly missing: ReadonlyArray<string>;
  readonly unverified: ReadonlyArray<Export.UnverifiedUser>;
}

/** Give what a run had come to. Another process than the one before asks for every user again, if only for changes. */
const savedOf = ({ progress: saved }: Store.Standing, isOther: boolean): SavedProgress => {
  const { progress, missing, unverified } = saved as SavedProgress | undefined ??
    { progress: Export.noProgress(), missing: [], unverified: [] };
  if (!isOther) return { progress, missing, unverified };
  const { sessions, quarantined } = progress;
  return { progress: { ...Export.noProgress(), sessions, quarantined }, missing: [], unverified: [] };
};

/** What happened to a user since the last checkpoint. */
interface Touched {
  /** Gives where the walk stands; undefined once it has ended. */
  readonly state: (() => unknown) | undefined;
  readonly end: WalkEnd | undefined;
  /** True of a walk that reads the whole list. */
  readonly isWhole: boolean;
}

/** Ids of an answer that its rows do not tell: of rows that were quarantined or left out; empty text for a row without one. */
const otherIds = ({ observedIds = [] }: Batch, { sessions }: TableRows.Taken): ReadonlyArray<string> => {
  const told = new Set(sessions.map((values) => values[TableRows.idColumn]));
  return observedIds.map((id = "") => id).filter((id) => !told.has(id) && TableRows.isGood(id));
};

const isSpent = <E>(cause: Cause.Cause<Option.Option<E>>): boolean =>
  Option.exists(Cause.failureOption(cause), Option.isNone);

const causeOf = <E>(cause: Cause.Cause<Option.Option<E>>): Cause.Cause<E> =>
  Cause.flatMap(cause, Option.match({ onNone: () => Cause.empty, onSome: Cause.fail }));

/** What a process knows of its run, whatever became of a connection. */
interface Known {
  /** What it started from: where the run stood, and what had been asked of the tenant before. */
  start?: {
    readonly at: number;
    readonly traffic: Traffic;
    readonly standing: Store.Standing;
    /** Users that an earlier process was done with: they may have changed since. */
    readonly doneBefore: ReadonlySet<string>;
  };
  /** The report, but for the counts of the last commit, of which no answer came. */
  report?: Omit<Report.Report, keyof ReturnType<typeof Report.countsOf>>;
}

/** Work of one process on a run: walks the users that are not done, with a checkpoint now and then. */
const work =
  <E, R>(options: SyncOptions<E, R>, ids: Effect.Effect<ReadonlyArray<string>, E, R>, known: Known) =>
  ({ store, begun }: Attempt.Work) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        if (begun.isEnded) return { ...known.report!, ...Report.countsOf(begun.counts) };
        const { users, walk = {}, prune = false, lookback, change = (batch) => batch, maxQuarantined } =
          options;
        const { progress: shown = Export.noProgress(), target } = options;
        const { deletes, checkpointRows, checkpointEvery, take } = WarehouseOptions.settle(options);
        const { traffic } = yield* TenantClient;
        const startedAt = yield* Clock.currentTimeMillis;
        const cursors = yield* Attempt.call(() => store.cursors());
        const isDone = (userId: string) => cursors.get(userId)?.run === begun.run;
        const isFirst = known.start === undefined;
        const { at, traffic: prior, standing: base, doneBefore } = known.start ??= {
          at: startedAt,
          traffic: traffic(),
          standing: begun.standing,
          doneBefore: new Set([...cursors.keys()].filter(isDone)),
        };
        const saved = savedOf(begun.standing, isFirst);
        const tally = RunState.tallyOf({ ...saved, failed: [], open: [] }, shown);
        const listed = yield* restore(ids);
        const unverifiedReasons = users.unverifiedReasons?.() ?? [];
        const isVerifiedList = users.all === true && unverifiedReasons.length === 0;
        const asked = new Set(listed);
        if (prune && isVerifiedList) {
          for (const userId of yield* Attempt.call(() => store.liveUsers())) asked.add(userId);
        }
        shown.usersTotal = asked.size;

        const startOf = (userId: string): SessionSource.Start => {
          const { cursor, state } = cursors.get(userId) ?? { cursor: null, state: null };
          return {
            userId,
            ...(cursor !== null && { cursor: JSON.parse(cursor) }),
            ...(state !== null && { state: JSON.parse(state) }),
          };
        };
        const isAnyKnown = [...asked].some((userId) => cursors.has(userId));
        const walking = (userIds: ReadonlyArray<string>, whole: boolean) =>
          SessionSource.changes(Stream.map(Stream.fromIterable(userIds), startOf), {
            ...walk,
            onFailure: "continue",
            areListed: users.all,
            lookback,
            whole,
            // What the table has is compared there: all that is listed goes to it.
            holds: whole ? () => "lacks" : undefined,
          });
        const left = [...asked].filter((userId) => !isDone(userId));
        const again = [...asked].filter((userId) => doneBefore.has(userId));
        const source = prune
          ? Stream.concat(walking(left, true), walking(again, false))
          : walking([...left, ...again], false);

        const touched = new Map<string, Touched>();
        let waitingSince: number | undefined;

        const cursorOf = (userId: string, end: WalkEnd): string | null => {
          const before = cursors.get(userId)?.cursor ?? null;
          const cursor = end.cursor === undefined ? undefined : JSON.stringify(end.cursor);
          if (!Tombstones.isUserGone(end)) return cursor ?? before;
          return cursor !== undefined || before !== null
            ? Cursors.forget(cursor ?? before!, cursor === undefined ? startedAt / 1000 : undefined)
            : null;
        };
        const listedOf = ({ state, end, isWhole }: Touched): Store.Listed => {
          if (!isWhole && !(end !== undefined && prune && Tombstones.isUserGone(end))) return "";
          if (end === undefined) return state === undefined ? "" : "open";
          if (Tombstones.isUserGone(end)) return "gone";
          return end.status === "complete" && end.verified ? "whole" : "";
        };
        const rowOf = ([userId, its]: readonly [string, Touched]): Store.StagedUser => {
          const { cursor = null, state: before = null, run = 0 } = cursors.get(userId) ?? {};
          const { state, end } = its;
          const base = { userId, listed: listedOf(its) };
          if (end === undefined) {
            return { ...base, cursor, state: state === undefined ? before : JSON.stringify(state()), run };
          }
          if (end.status !== "failed") {
            return { ...base, cursor: cursorOf(userId, end), state: null, run: begun.run };
          }
          // A list that is read in two runs tells nothing of what has ended: the next run begins it anew.
          const reached = prune ? null : state === undefined ? before : JSON.stringify(state());
          return { ...base, cursor, state: reached, run };
        };

        const standing = Effect.map(Clock.currentTimeMillis, (now): Store.Standing => {
          const { requests, retries } = traffic();
          const { progress, missing, unverified } = tally;
          const { users, failed, sessions } = progress;
          return {
            users,
            sessions,
            requests: base.requests + requests - prior.requests,
            retries: base.retries + retries - prior.retries,
            seconds: base.seconds + (now - at) / 1000,
            // Users that failed are tried again by whoever goes on.
            progress: {
              progress: { ...progress, users: users - failed, failed: 0 },
              missing: [...missing],
              unverified: [...unverified],
            } satisfies SavedProgress,
          };
        });

        const commits = Commits.make(store);

        /** Make a checkpoint of all that came. */
        const checkpoint = (
          more: Partial<Store.Checkpoint> = {},
          others: ReadonlyArray<Store.StagedUser> = [],
        ) =>
          Effect.gen(function* () {
            const rows = [...[...touched].map(rowOf), ...others];
            const at = new Date(yield* Clock.currentTimeMillis).toISOString();
            for (const row of rows) cursors.set(row.userId, row);
            touched.clear();
            waitingSince = undefined;
            return {
              at,
              users: rows,
              deletes,
              standing: yield* standing,
              ...more,
            } satisfies Store.Checkpoint;
          });

        const ingest = (served: Batch) =>
          Effect.gen(function* () {
            const batch = change(served);
            const { userId, end, state } = batch;
            const taken = TableRows.ofBatch(batch, take);
            const others = prune ? otherIds(served, taken) : [];
            yield* Attempt.call(() => store.write(taken));
            if (others.length > 0) yield* Attempt.call(() => store.observe(userId, others));
            Export.count(tally, batch);
            tally.progress.quarantined += taken.quarantined.length - batch.quarantined.length;
            touched.set(userId, {
              state: state ?? touched.get(userId)?.state,
              end,
              isWhole: served.observedIds !== undefined,
            });
            waitingSince ??= yield* Clock.currentTimeMillis;
          });

        /** Gives why it broke off; an empty cause if it did not. */
        const walkAll: Effect.Effect<
          Cause.Cause<ApiError | Export.ExportError>,
          TargetError,
          TenantClient
        > = Effect.scoped(Effect.gen(function* () {
          const pull = yield* Stream.toPull(source);
          while (true) {
            const pulled = yield* Effect.exit(restore(pull));
            if (Exit.isFailure(pulled)) return isSpent(pulled.cause) ? Cause.empty : causeOf(pulled.cause);
            for (const batch of pulled.value) {
              yield* ingest(batch);
              const now = yield* Clock.currentTimeMillis;
              const isDue = store.isDue(checkpointRows) || now - waitingSince! >= checkpointEvery;
              if (isDue) yield* commits.begin(yield* checkpoint());
              yield* commits.check;
              const judged = yield* Effect.exit(Export.checkQuarantined(tally, maxQuarantined, "now"));
              if (Exit.isFailure(judged)) return judged.cause;
            }
          }
        }));

        const breakOff = <A>(cause: Cause.Cause<A>) =>
          Effect.zipRight(Effect.flatMap(checkpoint(), commits.finish), Effect.failCause(cause));

        const broken = yield* walkAll;
        if (!Cause.isEmpty(broken)) return yield* breakOff(broken);
        const judged = yield* Effect.exit(
          Effect.zipRight(
            Export.checkQuarantined(tally, maxQuarantined, "end"),
            isAnyKnown ? Effect.void : Export.checkUsers(tally),
          ),
        );
        if (Exit.isFailure(judged)) return yield* breakOff(judged.cause);

        // Everything is delivered anew should a user come back that the tenant lists no more.
        const absent = isVerifiedList
          ? [...cursors.values()].filter(({ userId }) => !asked.has(userId)).flatMap((row) => {
            const forgotten = row.cursor === null ? null : Cursors.forget(row.cursor);
            return forgotten === row.cursor && row.state === null
              ? []
              : [{ ...row, cursor: forgotten, state: null, listed: "" as const }];
          })
          : [];
        const { progress, missing, unverified, failed } = tally;
        const verified = progress.unverified === 0 && progress.failed === 0 && unverifiedReasons.length === 0;
        const reasons = [
          ...unverifiedReasons,
          ...unverified.map(({ userId, unverifiedReasons }) => `${userId}: ${unverifiedReasons.join("; ")}`),
          ...failed.map(({ userId, message }) => `${userId}: ${message}`),
        ];
        const reportOf = ({ requests, retries, seconds }: Store.Standing) => ({
          target: target.name,
          run: begun.run,
          kind: prune ? "prune" as const : "sync" as const,
          began: begun.began,
          users: progress.users,
          sessions: progress.sessions,
          requests,
          retries,
          seconds,
          verified,
          missing: { count: progress.missing, first: missing },
          unverified: { count: progress.unverified, first: unverified },
          failed: { count: progress.failed, first: failed },
          userListUnverifiedReasons: unverifiedReasons,
        });
        known.report = reportOf(yield* standing);
        const last = yield* checkpoint({ end: { verified, unverifiedReasons: reasons } }, absent);
        const counts = yield* commits.finish(last);
        return { ...reportOf(last.standing), ...Report.countsOf(counts) } satisfies Report.Report;
      })
    );

/**
 * Bring a table up to date with the tenant: all sessions in a first run, what has changed in later ones.
 *
 * However it is broken off, the table is as of a checkpoint, and the next run that is asked for the same goes on. A connection
 * that is lost is made anew.
 *
 * Fails with a `TargetError`, with what `users` fails with, an `ApiError` or an `ExportError`.
 *
 * Memory: a batch, the rows of a checkpoint as far as the target holds them here, and the cursors of all users.
 */
export const sync = <E, R>(
  options: SyncOptions<E, R>,
): Effect.Effect<
  Report.Report,
  E | ApiError | TargetError | Export.ExportError,
  Exclude<R, Scope.Scope> | TenantClient
> =>
  Effect.gen(function* () {
    const { users, walk = {}, prune = false, tenant, redaction, target, history = false } = options;
    // The list is read once, whatever becomes of the connection.
    const ids = yield* Effect.cached(
      Effect.map(Stream.runCollect(users.ids), (chunk) => [...new Set(chunk)]),
    );
    const identity: Store.Identity = {
      tenant,
      filters: JSON.parse(JSON.stringify(SessionFilters.pick(walk))),
      redaction: redaction ?? null,
    };
    const asked: Store.Asked = {
      kind: prune ? "prune" : "sync",
      options: { users: users.identity ?? null, lookback: options.lookback ?? null },
    };
    return yield* Attempt.during(target, { identity, history }, asked, options, work(options, ids, {}));
  });
