/** Commits one after another, each while the next is gathered. */
import * as Effect from "effect/Effect";
import * as Attempt from "./Attempt.ts";
import type * as Store from "./Store.ts";
import type { TargetError } from "./Target.ts";

export interface Commits {
  /** Begins a commit, once the one before is done. */
  readonly begin: (checkpoint: Store.Checkpoint) => Effect.Effect<void, TargetError>;
  /** Does a commit, after those that were begun. */
  readonly finish: (checkpoint: Store.Checkpoint) => Effect.Effect<Store.Counts, TargetError>;
  /** Fails with what a commit that was begun has failed with by now. */
  readonly check: Effect.Effect<void, TargetError>;
}

export const make = (store: Store.Store): Commits => {
  let last: Promise<unknown> = Promise.resolve();
  let hasFailed = false;
  const begin = (checkpoint: Store.Checkpoint): Effect.Effect<Promise<Store.Counts>, TargetError> =>
    Effect.map(Attempt.call(() => last), () => {
      const commit = store.commit(checkpoint);
      commit.catch(() => hasFailed = true);
      last = commit;
      return commit;
    });
  return {
    begin,
    finish: (checkpoint) => Effect.flatMap(begin(checkpoint), (commit) => Attempt.call(() => commit)),
    check: Effect.suspend(() => hasFailed ? Effect.asVoid(Attempt.call(() => last)) : Effect.void),
  };
};
