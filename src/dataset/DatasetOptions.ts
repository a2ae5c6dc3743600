/** The options of a run into a dataset. */
import type * as Export from "../export/Export.ts";
import type { Choice } from "../format/Formats.ts";
import type { Batch } from "../session/Batch.ts";
import type * as SessionSource from "../source/SessionSource.ts";
import type { UserList } from "../source/UserList.ts";

/** Options of an export into a dataset. */
export interface DatasetOptions<E, R> {
  /** The folder; created if need be. */
  readonly root: string;
  readonly formats: ReadonlyArray<Choice>;
  readonly users: UserList<E, R>;
  /** The tenant's origin, to record it and to keep tenants apart. */
  readonly tenant: string;
  /**
   * `resume` goes on with what an earlier process could not finish, its failed users included; `new` insists on a folder
   * without a run.
   *
   * @default {"new"}
   */
  readonly mode?: "new" | "resume" | undefined;
  /**
   * Adds to a folder with a finished run what has changed since, for each user since its cursor or, if given, since a time in
   * seconds since the epoch: all of that then, what is there already as well. A folder without a run gets a first one; after
   * one from a time on, `"since-last"` delivers what is older. Not with a `sort`.
   */
  readonly changes?: "since-last" | { readonly since: number } | undefined;
  /**
   * With `"since-last"`: reads every user's list to its end, delivers all that the dataset lacks, has in an older version or
   * has said to have ended, and writes down which sessions of the dataset the tenant lists no more, as parts of their own in
   * `tombstones/`. Nothing is said of users whose walk is not verified, or not of this run alone; nor by a first run.
   *
   * @default {false}
   */
  readonly prune?: boolean | undefined;
  /**
   * Asks only users who were active since the last run, and every so many seconds (a day by default) all of them, with
   * `prune`: a sweep, which finds out whether activity can be gone by. Where it can't, all users are asked from then on. With
   * `"since-last"`, of all users.
   */
  readonly byActivity?: { readonly sweepEvery?: number | undefined } | undefined;
  /** Seconds, see {@link SessionSource.ChangesOptions}. @default {300} */
  readonly lookback?: number | undefined;
  /** Options of walks. `sort` and what chooses sessions must stay the same from run to run. */
  readonly walk?: Omit<SessionSource.SessionSourceOptions, "onFailure"> | undefined;
  /** Further options that must stay the same within a run, for the caller's own sake: recorded, and compared. */
  readonly options?: Readonly<Record<string, unknown>> | undefined;
  readonly onInvalid?: Export.ExportOptions<E, R>["onInvalid"];
  /** Limit of {@link Export.run}, over the whole run. What has come is kept, and a run that may quarantine more goes on from there. */
  readonly maxQuarantined?: Export.MaxQuarantined | undefined;
  /** Parts are completed once they hold so many sessions. @default {500_000} */
  readonly partRows?: number | undefined;
  /** Or once one of them has so many bytes, before any compression on the way. @default {536_870_912, 512 MiB} */
  readonly partBytes?: number | undefined;
  /** Done to each batch before it is encoded. */
  readonly change?: ((batch: Batch) => Batch) | undefined;
  /** Kept up to date as the run goes on. */
  readonly progress?: Export.Progress | undefined;
}
