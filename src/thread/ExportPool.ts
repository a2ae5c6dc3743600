/**
 * Many exports over several threads, under one rate limit.
 *
 * @module
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import type * as Scope from "effect/Scope";
import * as Export from "../export/Export.ts";
import * as Options from "../options/Options.ts";
import * as HttpPolicy from "../api/HttpPolicy.ts";
import * as RateLimiter from "../api/rate/RateLimiter.ts";
import type { Failure } from "./Failures.ts";
import type { Report } from "./Messages.ts";
import * as RemoteExport from "./RemoteExport.ts";
import * as Thread from "./Thread.ts";
import type { ThreadError } from "./ThreadError.ts";

/** Of which tenant, and over how many threads. */
export interface ExportPoolOptions extends Thread.ThreadOptions {
  /** Its `rate` and `burst` hold for all threads together, and so does what the tenant asks for with 429 and `Retry-After`. */
  readonly tenant: HttpPolicy.TenantOptions;
  /** More than there are cores gain nothing. @default {2} */
  readonly threads?: number | undefined;
  /**
   * How many exports a thread has under way at once. Exports of one user each are mostly waiting for one request: several
   * keep the thread busy. Each holds what an export holds (Parquet: a row group).
   *
   * @default {4}
   */
  readonly exportsPerThread?: number | undefined;
}

/** One export of a pool: some users, and where their sessions go. */
export interface PoolExport extends Omit<Thread.ExportOptions, "tenant" | "onProgress"> {
  readonly users: ReadonlyArray<string>;
}

/** What to be told while a pool works. */
export interface PoolRunOptions {
  /** Told how far all exports together have come. */
  readonly onProgress?: ((progress: Export.Progress) => void) | undefined;
}

const poolKind = Options.object<ExportPoolOptions>({
  ...Thread.optionNames,
  tenant: Options.object(HttpPolicy.optionNames),
  threads: Options.number,
  exportsPerThread: Options.number,
});

const { tenant: _, onProgress: __, ...ofOne } = RemoteExport.optionNames;
const exportsKind = Options.list(
  Options.object<PoolExport>({ ...ofOne, users: Options.list(Options.text) }),
);
const runKind = Options.object<PoolRunOptions>({ onProgress: Options.callback });

/** Threads that share a rate limit. */
export interface ExportPool {
  /**
   * Runs all exports, each on the thread that has most room, and merges their reports: counts are summed, files are listed
   * in the order of the exports. An export none of whose users the tenant knows leaves no file and counts as missing.
   *
   * The first export that fails ends those under way, and their outputs are undone; files of finished ones stay. Fails with
   * what {@link Thread.Thread.run} fails with; with `NoSuchUsers` only if the tenant knows none of all users. All options are read
   * before the first export begins.
   */
  readonly run: (
    exports: Iterable<PoolExport>,
    options?: PoolRunOptions,
  ) => Effect.Effect<Report, Failure | ThreadError>;
}

const positive = (name: string, value: number): number => {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new RangeError(`Cannot make a pool as '${name}' must be a positive integer: it is ${value}`);
};

/** One pace for all exports. Each of them has one of its own otherwise, those of one thread as well. */
const shareRate = (tenant: HttpPolicy.TenantOptions): HttpPolicy.TenantOptions => {
  if (tenant.shared !== undefined) return tenant;
  if (typeof SharedArrayBuffer === "undefined") {
    throw new RangeError(
      "Cannot share a rate limit among exports as this page has no SharedArrayBuffer: " +
        "serve it cross-origin isolated (COOP and COEP headers), or make one export of all users with Thread.make",
    );
  }
  return { ...tenant, shared: RateLimiter.share(tenant) };
};

const LIST = 100;

const some = <A>(parts: ReadonlyArray<Export.Some<A>>): Export.Some<A> => ({
  count: parts.reduce((sum, { count }) => sum + count, 0),
  first: parts.flatMap(({ first }) => first).slice(0, LIST),
});

const sum = (reports: ReadonlyArray<Report>, of: (report: Report) => number) =>
  reports.reduce((total, report) => total + of(report), 0);

const merge = (reports: ReadonlyArray<Report>, seconds: number): Report => ({
  users: sum(reports, ({ users }) => users),
  sessions: sum(reports, ({ sessions }) => sessions),
  rejected: sum(reports, ({ rejected }) => rejected),
  bytes: sum(reports, ({ bytes }) => bytes),
  seconds,
  verified: reports.every(({ verified }) => verified),
  missing: some(reports.map(({ missing }) => missing)),
  unverified: some(reports.map(({ unverified }) => unverified)),
  failed: some(reports.map(({ failed }) => failed)),
  files: reports.flatMap(({ files }) => files),
  userDoubts: [],
});

const allMissing = (users: ReadonlyArray<string>): Report => ({
  ...merge([], 0),
  users: users.length,
  missing: { count: users.length, first: users.slice(0, LIST) },
});

