/** A clock that leaps from one sleeper to the next: a minute of many requests passes in a moment. */
import { setImmediate } from "node:timers/promises";
import * as Clock from "effect/Clock";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";

interface Sleeper {
  readonly at: number;
  readonly nth: number;
  readonly wake: () => void;
}

/** The clock, at 0, and what lets a time pass on it. */
export const make = () => {
  let now = 0;
  let count = 0;
  // Sorted, the next one last.
  const sleepers: Array<Sleeper> = [];
  const isBefore = (one: Sleeper, other: Sleeper) =>
    one.at < other.at || (one.at === other.at && one.nth < other.nth);
  const add = (sleeper: Sleeper) => {
    let [low, high] = [0, sleepers.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isBefore(sleeper, sleepers[middle]!)) low = middle + 1;
      else high = middle;
    }
    sleepers.splice(low, 0, sleeper);
  };
  const nanos = () => BigInt(now) * 1_000_000n;
  const clock: Clock.Clock = {
    [Clock.ClockTypeId]: Clock.ClockTypeId,
    unsafeCurrentTimeMillis: () => now,
    currentTimeMillis: Effect.sync(() => now),
    unsafeCurrentTimeNanos: nanos,
    currentTimeNanos: Effect.sync(nanos),
    sleep: (duration) =>
      Effect.async<void>((resume) => {
        const sleeper: Sleeper = {
          at: now + Math.ceil(Duration.toMillis(duration)),
          nth: count++,
          wake: () => resume(Effect.void),
        };
        add(sleeper);
        return Effect.sync(() => {
          const index = sleepers.indexOf(sleeper);
          if (index >= 0) sleepers.splice(index, 1);
        });
      }),
  };
  const pass = async (milliseconds: number): Promise<void> => {
    const end = now + milliseconds;
    for (;;) {
      // All that can be done without time passing is done in microtasks, and in those of a turn of the event loop waited for.
      await setImmediate();
      await setImmediate();
      const next = sleepers.at(-1);
      if (next === undefined || next.at > end) break;
      now = next.at;
      while (sleepers.at(-1)?.at === now) sleepers.pop()!.wake();
    }
    now = end;
  };
  return { clock, pass };
};
