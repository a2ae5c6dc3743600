/**
 * A run into a folder that survives being killed at any moment: every session is in its parts exactly once, however often
 * it was broken off and gone on with.
 *
 * **Why.** Batches are taken one at a time, and each says where its walk stands after it. At a *checkpoint* every format's part is
 * completed: flushed to the disk, then renamed. Then one line goes to the journal and is flushed: it names the parts, and
 * says where every walk stood. Before that line the parts are not in the dataset, and the next run removes them and walks
 * from the line before; after it, they are, and the next run walks from there. There is nothing in between.
 *
 * @module
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import * as ByActivity from "../source/activity/ByActivity.ts";
import type { UserList } from "../source/UserList.ts";
import type * as Export from "../export/Export.ts";
import type { SinkError } from "../sink/Sink.ts";
import type { ApiError } from "../api/ApiError.ts";
import { TenantClient } from "../api/TenantClient.ts";
import { version } from "../version.ts";
import * as Layout from "./Layout.ts";
import * as Inspect from "./Inspect.ts";
import * as Journal from "./Journal.ts";
import * as Lease from "./Lease.ts";
import * as Manifest from "./Manifest.ts";
import * as Cursors from "./Cursors.ts";
import * as RunLoop from "./RunLoop.ts";
import * as ShardFolder from "./ShardFolder.ts";
import * as ShardedRun from "./ShardedRun.ts";
import { fixedOptions, sameOptions } from "./SameOptions.ts";
import * as UsersFile from "./UsersFile.ts";
import type { DatasetOptions } from "./DatasetOptions.ts";

export { DatasetError } from "./DatasetError.ts";
export type { FailedShard } from "../source/ShardPlan.ts";
export type { DatasetOptions, OpenShard, Publish, ShardsOptions } from "./DatasetOptions.ts";
export { run as runShard, type ShardReport, type ShardRunOptions } from "./ShardRun.ts";
export { type Report as ReplayReport, run as replay } from "./quarantine/Replay.ts";
export { type Report as VerifyReport, run as verify } from "./verify/Verify.ts";

/** Report of a run, over all processes that worked on it. */
export interface Report extends Manifest.Run {
  readonly failed: Export.Sample<Export.FailedUser>;
  readonly files: ReadonlyArray<Manifest.Part>;
  /** True if there was nothing to go on with. */
  readonly wasFinished: boolean;
}

/** Add the users of which earlier runs had sessions to those that are listed. */
const withEarlier = <E, R>(root: string, manifest: Manifest.Manifest, ids: Stream.Stream<string, E, R>) => {
  const listed = new Set<string>();
  const earlier = Effect.map(
    Cursors.load(root, manifest.parts),
    (cursors) =>
      Stream.fromIterable(cursors).pipe(
        Stream.filter(([userId, cursor]) => !listed.has(userId) && Cursors.hasSession(cursor)),
        Stream.map(([userId]) => userId),
      ),
  );
  return Stream.concat(
    Stream.tap(ids, (id) => Effect.sync(() => void listed.add(id))),
    Stream.unwrap(earlier),
  );
};

/**
 * Runs an export into a dataset, and reports what it did.
 *
 * However it is broken off (interrupted, refused by the tenant, out of patience, out of disk) what has come by then is
 * completed as parts if it can be, and `mode: "resume"` goes on from there. Only one process at a time may work on a folder.
 *
 * With `shards`, other processes walk the users, each by {@link runShard}; this one deals them and brings the run to its end.
 *
 * Fails with a `DatasetError`, with what `users` fails with, an `ApiError`, a `SinkError` or an `ExportError`.
 *
 * Memory: as for {@link Export.run}, the cursors of all users, and where each walk under way stands. With `prune`, 24 to
 * 48 bytes for each session of the dataset while users are walked, and as many again once they are.
 *
 * @example
 * ```ts
 * import { Dataset, Formats, TenantClient, Transport } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = Sandbox.make({ users: 3 });
 * const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const root = await mkdtemp(join(tmpdir(), "example-"));
 * const report = await Effect.runPromise(
 *   Dataset.run({
 *     root,
 *     formats: [Formats.choose("parquet")!],
 *     users: { ids: Stream.fromIterable(sandbox.userIds()) },
 *     tenant: "https://sandbox.example",
 *     mode: "resume",
 *   }).pipe(Effect.provide(tenant)),
 * );
 * console.assert(report.users === 3 && report.verified);
 * await rm(root, { recursive: true });
 * ```
 */
