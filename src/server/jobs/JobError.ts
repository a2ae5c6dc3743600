/**
 * Errors of exports over HTTP.
 *
 * @module
 */
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import { DatasetError } from "../../dataset/DatasetError.ts";
import type { SinkError } from "../../sink/Sink.ts";

/** Something can't be done with exports. */
export class JobError extends Data.TaggedError("JobError")<{
  /**
   * `Absent`: there is no such export, or file of it. `Full`: as many wait as may. `State`: it can't be done with an export
   * of its status. `Unavailable`: the server has no folder, or it is not its own yet. `Invalid`: what is asked for can't be
   * followed.
   */
  readonly reason: "Absent" | "Full" | "State" | "Unavailable" | "Invalid";
  readonly message: string;
}> {}

/** Why something can't be done with the files of an export. */
export type ReadError = JobError | SinkError | DatasetError;

/** Fail for that reason. */
export const fail = (reason: JobError["reason"], message: string): Effect.Effect<never, JobError> =>
  Effect.fail(new JobError({ reason, message }));

/** Tell whether another process holds the folder. */
export const isLocked = (error: unknown): boolean =>
  error instanceof DatasetError && error.reason === "Locked";

/** Schedule of attempts to get at a folder that another server may still hold. */
export const RETRY = "5 seconds";
