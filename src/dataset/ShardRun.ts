/**
 * An attempt at a shard: the users of it are walked into a folder of the attempt's own, by the same loop as in a run that one
 * process does alone. What it says of them counts once the process that has the lease of the dataset publishes it.
 */
import { join } from "node:path";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import type { ApiError } from "../api/ApiError.ts";
import type { TenantClient } from "../api/TenantClient.ts";
import * as Export from "../export/Export.ts";
import type { SinkError } from "../sink/Sink.ts";
import * as Attempts from "./Attempts.ts";
import * as Cursors from "./Cursors.ts";
import type { DatasetError } from "./DatasetError.ts";
import type { DatasetOptions } from "./DatasetOptions.ts";
import * as Inspect from "./Inspect.ts";
import * as Layout from "./Layout.ts";
import * as Lease from "./Lease.ts";
import * as Manifest from "./Manifest.ts";
import * as RunLoop from "./RunLoop.ts";
import { fixedOptions, sameOptions } from "./SameOptions.ts";
import * as ShardFolder from "./ShardFolder.ts";
import * as UsersFile from "./UsersFile.ts";

/** Options of an attempt at a shard. What must stay the same within a run is compared with the run's. */
export interface ShardRunOptions extends
  Pick<
    DatasetOptions<never, never>,
    | "root"
    | "formats"
    | "tenant"
    | "lookback"
    | "walk"
    | "options"
    | "onInvalid"
    | "maxQuarantined"
    | "partRows"
    | "partBytes"
    | "change"
    | "progress"
  > {
  /** The id that {@link DatasetOptions.shards} handed out. */
  readonly shard: string;
}

/** Report of an attempt, over all attempts that it goes on from. */
export interface ShardReport {
  /** The name to publish it by. */
  readonly attempt: string;
  readonly summary: {
    readonly users: number;
    readonly sessions: number;
    readonly quarantined: number;
    readonly missing: number;
    readonly unverified: number;
    readonly failed: number;
    /** Sum of all parts. */
    readonly bytes: number;
    readonly seconds: number;
    readonly requests: number;
    readonly retries: number;
  };
  /** True if an earlier attempt had ended, which is the one named. */
  readonly wasFinished: boolean;
}

const reportOf = (
  { name, parts, last: { run_progress } }: Attempts.Ended,
  wasFinished: boolean,
): ShardReport => {
  const { progress: { users, sessions, quarantined, missing, unverified, failed }, ...rest } = run_progress;
  const { seconds, requests, retries } = rest;
  const bytes = parts.filter(Manifest.isResult).reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    attempt: name,
    summary: { users, sessions, quarantined, missing, unverified, failed, bytes, seconds, requests, retries },
    wasFinished,
  };
};

/** The users of a shard. */
const usersOf = (listRoot: string, header: Manifest.Header) =>
  Stream.runFold(
    UsersFile.from(listRoot, header, 0),
    new Set(header.run_progress.open.map(({ user_id }) => user_id)),
    (users, userId) => users.add(userId),
  );

/** Read what the dataset holds, as it was when the run began. */
const heldBy = (root: string, header: Manifest.Header, listRoot: string, id: string) =>
  Effect.gen(function* () {
    const { manifest } = yield* Inspect.readManifest(root);
    if (header.run !== 1 + (manifest?.runs.length ?? 0)) return yield* ShardFolder.absent(root, id);
    return manifest && { root, manifest, users: yield* usersOf(listRoot, header) };
  });

/** The cursors that lie beside a shard's list. */
const cursorsOf = (
  listRoot: string,
  { shard: { cursors }, journal_version, run }: ShardFolder.ShardHeader,
) => {
  const path = Layout.partPath(Manifest.folderOf("cursors", journal_version), 0, "ndjson");
  return cursors === undefined
    ? Effect.succeed(undefined)
    : Cursors.load(listRoot, [{ path, format: "cursors", part: 0, run, ...cursors }]);
};