export const run = <E, R>(options: DatasetOptions<E, R>): Effect.Effect<
  Report,
  E | ApiError | SinkError | Export.ExportError | Layout.DatasetError,
  Exclude<R, Scope.Scope> | TenantClient
> =>
  Effect.suspend(() => {
    const { root, changes, prune = false, byActivity, users, shards } = options;
    if (
      byActivity !== undefined &&
      (changes !== "since-last" || users.all !== true || options.walk?.sort !== undefined)
    ) {
      throw new RangeError(
        `Cannot go by activity unless 'changes' is "since-last", 'users' are all of the tenant, and there is no 'sort'`,
      );
    }
    if (prune && changes !== "since-last") {
      throw new RangeError(
        `Cannot tell what was removed unless 'changes' is "since-last": it is ${JSON.stringify(changes)}`,
      );
    }
    if (shards !== undefined && byActivity !== undefined) {
      throw new RangeError("Cannot go by activity in shards: leave out 'byActivity' or 'shards'");
    }
    if (
      shards !== undefined && !(Number.isSafeInteger(shards.count) && shards.count >= 1 && shards.count < 1e4)
    ) {
      throw new RangeError(`Cannot deal users to ${shards.count} shards: 'count' must be from 1 to 9999`);
    }
    return Lease.during(root, (lease) => work(options, lease));
  });

