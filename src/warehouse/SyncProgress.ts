/** Progress of a run, over all processes that worked on it. */
import type { Traffic } from "../api/TenantClient.ts";
import * as RunState from "../dataset/RunState.ts";
import * as Export from "../export/Export.ts";
import type { Standing } from "./Checkpoint.ts";

/** Progress that a run writes down for the process that goes on with it. */
interface Saved {
  readonly progress: Export.Progress;
  readonly missing: ReadonlyArray<string>;
  readonly unverified: ReadonlyArray<Export.UnverifiedUser>;
}

/** Result of a shard that has ended, for its run. */
export interface ShardResult extends Saved {
  readonly failed: ReadonlyArray<Export.FailedUser>;
  /** The size of pages that was found out. */
  readonly pageSize: number | undefined;
}

/** Starting point of a process, whatever became of a connection since. */
export interface Origin {
  /** When it began, in milliseconds since the epoch. */
  readonly at: number;
  /** Requests to the tenant before. */
  readonly traffic: Traffic;
  /** Standing of the run then. */
  readonly standing: Standing;
  /** Users that an earlier process was done with: they may have changed since. */
  readonly doneBefore: ReadonlySet<string>;
}

/** Give what a run had come to. Another process than the one before asks for every user again, if only for changes. */
const savedOf = ({ progress: saved }: Standing, isOther: boolean): Saved => {
  const { progress, missing, unverified } = saved as Saved | undefined ??
    { progress: Export.noProgress(), missing: [], unverified: [] };
  if (!isOther) return { progress, missing, unverified };
  const { sessions, quarantined } = progress;
  return { progress: { ...Export.noProgress(), sessions, quarantined }, missing: [], unverified: [] };
};

/** Go on counting from where a run stands; `isOther` of a process that did not begin it. */
export const resume = (standing: Standing, isOther: boolean, shown: Export.Progress): Export.Tally =>
  RunState.tallyOf({ ...savedOf(standing, isOther), failed: [], open: [] }, shown);

/** Give where the run stands at a time, in milliseconds since the epoch. */
export const standingOf = (
  { at, traffic: prior, standing: base }: Origin,
  { progress, missing, unverified }: Export.Tally,
  { requests, retries }: Traffic,
  now: number,
): Standing => {
  const { users, failed, sessions } = progress;
  return {
    users,
    sessions,
    requests: base.requests + requests - prior.requests,
    retries: base.retries + retries - prior.retries,
    seconds: base.seconds + (now - at) / 1000,
    // Users that failed are tried again by whoever goes on.
    progress: {
      progress: { ...progress, users: users - failed, failed: 0 },
      missing: [...missing],
      unverified: [...unverified],
    } satisfies Saved,
  };
};
