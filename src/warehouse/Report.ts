/** What a run into a warehouse did. */
import type { ActivityReport } from "../plain/Report.ts";
import type * as Export from "../export/Export.ts";
import type { Counts, RunKind } from "./Store.ts";

/** Report of a run, over all processes that worked on it. */
export interface Report {
  /** {@link Target.name} */
  readonly target: string;
  readonly run: number;
  readonly kind: RunKind;
  /** ISO 8601, UTC. */
  readonly began: string;
  readonly seconds: number;
  readonly users: number;
  readonly sessions: number;
  /** Sessions that were not there. */
  readonly inserted: number;
  /** Sessions of which a newer version came, or that are listed again. */
  readonly updated: number;
  /** Sessions that were there as they are, or in a newer version. */
  readonly unchanged: number;
  /** Sessions found no longer listed. */
  readonly ended: number;
  /** Rows that are no sessions, or that no column can hold. */
  readonly quarantined: number;
  /** Texts of which something was replaced by U+FFFD. */
  readonly replacedTexts: number;
  readonly requests: number;
  readonly retries: number;
  readonly verified: boolean;
  readonly missing: Export.Sample<string>;
  readonly unverified: Export.Sample<Export.UnverifiedUser>;
  readonly failed: Export.Sample<Export.FailedUser>;
  readonly userListUnverifiedReasons: ReadonlyArray<string>;
  /** Set of a run by activity. */
  readonly by_activity?: ActivityReport | undefined;
}

/** The part of a report that tells how far it can be relied on. */
export type Outcome = Pick<
  Report,
  "verified" | "missing" | "unverified" | "failed" | "userListUnverifiedReasons"
>;

/** Tell how far a run can be relied on. */
export const outcomeOf = (
  { progress, missing, unverified, failed }: Export.Tally,
  userListUnverifiedReasons: ReadonlyArray<string>,
): Outcome => ({
  verified: progress.unverified === 0 && progress.failed === 0 && userListUnverifiedReasons.length === 0,
  missing: { count: progress.missing, first: missing },
  unverified: { count: progress.unverified, first: unverified },
  failed: { count: progress.failed, first: failed },
  userListUnverifiedReasons,
});

/** Give a report its counts by the names that it has for them. */
export const countsOf = (
  { inserted, updated, unchanged, ended_sessions, quarantined, replaced_texts }: Counts,
) => ({ inserted, updated, unchanged, ended: ended_sessions, quarantined, replacedTexts: replaced_texts });

/** List why a run is not verified, as far as its report has samples of that. */
export const unverifiedReasonsOf = (
  { userListUnverifiedReasons, unverified, failed }: Outcome,
): ReadonlyArray<string> => [
  ...userListUnverifiedReasons,
  ...unverified.first.map(({ userId, unverifiedReasons }) => `${userId}: ${unverifiedReasons.join("; ")}`),
  ...failed.first.map(({ userId, message }) => `${userId}: ${message}`),
];
