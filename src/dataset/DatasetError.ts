/** Why a dataset can't be written, gone on with or read. */
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import { SinkError } from "../sink/Sink.ts";
import { Strange } from "../sink/SafeFile.ts";

/** A dataset can't be written, gone on with, or read as it is. But for `LeaseLost` and `Shards`, nothing in its folder was changed. */
export class DatasetError extends Data.TaggedError("DatasetError")<{
  /**
   * `Occupied`: the folder holds a run, or something else. `Locked`: another process writes there. `LeaseLost`: another process
   * has taken over, as this one was silent for too long. `Options`: it was begun with others. `Corrupt`: a file of it is not as
   * it was written. `Version`: a newer version of this program wrote it. `Absent`: there is none. `Shards`: some of a run's
   * shards failed; the others are kept.
   */
  readonly reason:
    | "Occupied"
    | "Locked"
    | "LeaseLost"
    | "Options"
    | "Corrupt"
    | "Version"
    | "Absent"
    | "Shards";
  readonly path: string;
  readonly message: string;
}> {}

/** The error for a file of the dataset that is not what this program writes; `why` goes on from `is damaged:`. */
export const damaged = (path: string, why: string): DatasetError =>
  new DatasetError({
    reason: "Corrupt",
    path,
    message: `${path} is damaged: ${why}. Restore it from a backup, or export into another folder`,
  });

/** Make the error for a failure to read or write a file. */
export const failure =
  (reason: SinkError["reason"], path: string) => (cause: unknown): SinkError | DatasetError =>
    cause instanceof DatasetError
      ? cause
      : cause instanceof Strange
      ? damaged(cause.path, cause.message)
      : new SinkError({ reason, path, cause });

/** Do work on a file or folder. What has begun is waited for, even if the run is interrupted. */
export const attempt = <A>(
  reason: SinkError["reason"],
  path: string,
  work: () => Promise<A>,
): Effect.Effect<A, SinkError | DatasetError> =>
  Effect.uninterruptible(Effect.tryPromise({ try: work, catch: failure(reason, path) }));
