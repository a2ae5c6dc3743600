/** Exports into a folder that survive being killed, and what can be done with such a folder. */
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Tenant from "../api/Tenant.ts";
import * as Export from "../export/Export.ts";
import * as Formats from "../format/Formats.ts";
import * as Options from "../options/Options.ts";
import * as Redaction from "../session/Redaction.ts";
import * as Engine from "./Engine.ts";
import * as Kinds from "./Kinds.ts";
import type { DatasetReport, Progress, ProgressOptions } from "../plain/Report.ts";
import type {
  ActivityOptions,
  EncodingOptions,
  FormatChoice,
  SessionsOptions,
} from "../plain/SessionsOptions.ts";
import * as Transform from "./Transform.ts";

/** Options of an export into a folder. */
export interface DatasetOptions
  extends Omit<SessionsOptions, "onFailure">, EncodingOptions, ActivityOptions, ProgressOptions<Progress> {
  /** The folder; made if need be. One process at a time writes to it. */
  readonly folder: string;
  /** The formats to write, side by side: the same rows in each. */
  readonly formats: FormatChoice | ReadonlyArray<FormatChoice>;
  /**
   * Goes on with a run that was broken off, or tries the users again that failed. Begins one if there is none. Left out, the
   * folder must have no run, unless `sinceLast` or `since` add to it.
   *
   * @default {false}
   */
  readonly resume?: boolean | undefined;
  /** Adds what has changed since the last run, for each user. Not with `sort` or `since`. @default {false} */
  readonly sinceLast?: boolean | undefined;
  /**
   * With `sinceLast`: reads whole lists, and writes tombstones for the sessions that the tenant lists no more.
   *
   * @default {false}
   */
  readonly prune?: boolean | undefined;
  /** Parts are completed once they hold so many sessions. @default {500_000} */
  readonly partRows?: number | undefined;
  /** Or once one of them has so many bytes, before any compression on the way. @default {536_870_912, 512 MiB} */
  readonly partBytes?: number | undefined;
}

const { onFailure: _, ...sessionsNames } = Kinds.sessionsNames;

const formats = Options.textOr(Kinds.format, Options.list(Kinds.format));

const kind = Options.object<DatasetOptions>({
  ...sessionsNames,
  ...Kinds.encodingNames,
  onProgress: Options.callback,
  folder: Options.text,
  formats,
  resume: Options.boolean,
  sinceLast: Options.boolean,
  prune: Options.boolean,
  ...Kinds.activityNames,
  partRows: Options.number,
  partBytes: Options.number,
}, { required: [...Kinds.required, "folder", "formats"] });

const DOING = "export into a folder";

/** Gives what speaks against options that are right one by one. */
const conflictOf = (options: DatasetOptions): string | undefined => {
  const { sinceLast = false, since, sort, prune = false, lookback, partRows, partBytes } = options;
  const isPositive = (value: number | undefined) =>
    value === undefined || (Number.isInteger(value) && value > 0);
  if (options.folder === "") return "'folder' is empty";
  if (options.formats.length === 0) return "'formats' names none";
  if (sinceLast && since !== undefined) return "'sinceLast' and 'since' can't be combined";
  if ((sinceLast || since !== undefined) && sort !== undefined) {
    return "'sinceLast' and 'since' read newest change first: leave out 'sort'";
  }
  if (prune && !sinceLast) return "'prune' compares with what is there: give 'sinceLast' as well";
  if (options.byActivity && !(sinceLast && options.users === "all")) {
    return "'byActivity' goes with 'sinceLast' and users: \"all\"";
  }
  const flaw = Kinds.activityFlaw(options);
  if (flaw !== undefined) return flaw;
  if (lookback !== undefined && !sinceLast) return "'lookback' goes with 'sinceLast'";
  if (!isPositive(partRows)) return "'partRows' must be a positive integer";
  if (!isPositive(partBytes)) return "'partBytes' must be a positive integer";
  return undefined;
};

