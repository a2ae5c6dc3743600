/**
 * Errors of a thread itself, whatever it was at.
 *
 * @module
 */
import * as Data from "effect/Data";

const advice = {
  Spawn: "Check that its module is there and may be read (Deno: --allow-read of this package), " +
    "or give a 'spawn' that starts one where a bundler has put it",
  Crashed: "Its unfinished files are removed, and the next export gets a new thread: run it again. " +
    "If it ran out of memory, give it more in 'spawn', or ask for smaller Parquet row groups",
  Protocol: "Its module is of another version than its caller's: bring them to one",
} as const;

/** A thread did not start, or ended while an export ran. */
export class ThreadError extends Data.TaggedError("ThreadError")<{
  /**
   * `Spawn`: it did not start. `Crashed`: it ended by itself, by an error that nobody caught, `process.exit`, or for want of
   * memory. `Protocol`: it answers what this version does not understand.
   */
  readonly reason: keyof typeof advice;
  /** The runtime's own words. They never hold the key. */
  readonly detail: string;
}> {
  override get message(): string {
    const what = {
      Spawn: "Cannot start a thread",
      Crashed: "The thread ended before the export did",
      Protocol: "Cannot understand the thread",
    }[this.reason];
    return `${what}: ${this.detail.replace(/\.$/, "")}. ${advice[this.reason]}.`;
  }
}