/** Adds up what several exports say of themselves. */
const progressOf = (usersTotal: number, tell: (progress: Export.Progress) => void) => {
  const total: Export.Progress = { ...Export.noProgress(), usersTotal };
  return () => {
    let last = Export.noProgress();
    return (progress: Export.Progress) => {
      for (const key of Object.keys(Export.noProgress()) as Array<keyof typeof last>) {
        (total[key] as number) += (progress[key] as number) - (last[key] as number);
      }
      last = progress;
      tell({ ...total });
    };
  };
};

const refuseRepeated = (exports: ReadonlyArray<PoolExport>): void => {
  const paths = new Set<unknown>();
  for (const { targets, rejects } of exports) {
    for (const to of [...targets.map(({ to }) => to), rejects]) {
      if (to !== undefined && paths.has(to)) {
        throw new TypeError(
          `Cannot export to ${typeof to === "string" ? to : to.name} as it is named twice`,
        );
      }
      paths.add(to);
    }
  }
};

/**
 * A pool of threads for one tenant, started at once and ended with the scope. All of them ask under one rate limit: its few
 * numbers are in memory that they share, so that no more than `burst + rate * t` requests of all threads leave within any t
 * seconds, and a 429 or `Retry-After` that one of them meets slows or holds them all.
 *
 * Fails with a {@link ThreadError} if a thread does not start. Options out of range are a RangeError, and so is a page without
 * `SharedArrayBuffer`, which only pages that are cross-origin isolated have.
 *
 * Memory: for each thread about 15 MB and its exports.
 *
 * @example
 * ```ts
 * import { ExportPool } from "monocloud-sessions/thread";
 * import { make, serve } from "monocloud-sessions/sandbox";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 * import * as Effect from "effect/Effect";
 *
 * const sandbox = make({ users: 6, sessionsPerUser: 10 });
 * const server = await serve(sandbox);
 * const folder = await mkdtemp(join(tmpdir(), "example-"));
 * const report = await Effect.runPromise(Effect.scoped(Effect.gen(function* () {
 *   const pool = yield* ExportPool.make({ tenant: { domain: server.url, apiKey: sandbox.key, rate: 100 }, threads: 2 });
 *   return yield* pool.run([...sandbox.userIds()].map((userId, index) => ({
 *     users: [userId],
 *     targets: [{ format: "parquet" as const, to: join(folder, `${index}.parquet`) }],
 *   })));
 * })));
 * console.assert(report.users === 6 && report.sessions === 60 && report.files.length === 6);
 * await server.close();
 * await rm(folder, { recursive: true });
 * ```
 */
export const make = (
  given: ExportPoolOptions,
): Effect.Effect<ExportPool, ThreadError, Scope.Scope> =>
  Effect.gen(function* () {
    const options = Options.take("make a pool", poolKind, given);
    const count = positive("threads", options.threads ?? 2);
    const perThread = positive("exportsPerThread", options.exportsPerThread ?? 4);
    const tenant = shareRate(options.tenant);
    const threads = yield* Effect.all(
      Array.from({ length: count }, () => Thread.make(Options.pick(Thread.optionNames, options))),
      { concurrency: "unbounded" },
    );
    // The places for exports, those of one thread far from each other: the first that is free has most room.
    const free = Array.from({ length: perThread }, () => threads).flat();
    const places = yield* Effect.makeSemaphore(free.length);
    const onFree = <A, E>(work: (thread: Thread.Thread) => Effect.Effect<A, E>) =>
      places.withPermits(1)(Effect.acquireUseRelease(
        Effect.sync(() => free.shift()!),
        work,
        (thread) => Effect.sync(() => void free.push(thread)),
      ));

    const runOne = (
      thread: Thread.Thread,
      one: PoolExport,
      onProgress?: (progress: Export.Progress) => void,
    ) =>
      Effect.catchIf(
        thread.run({ ...one, tenant, onProgress }),
        (error) => error._tag === "ExportError" && error.reason === "NoSuchUsers",
        () => Effect.succeed(allMissing(one.users)),
      );

    return {
      run: (exports, given = {}) =>
        Effect.gen(function* () {
          const all = Options.take("export in a pool", exportsKind, [...exports], "exports");
          const { onProgress } = Options.take("export in a pool", runKind, given);
          refuseRepeated(all);
          const began = yield* Clock.currentTimeMillis;
          const usersTotal = all.reduce((total, { users }) => total + users.length, 0);
          const watch = onProgress && progressOf(usersTotal, onProgress);
          const reports = yield* Effect.forEach(
            all,
            (one) => onFree((thread) => runOne(thread, one, watch?.())),
            { concurrency: free.length },
          );
          const seconds = ((yield* Clock.currentTimeMillis) - began) / 1000;
          const report = merge(reports, seconds);
          const { missing, users, sessions } = report;
          return missing.count > 0 && missing.count === users && sessions === 0
            ? yield* Effect.fail(Export.noSuchUsers(users, missing.first[0]))
            : report;
        }),
    };
  });
