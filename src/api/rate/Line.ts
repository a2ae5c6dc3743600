/**
 * A line of those who wait, in order of arrival. Only the first looks at the clock: a rate that changes concerns all of them at
 * once, and one that is interrupted costs the others nothing.
 */
import * as Effect from "effect/Effect";

export const make = () => {
  const line = new Set<{ call: () => void }>();
  const first = () => line.values().next().value;
  return {
    size: (): number => line.size,
    /** Waits to be the first, and then for its turn. */
    wait: <A, E>(turn: Effect.Effect<A, E>): Effect.Effect<A, E> =>
      Effect.acquireUseRelease(
        Effect.sync(() => {
          const place = { call: () => {} };
          line.add(place);
          return place;
        }),
        (place) => {
          const called = Effect.async<void>((resume) => {
            place.call = () => resume(Effect.void);
            if (first() === place) place.call();
          });
          return Effect.zipRight(called, turn);
        },
        (place) =>
          Effect.sync(() => {
            line.delete(place);
            first()?.call();
          }),
      ),
  };
};
