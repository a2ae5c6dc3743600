/**
 * The contract of a target: a database that keeps a table of sessions. What is done there is the same SQL everywhere; a target
 * says how that database is reached, how it spells a few things, and how rows get into it fast.
 *
 * `Warehouse.contract` is the suite that a target must pass.
 *
 * @module
 */
import * as Data from "effect/Data";
import type { TargetErrorReason, TargetFailure } from "../plain/Target.ts";

export type * from "../plain/Target.ts";

/**
 * A target can't be reached, or does not take what it is given. {@link TargetErrorReason} has the reasons.
 *
 * The error of another copy of this library counts as well, and so does any error with this `_tag` and a reason.
 */
export class TargetError extends Data.TaggedError("TargetError")<{
  readonly reason: TargetErrorReason;
  /** {@link Target.name} */
  readonly target: string;
  readonly message: string;
  readonly cause?: unknown;
}> {}

/** Tell whether a value is the error of a target, of whatever copy of this library. */
export const isTargetError = (error: unknown): error is TargetFailure =>
  error instanceof Error && (error as { readonly _tag?: unknown })._tag === "TargetError";