/**
 * Export into a folder, and report what the run did. The folder survives being killed at any moment: `resume` goes on.
 *
 * With `sinceLast` later runs add what changed, and with `prune` tombstones of what ended. Every session is in the folder's
 * parts exactly once, but for a new version of it. `manifest.json` names the parts. The command line's `export --out DIR`
 * writes the same: either goes on with what the other began, if the options are the same. What must stay the same from run
 * to run: the tenant, formats, what chooses sessions, `sort`, `onInvalid`, `csv` and the policy of `redact`.
 *
 * Rejects with a `TypeError` or `RangeError` on a wrong option, before any request. Rejects with a {@link DatasetError}, an
 * {@link ApiError}, an {@link ExportError}, a {@link SinkError}, a {@link TenantError}, or what a callback throws. What has
 * come by then is kept. What can't be verified is no error here: the report says so in `verified`.
 *
 * Memory: the ids of all users and what is known of each, some 400 bytes; a few pages; what each encoder holds. With
 * `prune`, 24 to 48 bytes for each session of the folder, twice.
 *
 * @example
 * ```ts
 * import { dataset, verify } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = make({ users: 2, sessionsPerUser: 5 });
 * const [userId = ""] = sandbox.userIds();
 * const folder = join(await mkdtemp(join(tmpdir(), "example-")), "sessions");
 * const run = () =>
 *   dataset({
 *     domain: "sandbox.example",
 *     apiKey: sandbox.key,
 *     users: "all",
 *     folder,
 *     formats: ["parquet", "csv.gz"],
 *     sinceLast: true,
 *     prune: true,
 *     resume: true,
 *     fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 *   });
 * console.assert((await run()).sessions === 10);
 * const [ended] = sandbox.sessions(userId);
 * sandbox.remove(userId, ended!.session_id);
 * sandbox.add(userId);
 * const { sessions, tombstones } = await run();
 * console.assert(sessions === 1 && tombstones?.gone === 1);
 * console.assert((await verify(folder)).problems.length === 0);
 * await rm(join(folder, ".."), { recursive: true });
 * ```
 */
export const dataset = async (given: DatasetOptions): Promise<DatasetReport> => {
  const options = Kinds.take(DOING, kind, given);
  const conflict = conflictOf(options);
  if (conflict !== undefined) throw new TypeError(`Cannot ${DOING} as ${conflict}`);
  const { folder: root, since, sinceLast, prune, resume, redact, filter, map, csv } = options;
  const { onInvalid, maxQuarantined, partRows, partBytes } = options;
  const change = Transform.of(DOING, options);
  const tenant = Either.getOrThrowWith(Tenant.make(options), (error) => error);
  options.signal?.throwIfAborted();
  const users = await Engine.userListOf(DOING, options);
  const progress = Export.noProgress();
  const choices = typeof options.formats === "string" ? [options.formats] : options.formats;
  // Loaded here, so that the rest of this module runs where there are no files.
  const Dataset = await import("../dataset/Dataset.ts");
  return await Engine.telling<Progress, DatasetReport>(progress, options, async (signal) => {
    const work = Dataset.run({
      root,
      formats: [...new Set(choices)].map((choice) => Formats.choose(choice, options)!),
      users,
      tenant: tenant.origin,
      mode: resume ? "resume" : "new",
      changes: sinceLast ? "since-last" : since && { since: Math.floor(since.getTime() / 1000) },
      prune: prune,
      ...Kinds.activityOf(options),
      walk: Engine.walkOf(options),
      // The command line writes down the same. Of functions, only that there is one.
      options: {
        keepFormulas: csv?.escapeFormulas === false,
        redact: redact && Redaction.settle(redact.policy),
        filter: filter && true,
        map: map && true,
      },
      onInvalid,
      maxQuarantined,
      partRows,
      partBytes,
      change,
      progress,
    });
    const report = await Engine.run(Engine.quietly(Effect.provide(work, Engine.tenantOf(options))), signal);
    const { user_list_unverified_reasons: userListUnverifiedReasons, options: _, since: __, ...rest } =
      report;
    return { ...rest, userListUnverifiedReasons };
  });
};
