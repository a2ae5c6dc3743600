/** What a run into a warehouse did. */
import type { WarehouseReport } from "../plain/Report.ts";
import type * as Export from "../export/Export.ts";
import type { Counts } from "./Checkpoint.ts";

/** Report of a run, over all processes that worked on it. */
export type Report = WarehouseReport;

/** The part of a report that tells how far it can be relied on. */
export type Outcome = Pick<
  WarehouseReport,
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
