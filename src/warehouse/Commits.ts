/** Commits one after another, each while the next is gathered. */
import * as Effect from "effect/Effect";
import * as Attempt from "./Attempt.ts";
import type * as Store from "./Store.ts";
import type { TargetError } from "./Target.ts";

export type Commits = ReturnType<typeof make>;

/** Make what commits to a store. */
export const make = (store: Store.Store) => {
  let last: Promise<unknown> = Promise.resolve();
  let hasFailed = false;
  const commit = (checkpoint: Store.Checkpoint): Effect.Effect<Promise<Store.Counts>, TargetError> =>
    Effect.map(Attempt.call(() => last), () => {
      const commit = store.commit(checkpoint);
      commit.catch(() => hasFailed = true);
      last = commit;
      return commit;
    });
  return {
    /** Begins a commit, once the one before is done. */
    begin: (checkpoint: Store.Checkpoint): Effect.Effect<void, TargetError> =>
      Effect.asVoid(commit(checkpoint)),
    /** Does a commit, after those that were begun. */
    finish: (checkpoint: Store.Checkpoint) =>
      Effect.flatMap(commit(checkpoint), (commit) => Attempt.call(() => commit)),
    /** Fails with what a commit that was begun has failed with by now. */
    check: Effect.suspend(() => hasFailed ? Effect.asVoid(Attempt.call(() => last)) : Effect.void),
  };
};
