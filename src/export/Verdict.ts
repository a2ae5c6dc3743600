/**
 * The verdict on an export that gives sessions or bytes and no report: they fail at their end, and do not
 * end as if nothing could be missing.
 */
import type { Batch } from "../session/Batch.ts";
import * as Options from "../options/Options.ts";
import { ExportError } from "./ExportError.ts";
import type { UnverifiedOptions } from "../plain/SessionsOptions.ts";
import { count, noTally, type Report, reportOf, withUserList } from "./RunStats.ts";

export type { Unverified, UnverifiedOptions } from "../plain/SessionsOptions.ts";

/** See {@link UnverifiedOptions}. */
export const optionNames: Options.Names<UnverifiedOptions> = {
  allowUnverified: Options.boolean,
  onUnverified: Options.callback,
};

/** The facts that a verdict rests on. */
export interface Evidence extends Pick<Report, "users" | "unverified" | "failed"> {
  /** Why not every user of the tenant may have been named. */
  readonly userListUnverifiedReasons: ReadonlyArray<string>;
}

const FIRST = 3;

/** Names the first few of so many, with what is said of each. */
const some = (items: ReadonlyArray<readonly [userId: string, why: string]>): string =>
  items.slice(0, FIRST).map(([userId, why]) => `${JSON.stringify(userId)} (${why})`).join(", ");

/** Gives the error where not everything is verified. */
export const errorOf = (
  { users, unverified, failed, userListUnverifiedReasons }: Evidence,
): ExportError | undefined => {
  const said: Array<string> = [];
  const of = `of ${users} user${users === 1 ? "" : "s"}`;
  if (unverified.count > 0) {
    const first = unverified.first.map(({ userId, unverifiedReasons }) =>
      [userId, unverifiedReasons.join("; ")] as const
    );
    said.push(`The sessions of ${unverified.count} ${of} can't be verified, such as ${some(first)}.`);
  }
  if (failed.count > 0) {
    const first = failed.first.map(({ userId, message }) => [userId, message] as const);
    said.push(`${failed.count} ${of} failed, such as ${some(first)}.`);
  }
  if (userListUnverifiedReasons.length > 0) {
    said.push(`The list of users can't be verified: ${userListUnverifiedReasons.join("; ")}.`);
  }
  if (said.length === 0) return undefined;
  return new ExportError({
    reason: "Unverified",
    message:
      `${said.join(" ")} Everything that was found has been delivered, and something may be missing: ` +
      "export again, or let it end all the same (allowUnverified)",
  });
};

/** Collects what can't be verified, and tells of each as it comes. Memory: the first hundred that can't be verified. */
export const make = ({ allowUnverified = false, onUnverified = () => {} }: UnverifiedOptions) => {
  const tally = noTally();
  let userListUnverifiedReasons: ReadonlyArray<string> = [];
  return {
    see: (batch: Batch): void => {
      count(tally, batch);
      const { userId, end } = batch;
      if (end?.status === "failed") onUnverified({ userId, reasons: [end.message ?? ""] });
      else if (end?.verified === false) onUnverified({ userId, reasons: end.unverifiedReasons });
    },
    seeUsers: (unverifiedReasons: ReadonlyArray<string>): void => {
      if (unverifiedReasons.length === 0) return;
      userListUnverifiedReasons = unverifiedReasons;
      onUnverified({ userId: undefined, reasons: unverifiedReasons });
    },
    /** Gives the error to fail with at the end, if it is to. */
    error: (): ExportError | undefined =>
      allowUnverified ? undefined : errorOf(withUserList(reportOf(tally, [], 0), userListUnverifiedReasons)),
  };
};

/** Judges an export by its report, which names the first hundred that can't be verified. */
export const judge = (
  { users, unverified, failed, userListUnverifiedReasons }: Evidence,
  { allowUnverified = false, onUnverified = () => {} }: UnverifiedOptions,
): ExportError | undefined => {
  for (const { userId, unverifiedReasons } of unverified.first) {
    onUnverified({ userId, reasons: unverifiedReasons });
  }
  for (const { userId, message } of failed.first) onUnverified({ userId, reasons: [message] });
  if (userListUnverifiedReasons.length > 0) {
    onUnverified({ userId: undefined, reasons: userListUnverifiedReasons });
  }
  return allowUnverified ? undefined : errorOf({ users, unverified, failed, userListUnverifiedReasons });
};
