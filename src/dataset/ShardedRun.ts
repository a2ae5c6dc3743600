/**
 * A run whose users are walked in shards, by others. The process that has the lease deals the users, hands the shards out and
 * makes the first attempt of each that has ended part of the dataset, with one line of the journal; then it ends the run as any.
 *
 * **Why each shard counts once.** The parts of an attempt get names in the dataset by hard links, under numbers that the journal
 * says are taken, each by way of a partial file as any part. The line that names them names the shard as well. Before it the
 * links are nobody's, and the next process removes them; after it, no other attempt at this shard is published.
 */
import { randomUUID } from "node:crypto";
import { rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import * as Cause from "effect/Cause";
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import type { ApiError } from "../api/ApiError.ts";
import type { TenantClient } from "../api/TenantClient.ts";
import * as Export from "../export/Export.ts";
import * as FileSink from "../sink/FileSink.ts";
import * as SafeFile from "../sink/SafeFile.ts";
import type { SinkError } from "../sink/Sink.ts";
import * as Attempts from "./Attempts.ts";
import * as Checkpoints from "./Checkpoints.ts";
import * as Cursors from "./Cursors.ts";
import { attempt, damaged, DatasetError } from "./DatasetError.ts";
import type { FailedShard } from "../source/ShardPlan.ts";
import type { DatasetOptions, OpenShard, Publish, ShardsOptions } from "./DatasetOptions.ts";
import type * as Journal from "./Journal.ts";
import type * as Layout from "./Layout.ts";
import type { Lease } from "./Lease.ts";
import type * as Manifest from "./Manifest.ts";
import * as RunEnd from "./RunEnd.ts";
import * as ShardFolder from "./ShardFolder.ts";
import * as ShardPlan from "./ShardPlan.ts";
import * as ShardTotals from "./ShardTotals.ts";

type Failure = DatasetError | SinkError | Export.ExportError;

type Published = NonNullable<Manifest.Checkpoint["published"]>;

/** Give the parts of an attempt names in the dataset, from this number on. */
const nameParts = (root: string, { folder, parts }: Attempts.Ended, first: number, prove: Layout.Proof) =>
  Effect.gen(function* () {
    const numbers = [...new Set(parts.map(({ part }) => part))].sort((a, b) => a - b);
    const named = parts.map((part): Manifest.Part => {
      const number = first + numbers.indexOf(part.part);
      const name = `part-${String(number).padStart(5, "0")}`;
      return { ...part, part: number, path: part.path.replace(/part-\d+/, name) };
    });
    const folders = new Set(named.map(({ path }) => dirname(path)));
    for (const name of folders) yield* ShardFolder.makeFolder(root, name);
    yield* attempt("Commit", join(root, folder), async () => {
      for (const [i, { path }] of named.entries()) {
        const partial = `${path}.${randomUUID().slice(0, 8)}.partial`;
        try {
          await ShardFolder.link(root, parts[i]!, folder, partial);
          await prove();
          await rename(join(root, partial), join(root, path));
        } catch (error) {
          await SafeFile.remove(root, partial).catch(() => undefined);
          // Whoever has taken over removes what he finds half done: then that is what is to be told.
          await prove();
          throw error;
        }
      }
      for (const name of folders) await FileSink.syncFolder(join(root, name));
    });
    return named;
  });

const SAID = 10;

/** The error for shards that came to no end. */
const shardsFailed = (root: string, failed: ReadonlyArray<FailedShard>, of: number): DatasetError => {
  const said = failed.slice(0, SAID).map(({ shard, message }) =>
    `shard ${shard}: ${message.replace(/\.$/, "")}`
  )
    .join("; ");
  const more = failed.length > SAID
    ? `; and shards ${failed.slice(SAID).map(({ shard }) => shard).join(", ")}`
    : "";
  return new DatasetError({
    reason: "Shards",
    path: root,
    message: `${failed.length} of ${of} shards failed: ${said}${more}. ` +
      "The others are kept: --resume tries these again",
  });
};

/** The shards that are still to be walked, the heaviest first. */
const openShards = (root: string, key: string, count: number, published: ReadonlyMap<number, Published>) =>
  Effect.gen(function* () {
    const open: Array<OpenShard & { readonly header: ShardFolder.ShardHeader }> = [];
    for (let shard = 1; shard <= count; shard++) {
      if (published.has(shard)) continue;
      const id = ShardFolder.idOf(key, shard);
      const header = yield* Effect.catchIf(
        ShardFolder.read(root, id),
        (error) => error._tag === "DatasetError" && error.reason === "Absent",
        ({ path }) => damaged(path, "it is not there, and its shard is not published"),
      );
      open.push({ shard, id, users: header.users, weight: header.shard.weight, header });
    }
    return open.sort((one, other) => other.weight - one.weight);
  });

interface Run extends RunEnd.Run {
  readonly state: ShardTotals.ShardTotals;
  readonly published: Map<number, Published>;
  /** Takes note of the largest page that the tenant gave. */
  readonly foundSize: (size: number | undefined) => void;
}

/** Make what publishes one attempt after the other; the first failure to write ends the run by `broken`. */
const publisherOf = (
  run: Run,
  open: Effect.Effect.Success<ReturnType<typeof openShards>>,
  broken: Deferred.Deferred<never, Failure>,
) => {
  const { options: { root, maxQuarantined }, checkpoints, state, published, lease: { prove } } = run;
  const turn = Effect.unsafeMakeSemaphore(1);
  let isOver = false;
  const refuse = (shard: number, why: string) =>
    new DatasetError({ reason: "Shards", path: root, message: `Cannot publish shard ${shard}: ${why}` });
  const add = (shard: number, attempt: Attempts.Ended) =>
    Effect.gen(function* () {
      const { run_progress, ended } = attempt.last;
      const { users, sessions } = run_progress.progress;
      const line = { shard, attempt: attempt.name, users, sessions };
      const numbers = new Set(attempt.parts.map(({ part }) => part)).size;
      yield* checkpoints.publish(line, numbers, (first) =>
        Effect.tap(
          nameParts(root, attempt, first, prove),
          // The line that names the parts counts them, and none before it.
          () => Effect.sync(() => state.add(run_progress)),
        ));
      published.set(shard, line);
      run.foundSize(ended.page_size);
      yield* Export.checkQuarantined(state.tally, maxQuarantined, "now");
    });
  const publish: Publish = (shard, attempt) =>
    Effect.gen(function* () {
      if (published.has(shard)) return;
      const its = open.find((one) => one.shard === shard);
      if (its === undefined) return yield* refuse(shard, "there is no such shard");
      const found = yield* Attempts.ended(root, its.header, attempt);
      if (isOver) return yield* refuse(shard, "this run is no longer at work");
      yield* Effect.tapErrorCause(add(shard, found), (cause) => {
        isOver = true;
        return Deferred.failCause(broken, cause);
      });
    }).pipe(turn.withPermits(1), Effect.uninterruptible);
  const close = turn.withPermits(1)(Effect.sync(() => void (isOver = true)));
  return { publish, close };
};

/** Have all shards walked that are not published yet. */
const walkShards = <E, R>(run: Run, count: number, { dispatch }: ShardsOptions<E, R>) =>
  Effect.gen(function* () {
    const { options: { root, maxQuarantined }, header, state, published, restore } = run;
    yield* Export.checkQuarantined(state.tally, maxQuarantined, "now");
    const open = yield* openShards(root, header.shards!, count, published);
    if (open.length === 0) return;
    const broken = yield* Deferred.make<never, Failure>();
    const { publish, close } = publisherOf(run, open, broken);
    const shards = open.map(({ header: _, ...shard }) => shard);
    const told = yield* restore(Effect.raceFirst(dispatch(shards, publish), Deferred.await(broken))).pipe(
      Effect.ensuring(close),
      // Whoever dispatches may fail because of that, and would only hide it.
      Effect.catchAllCause((cause): Effect.Effect<never, E | Failure> =>
        Effect.flatMap(
          Deferred.poll(broken),
          (why) =>
            why._tag === "Some" && !Cause.isInterruptedOnly(cause) ? why.value : Effect.failCause(cause),
        )
      ),
    );
    if (yield* Deferred.isDone(broken)) yield* Deferred.await(broken);
    const failed = open.filter(({ shard }) => !published.has(shard)).map(({ shard }): FailedShard =>
      told.find((one) => one.shard === shard) ?? { shard, message: "no attempt was published" }
    );
    if (failed.length > 0) return yield* shardsFailed(root, failed.sort((a, b) => a.shard - b.shard), count);
  });

/**
 * Go on with a run in shards to its end, and put it into the manifest. If it is broken off, what was published by then stays, and
 * the others are handed out again by the next process.
 */
export const resume = <E, R>(
  { users: { all: areListed }, ...options }: DatasetOptions<E, R>,
  shards: ShardsOptions<E, R>,
  manifest: Manifest.Manifest,
  journal: Journal.Journal,
  lease: Lease,
) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* (): Effect.fn.Return<
      Effect.Effect.Success<ReturnType<typeof RunEnd.complete>>,
      E | ApiError | Failure,
      R | TenantClient | Scope.Scope
    > {
      const { root, progress = Export.noProgress() } = options;
      const { header } = journal;
      // Users that failed before are of the shards now, as all others.
      const before = journal.checkpoints.at(-1)?.run_progress ?? { ...header.run_progress, open: [] };
      const state = yield* ShardTotals.make(before, progress);
      const checkpoints = yield* Checkpoints.make(options, journal, lease, state.progress);
      const lines = journal.checkpoints.flatMap(({ published }) => published ?? []);
      const published = new Map(lines.map((one) => [one.shard, one]));
      let pageSize: number | undefined;
      const run: Run = {
        options,
        manifest,
        header,
        lease,
        state,
        checkpoints,
        progress,
        sizes: { found: () => pageSize },
        activity: undefined,
        late: 0,
        shards: () => [...published.values()].sort((one, other) => one.shard - other.shard),
        restore,
        published,
        foundSize: (size) => void (pageSize = Math.max(size ?? 0, pageSize ?? 0) || undefined),
      };
      const plan = Effect.gen(function* () {
        const { count, weightOf } = shards;
        const options = { root, header, manifest, count, weightOf, areListed, prove: lease.prove };
        const written = yield* restore(ShardPlan.write(options));
        yield* checkpoints.plan(written);
        return written;
      });
      const walk = Effect.gen(function* () {
        const planned = journal.checkpoints.find(({ shards }) => shards !== undefined)?.shards;
        yield* walkShards(run, planned ?? (yield* plan), shards);
        return header.kind === "full" ? undefined : yield* restore(Cursors.load(root, RunEnd.partsOf(run)));
      });
      return yield* RunEnd.complete(run, journal, walk);
    })
  );