/** Run with the lease of the folder. */
const work = <E, R>(options: DatasetOptions<E, R>, { prove }: Lease.Lease) =>
  Effect.gen(function* () {
    const { root, tenant, mode = "new", changes, prune = false, shards } = options;
    let { users }: { readonly users: UserList<E | ApiError, R | TenantClient> } = options;
    let activity: ByActivity.ByActivity | undefined;
    yield* Journal.recover(root, prove);
    const before = yield* Inspect.read(root);
    yield* Inspect.refuseOthers(root, before, mode, changes !== undefined);
    const found = yield* Inspect.removeOrphans(root, before, prove);
    const manifest = found.manifest ?? Manifest.empty(tenant, found.journal?.header.journal_version);
    const fixed = fixedOptions(options);
    yield* sameOptions(root, { tenant: manifest.tenant }, { tenant });

    let journal = Inspect.isUnfinished(found) ? found.journal : undefined;
    if (journal !== undefined) {
      const { header } = journal;
      const asksPrune = prune && header.kind !== "full";
      yield* sameOptions(root, {
        tenant: header.tenant,
        ...header.options,
        users: header.users_identity,
        // A run that was begun knows by itself whether there is a time to go by, and what it is to tell.
        ...(typeof changes === "object" && { since: header.since }),
        ...(asksPrune && { prune: header.prune }),
        // One that asks some users does not do for all.
        ...(header.partial_users && { by_activity: true }),
        ...(header.shards !== undefined && { shards: true }),
      }, {
        tenant,
        ...fixed,
        users: users.identity,
        ...(typeof changes === "object" && { since: changes.since }),
        ...(asksPrune && { prune }),
        ...(header.partial_users && { by_activity: options.byActivity !== undefined }),
        ...(shards !== undefined && { shards: true }),
      });
      journal = { header: { ...header, claims: Inspect.nextPart(found) }, checkpoints: journal.checkpoints };
      yield* Journal.write(root, journal, prove);
    } else {
      const last = manifest.runs.at(-1);
      if (last !== undefined) yield* sameOptions(root, last.options, fixed);
      if (last !== undefined && manifest.failed.length === 0 && changes === undefined) {
        return finished(manifest, last);
      }
      const isRetry = last !== undefined && changes === undefined;
      // Those that failed go on from where they did.
      const failed = new Set(manifest.failed.map(({ user_id }) => user_id));
      const kind = isRetry ? "retry" : last === undefined && typeof changes !== "object" ? "full" : "changes";
      // Users that failed are tried again for what they were asked for.
      const since = isRetry
        ? manifest.runs.findLast(({ kind }) => kind !== "replay")?.since
        : typeof changes === "object"
        ? changes.since
        : undefined;
      if (options.byActivity !== undefined && !isRetry) {
        const now = yield* Clock.currentTimeMillis;
        const { lookback } = options;
        activity = ByActivity.make({
          ...options.byActivity,
          state: manifest.activity,
          now,
          lookback,
          sweep: prune,
        });
        users = activity.users;
      }
      const isWhole = (prune || activity?.isSweep === true) && kind === "changes";
      const asked = isWhole && users.all === true ? withEarlier(root, manifest, users.ids) : users.ids;
      const ids: Stream.Stream<string, E | ApiError | SinkError | Layout.DatasetError, R | TenantClient> =
        isRetry ? Stream.empty : Stream.filter(asked, (id) => !failed.has(id));
      const { traffic } = yield* TenantClient;
      const prior = traffic();
      const path = Layout.newUsersName();
      const { rows: count, ...file } = yield* Layout.writeLines(root, path, UsersFile.linesOf(ids), prove);
      const { requests, retries } = traffic();
      const userListUnverifiedReasons = isRetry ? [] : users.unverifiedReasons?.() ?? [];
      const areAll = kind === "changes" && users.all === true && users.isPartial?.() !== true &&
        userListUnverifiedReasons.length === 0;
      const number = (last?.run ?? 0) + 1;
      const header: Manifest.Header = {
        journal_version: manifest.manifest_version,
        created_by: `monocloud-sessions ${version}`,
        dataset_id: manifest.dataset_id ?? crypto.randomUUID(),
        run: number,
        kind,
        began: new Date(yield* Clock.currentTimeMillis).toISOString(),
        tenant,
        options: fixed,
        ...(since !== undefined && { since }),
        ...(isWhole && { prune: true as const }),
        ...(areAll && { all_users: true as const }),
        ...(users.isPartial?.() && { partial_users: true as const }),
        ...(users.identity !== undefined && { users_identity: users.identity }),
        users_file: { path, ...file },
        claims: Inspect.nextPart(found),
        users: count + manifest.failed.length,
        user_list_unverified_reasons: userListUnverifiedReasons,
        by_activity: activity?.report(undefined),
        ...(shards !== undefined && { shards: ShardFolder.newKey(number) }),
        run_progress: {
          ...Manifest.noProgress(),
          requests: requests - prior.requests,
          retries: retries - prior.retries,
          open: manifest.failed.map(({ user_id, state }) => ({ user_id, state })),
        },
      };
      journal = { header, checkpoints: [] };
      yield* Journal.write(root, journal, prove);
    }
    if (options.progress !== undefined) options.progress.usersTotal = journal.header.users;
    const { files, summary, failed } = yield* shards === undefined
      ? RunLoop.resume(options, manifest, journal, { prove }, activity)
      : ShardedRun.resume(options, shards, manifest, journal, { prove });
    return { ...summary, failed, files, wasFinished: false };
  });

const finished = (manifest: Manifest.Manifest, last: Manifest.Run): Report => ({
  ...last,
  failed: { count: 0, first: [] },
  files: manifest.parts.filter((part) => part.run === last.run && Manifest.isResult(part)),
  wasFinished: true,
});
