/** Runs into a table that equals the tenant. */
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Tenant from "../api/Tenant.ts";
import * as Export from "../export/Export.ts";
import * as Options from "../options/Options.ts";
import * as Redaction from "../session/Redaction.ts";
import * as Engine from "./Engine.ts";
import * as Kinds from "./Kinds.ts";
import type { LoadProgress, Progress, ProgressOptions, WarehouseReport } from "../plain/Report.ts";
import type { ActivityOptions, Duration, MaxQuarantined, SessionsOptions } from "../plain/SessionsOptions.ts";
import type { Target } from "../plain/Target.ts";
import * as Transform from "./Transform.ts";

/** Options of every run into a warehouse. */
export interface WarehouseOptions {
  /** The database: `make` of `monocloud-sessions/postgres` or `/duckdb` gives one, or you write your own. */
  readonly target: Target;
  /** `soft` sets `_ended_at` of what has ended, `hard` deletes its row. @default {"soft"} */
  readonly deletes?: "soft" | "hard" | undefined;
  /** Keeps every version from now on, in `sessions_history`. Once begun, later runs go on with it. @default {false} */
  readonly history?: boolean | undefined;
  /** For text with NUL or half a surrogate pair: `replace` puts U+FFFD there, `quarantine` its row. @default {"replace"} */
  readonly badText?: "replace" | "quarantine" | undefined;
  /** Commits once so many rows wait. @default {50_000} */
  readonly checkpointRows?: number | undefined;
  /** Or once the first of them has waited so long. @default {"30 seconds"} */
  readonly checkpointEvery?: Duration | undefined;
  /** The wait for another run to end. @default {0, it is refused} */
  readonly wait?: Duration | undefined;
  /** Time without a sign of life after which another run may take over. @default {"2 minutes"} */
  readonly lease?: Duration | undefined;
  /** The patience with a database, or with one request, before the run fails. @default {"5 minutes"} */
  readonly maxElapsed?: Duration | undefined;
  /** Ends the work, which rejects with the signal's reason. What was committed stays. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of {@link sync}. */
export interface SyncOptions
  extends
    Omit<SessionsOptions, "filter" | "map" | "maxElapsed" | "onFailure" | "signal" | "since" | "sort">,
    WarehouseOptions,
    ActivityOptions,
    ProgressOptions<Progress> {
  /**
   * Reads every list to its end: ends what the table has and the tenant lists no more, and adds what was shown late. Nothing
   * is ended of users whose walk is not verified.
   *
   * @default {false}
   */
  readonly prune?: boolean | undefined;
  /** Limit of rows that fail the schema: beyond it the run fails. @default {any number} */
  readonly maxQuarantined?: MaxQuarantined | undefined;
}

/** Options of {@link load}. */
export interface LoadOptions extends WarehouseOptions, ProgressOptions<LoadProgress> {
  /** The folder of an export. */
  readonly folder: string;
  /** Takes the place of everything that is there, in one transaction. @default {false} */
  readonly replace?: boolean | undefined;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

const target: Options.Kind<Target> = Options.kind(
  "a target, such as make() of monocloud-sessions/postgres gives",
  (value) =>
    isObject(value) && typeof value["name"] === "string" && typeof value["connect"] === "function" &&
    isObject(value["dialect"]),
);

const positive: Options.Kind<number> = Options.kind(
  "a positive integer",
  (value) => Number.isInteger(value) && value as number > 0,
);

const warehouseNames: Options.Names<WarehouseOptions> = {
  target,
  deletes: Options.oneOf(["soft", "hard"]),
  history: Options.boolean,
  badText: Options.oneOf(["replace", "quarantine"]),
  checkpointRows: positive,
  checkpointEvery: Kinds.duration,
  wait: Kinds.duration,
  lease: Kinds.duration,
  maxElapsed: Kinds.duration,
  signal: Kinds.signal,
};

const { filter: _, map: __, onFailure: ___, since: ____, sort: _____, ...sessionsNames } =
  Kinds.sessionsNames;

const syncKind = Options.object<SyncOptions>({
  ...sessionsNames,
  ...warehouseNames,
  onProgress: Options.callback,
  prune: Options.boolean,
  ...Kinds.activityNames,
  maxQuarantined: Export.quarantineNames.maxQuarantined,
}, { required: [...Kinds.required, "target"] });

const loadKind = Options.object<LoadOptions>({
  ...warehouseNames,
  onProgress: Options.callback,
  folder: Options.text,
  replace: Options.boolean,
}, { required: ["folder", "target"] });

const SYNCING = "sync";
const LOADING = "load";

const warehouseOf = (options: WarehouseOptions) => {
  const { signal: _, ...taken } = Options.pick(warehouseNames, options);
  return taken;
};

/**
 * Bring a table up to date with the tenant: all sessions in a first run, what has changed in later ones. With `prune`, what
 * has ended as well.
 *
 * Rows, cursors and the record of the run are written in one transaction. However a run ends, the table is as of a checkpoint,
 * and the next run that is asked for the same goes on. Nothing has to be kept beside the database. The command line's `sync`
 * does the same: either goes on with what the other began. A schema belongs to one tenant, one `clientId` and one policy of
 * `redact`: others are refused.
 *
 * Rejects with a `TypeError` or `RangeError` on a wrong option, before any request. Rejects with a {@link TargetError}, an
 * {@link ApiError}, an {@link ExportError}, a {@link TenantError}, or what a callback throws. What can't be verified is no
 * error here: the report says so in `verified`.
 *
 * Memory: the cursors of all users, some 400 bytes each; a few pages; the rows of a checkpoint as far as the target holds them
 * here.
 *
 * @example
 * ```ts
 * import { make as makeTarget } from "monocloud-sessions/duckdb";
 * import { sync } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = make({ users: 2, sessionsPerUser: 5 });
 * const [userId = ""] = sandbox.userIds();
 * const folder = await mkdtemp(join(tmpdir(), "example-"));
 * const run = (prune: boolean) =>
 *   sync({
 *     domain: "sandbox.example",
 *     apiKey: sandbox.key,
 *     users: "all",
 *     target: makeTarget({ path: join(folder, "sessions.duckdb") }),
 *     prune,
 *     fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 *   });
 * console.assert((await run(false)).inserted === 10);
 * const [ended] = sandbox.sessions(userId);
 * sandbox.remove(userId, ended!.session_id);
 * sandbox.add(userId);
 * const report = await run(true);
 * console.assert(report.inserted === 1 && report.ended === 1 && report.verified);
 * await rm(folder, { recursive: true });
 * ```
 */
export const sync = async (given: SyncOptions): Promise<WarehouseReport> => {
  const options = Kinds.take(SYNCING, syncKind, given);
  const { redact, prune, maxQuarantined } = options;
  if (options.byActivity && options.users !== "all") {
    throw new TypeError(`Cannot ${SYNCING} as 'byActivity' goes with users: "all"`);
  }
  const flaw = Kinds.activityFlaw(options);
  if (flaw !== undefined) throw new TypeError(`Cannot ${SYNCING} as ${flaw}`);
  const change = Transform.of(SYNCING, { redact });
  const tenant = Either.getOrThrowWith(Tenant.make(options), (error) => error);
  options.signal?.throwIfAborted();
  const users = await Engine.userListOf(SYNCING, options);
  const progress = Export.noProgress();
  // Loaded here, so that the rest of this module runs where there are no files.
  const Sync = await import("../warehouse/Sync.ts");
  return await Engine.telling<Progress, WarehouseReport>(progress, options, (signal) => {
    const work = Sync.sync({
      ...warehouseOf(options),
      users,
      tenant: tenant.origin,
      walk: Engine.walkOf(options),
      prune,
      ...Kinds.activityOf(options),
      change,
      // The command line writes down the same.
      redaction: redact && { ...Redaction.settle(redact.policy) },
      maxQuarantined,
      progress,
    });
    return Engine.run(Engine.quietly(Effect.provide(work, Engine.tenantOf(options))), signal);
  });
};

/**
 * Bring an exported folder into a table, each part once, however often it is called and whatever ended an earlier call.
 * {@link sync} goes on from the folder's cursors.
 *
 * It takes parts of NDJSON, else Parquet, else CSV, and checks the sum of each before it is used. Another folder into the same
 * schema needs `replace`, which takes the place of all that is there in one transaction.
 *
 * Rejects with a `TypeError` or `RangeError` on a wrong option, with a {@link TargetError}, a {@link DatasetError} or a
 * {@link SinkError}.
 *
 * Memory: some rows of a part (of Parquet a row group), the rows of a checkpoint as far as the target holds them here, and the
 * cursors of all users.
 *
 * @example
 * ```ts
 * import { make as makeTarget } from "monocloud-sessions/duckdb";
 * import { dataset, load } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = make({ users: 2, sessionsPerUser: 5 });
 * const root = await mkdtemp(join(tmpdir(), "example-"));
 * const folder = join(root, "export");
 * await dataset({
 *   domain: "sandbox.example",
 *   apiKey: sandbox.key,
 *   users: "all",
 *   folder,
 *   formats: "parquet",
 *   fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 * });
 * const target = makeTarget({ path: join(root, "sessions.duckdb") });
 * console.assert((await load({ folder, target })).inserted === 10);
 * console.assert((await load({ folder, target })).sessions === 0);
 * await rm(root, { recursive: true });
 * ```
 */
export const load = async (given: LoadOptions): Promise<WarehouseReport> => {
  const options = Kinds.take(LOADING, loadKind, given);
  const { folder: root, replace } = options;
  if (root === "") throw new TypeError(`Cannot ${LOADING} as 'folder' is empty`);
  options.signal?.throwIfAborted();
  const Load = await import("../warehouse/Load.ts");
  const progress = Load.noProgress();
  return await Engine.telling<LoadProgress, WarehouseReport>(progress, options, (signal) => {
    const work = Load.load({ ...warehouseOf(options), root, replace, progress });
    return Engine.run(Engine.quietly(work), signal);
  });
};