/**
 * Runs one attempt at a shard to its end, from where the earlier ones have come. Any number of processes may be at the same
 * shard at once: each has a folder of its own. Broken off, it completes what has come by then, and the next attempt goes on
 * from there. Where an earlier one has ended, that is the result.
 *
 * Fails with a `DatasetError`: `Absent` if there is no such shard, or its run is over, `Options` if it was to be run with others. And
 * with an `ApiError`, a `SinkError` or an `ExportError`. Limits of quarantined rows that are a share are for the whole run.
 *
 * Memory: as for {@link Dataset.run}, of the users of the shard.
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
 * const client = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const root = await mkdtemp(join(tmpdir(), "example-"));
 * const formats = [Formats.choose("parquet")!];
 * const tenant = "https://sandbox.example";
 * const report = await Effect.runPromise(
 *   Dataset.run({
 *     root,
 *     formats,
 *     tenant,
 *     users: { ids: Stream.fromIterable(sandbox.userIds()) },
 *     shards: {
 *       count: 2,
 *       // Each shard as a job for another machine, say. Here they are walked one after the other.
 *       dispatch: (shards, publish) =>
 *         Effect.as(
 *           Effect.forEach(shards, ({ shard, id }) =>
 *             Dataset.runShard({ root, shard: id, formats, tenant }).pipe(
 *               Effect.flatMap(({ attempt }) => publish(shard, attempt)),
 *               Effect.orDie,
 *             )),
 *           [],
 *         ),
 *     },
 *   }).pipe(Effect.provide(client)),
 * );
 * console.assert(report.users === 3 && report.shards?.length === 2);
 * await rm(root, { recursive: true });
 * ```
 */
export const run = (options: ShardRunOptions): Effect.Effect<
  ShardReport,
  ApiError | SinkError | Export.ExportError | DatasetError,
  TenantClient
> =>
  Effect.gen(function* () {
    const { root, shard: id, tenant } = options;
    const header = yield* ShardFolder.read(root, id);
    const its = { tenant: header.tenant, ...header.options };
    yield* sameOptions(root, its, { tenant, ...fixedOptions(options) });
    const prove = ShardFolder.proofOf(root, id);
    return yield* Lease.proven(Effect.scoped(attempt(options, header, prove)), prove);
  });

const attempt = (options: ShardRunOptions, header: ShardFolder.ShardHeader, prove: Layout.Proof) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* (): Effect.fn.Return<
      ShardReport,
      ApiError | SinkError | Export.ExportError | DatasetError,
      TenantClient | Scope.Scope
    > {
      const { root, shard: id, progress = Export.noProgress(), maxQuarantined } = options;
      const earlier = yield* Attempts.furthest(root, header);
      const result = earlier && Attempts.endOf(earlier);
      if (result !== undefined) return reportOf(result, true);
      const listRoot = join(root, ShardFolder.folderOf(id));
      const { name, folder, journal } = yield* Attempts.begin(root, header, earlier, prove);
      progress.usersTotal = header.users;
      const max = maxQuarantined !== undefined && "count" in maxQuarantined ? maxQuarantined : undefined;
      const empty = Manifest.empty(header.tenant, header.journal_version);
      const run = yield* RunLoop.make({
        options: { ...options, root: join(root, folder), progress, maxQuarantined: max },
        areListed: header.shard.listed,
        manifest: { ...empty, page_size: header.shard.page_size },
        journal,
        lease: { prove },
        whole: {
          listRoot,
          cursors: yield* restore(cursorsOf(listRoot, header)),
          held: header.prune === true ? yield* restore(heldBy(root, header, listRoot, id)) : undefined,
        },
        restore,
      });
      const { checkpoints, sizes, state } = run;
      const work = Effect.gen(function* () {
        yield* RunLoop.walkUsers(run);
        yield* Effect.tapError(Export.checkQuarantined(state.tally, max, "end"), () => checkpoints.take());
        yield* checkpoints.end({ page_size: sizes.found() });
      });
      yield* Effect.ensuring(work, checkpoints.discard);
      return reportOf(yield* Attempts.ended(root, header, name), false);
    })
  );
