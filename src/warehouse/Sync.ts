/**
 * Sync: sessions of users straight into a table that equals the tenant.
 *
 * **Why nothing is lost or repeated.** Rows, cursors and walk states of a checkpoint are written in one transaction. Whenever a
 * process ends, the table is as of some checkpoint, and the next run begins where that one says. What is delivered twice is the
 * same row of the table.
 */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import type * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import type { ApiError } from "../api/ApiError.ts";
import type { TenantClient } from "../api/TenantClient.ts";
import * as Export from "../export/Export.ts";
import * as Attempt from "./Attempt.ts";
import { identityOf } from "./Preparation.ts";
import * as Report from "./Report.ts";
import type * as Store from "./Store.ts";
import type { SyncOptions } from "./SyncOptions.ts";
import * as SyncPlan from "./SyncPlan.ts";
import * as SyncWalk from "./SyncWalk.ts";
import * as ShardedWalk from "./ShardedWalk.ts";
import { TargetError } from "./Target.ts";

export type { SyncOptions } from "./SyncOptions.ts";

/** What a process knows of its run, whatever became of a connection. */
interface Known<E, R> extends SyncWalk.Known {
  plan?: SyncPlan.SyncPlan<E, R>;
  /** The users, as they were listed. */
  listed?: ReadonlySet<string>;
  /** The report, but for the counts of the last commit, of which no answer came. */
  report?: Omit<Report.Report, keyof ReturnType<typeof Report.countsOf>>;
}

/** Work of one process on a run: walks the users that are not done, with a checkpoint now and then. */
const work = <E, R>(options: SyncOptions<E, R>, known: Known<E, R>) => (its: Attempt.Work) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { store, begun } = its;
      if (begun.isEnded) return { ...known.report!, ...Report.countsOf(begun.counts) };
      const { maxQuarantined, target, progress = Export.noProgress() } = options;
      const plan = known.plan!;
      const { users, prune, activity } = plan;
      const standing = yield* SyncWalk.standingOf(its, known, { prune, progress, isShard: false });
      const { states, tally, origin } = standing;
      const listed = known.listed ??= new Set(yield* restore(Stream.runCollect(users.ids)));
      const unverifiedList = users.unverifiedReasons?.() ?? [];
      const isVerifiedList = users.all === true && users.isPartial?.() !== true &&
        unverifiedList.length === 0;
      const asked = new Set(listed);
      if (prune && isVerifiedList) {
        for (const userId of (yield* Attempt.call(() => store.liveCounts())).keys()) asked.add(userId);
      }
      progress.usersTotal = asked.size;
      const isAnyKnown = [...asked].some(states.isKnown);
      const common = {
        options,
        its,
        prune,
        areListed: users.all,
        sizes: plan.sizes,
        ...standing,
        left: [...asked].filter((userId) => !states.isDone(userId)),
        restore,
      };
      const again = [...asked].filter((userId) => origin.doneBefore.has(userId));
      const walked = options.shards === undefined
        ? yield* SyncWalk.run({ ...common, again, activity })
        : yield* ShardedWalk.run(common, options.shards);
      const judged = yield* Effect.exit(
        Effect.zipRight(
          Export.checkQuarantined(tally, maxQuarantined, "end"),
          isAnyKnown ? Effect.void : Export.checkUsers(tally),
        ),
      );
      if (Exit.isFailure(judged)) return yield* walked.breakOff(judged.cause);

      const outcome = Report.outcomeOf(tally, unverifiedList);
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
      const last = yield* walked.checkpoint({
        end: { verified: outcome.verified, unverifiedReasons: Report.unverifiedReasonsOf(outcome) },
        also: () => plan.leave(store, walked.pageSize()),
      }, absent);
      known.report = reportOf(last.standing);
      const counts = yield* walked.finish(last);
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
    if (options.shards !== undefined) {
      if (options.byActivity !== undefined) {
        throw new RangeError(
          "Cannot go by activity in shards: a run by activity asks few users, in one process",
        );
      }
      if (target.dialect.alone === undefined) {
        return yield* new TargetError({
          reason: "Options",
          target: target.name,
          message: `Cannot write to ${target.name} in shards, as one process at a time can open it. ` +
            "Export into a folder in shards and load that, or give a database on a server",
        });
      }
    }
    const identity = identityOf(tenant, walk, redaction);
    const known: Known<E, R> = {};
    const asked = (store: Store.Store) =>
      Effect.gen(function* () {
        const { prune, users } = known.plan ??= yield* SyncPlan.make(
          options,
          yield* Attempt.call(() => store.meta()),
        );
        return {
          kind: prune ? "prune" : "sync",
          options: {
            users: users.identity ?? null,
            lookback: options.lookback ?? null,
            ...(options.shards !== undefined && { shards: true }),
          },
        } satisfies Store.Asked;
      });
    return yield* Attempt.during(
      target,
      { identity, history, shards: options.shards !== undefined },
      asked,
      options,
      work(options, known),
    );
  });
