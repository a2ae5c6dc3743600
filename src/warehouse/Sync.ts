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
import { TenantClient } from "../api/TenantClient.ts";
import * as Export from "../export/Export.ts";
import type { Batch } from "../session/Batch.ts";
import * as SessionSource from "../source/SessionSource.ts";
import * as Attempt from "./Attempt.ts";
import * as Commits from "./Commits.ts";
import * as Report from "./Report.ts";
import * as WarehouseOptions from "./WarehouseOptions.ts";
import type * as Store from "./Store.ts";
import type { SyncOptions } from "./SyncOptions.ts";
import * as SyncPlan from "./SyncPlan.ts";
import * as SyncProgress from "./SyncProgress.ts";
import * as TableRows from "./TableRows.ts";
import type { TargetError } from "./Target.ts";
import * as UserStates from "./UserStates.ts";

export type { SyncOptions } from "./SyncOptions.ts";

/** Ids of an answer that its rows do not tell: of rows that were quarantined or left out; empty text for a row without one. */
const otherIds = ({ observedIds = [] }: Batch, { sessions }: TableRows.Taken): ReadonlyArray<string> => {
  const told = new Set(sessions.map((values) => values[TableRows.idColumn]));
  return observedIds.map((id = "") => id).filter((id) => !told.has(id) && TableRows.isGood(id));
};

/** Tell how far a run can be relied on. */
const outcomeOf = (
  { progress, missing, unverified, failed }: Export.Tally,
  userListUnverifiedReasons: ReadonlyArray<string>,
): Report.Outcome => ({
  verified: progress.unverified === 0 && progress.failed === 0 && userListUnverifiedReasons.length === 0,
  missing: { count: progress.missing, first: missing },
  unverified: { count: progress.unverified, first: unverified },
  failed: { count: progress.failed, first: failed },
  userListUnverifiedReasons,
});

const isSpent = <E>(cause: Cause.Cause<Option.Option<E>>): boolean =>
  Option.exists(Cause.failureOption(cause), Option.isNone);

const causeOf = <E>(cause: Cause.Cause<Option.Option<E>>): Cause.Cause<E> =>
  Cause.flatMap(cause, Option.match({ onNone: () => Cause.empty, onSome: Cause.fail }));

/** What a process knows of its run, whatever became of a connection. */
interface Known<E, R> {
  plan?: SyncPlan.SyncPlan<E, R>;
  origin?: SyncProgress.Origin;
  /** The report, but for the counts of the last commit, of which no answer came. */
  report?: Omit<Report.Report, keyof ReturnType<typeof Report.countsOf>>;
}

/** Put an answer where the next checkpoint takes it from, and count it. */
const ingest = <E, R>(
  { change = (batch) => batch }: SyncOptions<E, R>,
  { prune }: SyncPlan.SyncPlan<E, R>,
  take: TableRows.TakeOptions,
  { store }: Attempt.Work,
  users: UserStates.UserStates,
  tally: Export.Tally,
) =>
(served: Batch) =>
  Effect.gen(function* () {
    const batch = change(served);
    const taken = TableRows.ofBatch(batch, take);
    const others = prune ? otherIds(served, taken) : [];
    yield* Attempt.call(() => store.write(taken));
    if (others.length > 0) yield* Attempt.call(() => store.observe(batch.userId, others));
    Export.count(tally, batch);
    tally.progress.quarantined += taken.quarantined.length - batch.quarantined.length;
    users.touch(batch, served.observedIds !== undefined);
  });

/** Walk users: those that are left, and again those that an earlier process was done with, for changes alone. */
const walking = <E, R>(
  { walk = {}, lookback }: SyncOptions<E, R>,
  { users, prune, sizes, activity }: SyncPlan.SyncPlan<E, R>,
  states: UserStates.UserStates,
  left: ReadonlyArray<string>,
  again: ReadonlyArray<string>,
): Stream.Stream<Batch, ApiError, TenantClient> => {
  const changes = (userIds: ReadonlyArray<string>, whole: boolean) =>
    SessionSource.changes(Stream.map(Stream.fromIterable(userIds), states.startOf), {
      ...walk,
      sizes,
      onFailure: "continue",
      areListed: users.all,
      lookback,
      whole,
      // What the table has is compared there: all that is listed goes to it.
      holds: whole ? () => "lacks" : undefined,
    });
  const batches = prune
    ? Stream.concat(changes(left, true), changes(again, false))
    : changes([...left, ...again], false);
  return activity === undefined ? batches : activity.watch(batches);
};

/** Work of one process on a run: walks the users that are not done, with a checkpoint now and then. */
const work = <E, R>(options: SyncOptions<E, R>, known: Known<E, R>) => (its: Attempt.Work) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { store, begun } = its;
      if (begun.isEnded) return { ...known.report!, ...Report.countsOf(begun.counts) };
      const { maxQuarantined, target, progress = Export.noProgress() } = options;
      const plan = known.plan!;
      const { users, prune, activity } = plan;
      const { deletes, checkpointRows, checkpointEvery, take } = WarehouseOptions.settle(options);
      const { traffic } = yield* TenantClient;
      const beganAt = yield* Clock.currentTimeMillis;
      const cursors = yield* Attempt.call(() => store.cursors());
      const states = UserStates.make({ cursors, run: begun.run, prune, beganAt });
      const isOther = known.origin === undefined;
      const origin = known.origin ??= {
        at: beganAt,
        traffic: traffic(),
        standing: begun.standing,
        doneBefore: new Set([...cursors.keys()].filter(states.isDone)),
      };
      const tally = SyncProgress.resume(begun.standing, isOther, progress);
      const listed = yield* restore(plan.ids);
      const unverifiedList = users.unverifiedReasons?.() ?? [];
      const isVerifiedList = users.all === true && users.isPartial?.() !== true &&
        unverifiedList.length === 0;
      const asked = new Set(listed);
      if (prune && isVerifiedList) {
        for (const userId of yield* Attempt.call(() => store.liveUsers())) asked.add(userId);
      }
      progress.usersTotal = asked.size;
      const isAnyKnown = [...asked].some(states.isKnown);
      const source = walking(
        options,
        plan,
        states,
        [...asked].filter((userId) => !states.isDone(userId)),
        [...asked].filter((userId) => origin.doneBefore.has(userId)),
      );

      const commits = Commits.make(store);
      let waitingSince: number | undefined;

      /** Make a checkpoint of all that came. */
      const checkpoint = (
        more: Pick<Store.Checkpoint, "end" | "also"> = {},
        others: ReadonlyArray<Store.StagedUser> = [],
      ) =>
        Effect.map(Clock.currentTimeMillis, (now): Store.Checkpoint => {
          waitingSince = undefined;
          return {
            at: new Date(now).toISOString(),
            users: [...states.flush(), ...others],
            deletes,
            standing: SyncProgress.standingOf(origin, tally, traffic(), now),
            ...more,
          };
        });

      const takeIn = ingest(options, plan, take, its, states, tally);

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
            yield* takeIn(batch);
            const now = yield* Clock.currentTimeMillis;
            waitingSince ??= now;
            const isDue = store.isDue(checkpointRows) || now - waitingSince >= checkpointEvery;
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

      const outcome = outcomeOf(tally, unverifiedList);
      const reportOf = ({ requests, retries, seconds }: Store.Standing) => ({
        target: target.name,
        run: begun.run,
        kind: prune ? "prune" as const : "sync" as const,
        began: begun.began,
        users: tally.progress.users,
        sessions: tally.progress.sessions,
        requests,
        retries,
        seconds,
        ...outcome,
        ...(activity && { by_activity: activity.report(undefined) }),
      });
      // Everything is delivered anew should a user come back that the tenant lists no more.
      const absent = isVerifiedList ? states.absentFrom(asked) : [];
      const last = yield* checkpoint({
        end: { verified: outcome.verified, unverifiedReasons: Report.unverifiedReasonsOf(outcome) },
        also: () => plan.leave(store),
      }, absent);
      known.report = reportOf(last.standing);
      const counts = yield* commits.finish(last);
      const { lateUpTo, isExcused = () => false } = activity ?? {};
      const written = lateUpTo === undefined
        ? undefined
        : yield* Attempt.call(() => store.countWritten(begun.run, lateUpTo));
      const late = written && [...written].reduce((sum, [userId, n]) => isExcused(userId) ? sum : sum + n, 0);
      return {
        ...known.report,
        ...Report.countsOf(counts),
        ...(activity && { by_activity: activity.report(late) }),
      } satisfies Report.Report;
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
    const { users, walk = {}, tenant, redaction, target, history = false } = options;
    if (options.byActivity !== undefined && users.all !== true) {
      throw new RangeError("Cannot go by activity unless 'users' are all of the tenant");
    }
    const identity: Store.Identity = {
      tenant,
      filters: JSON.parse(JSON.stringify(SessionFilters.pick(walk))),
      redaction: redaction ?? null,
    };
    const known: Known<E, R> = {};
    const asked = (store: Store.Store) =>
      Effect.gen(function* () {
        const { prune, users } = known.plan ??= yield* SyncPlan.make(
          options,
          yield* Attempt.call(() => store.meta()),
        );
        return {
          kind: prune ? "prune" : "sync",
          options: { users: users.identity ?? null, lookback: options.lookback ?? null },
        } satisfies Store.Asked;
      });
    return yield* Attempt.during(target, { identity, history }, asked, options, work(options, known));
  });
