/**
 * Ends what has taken too long. One timer watches over all that is under way, so that what ends in time, which is nearly
 * everything, costs next to nothing.
 */
import type * as Clock from "effect/Clock";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import type * as Scope from "effect/Scope";

export interface Timeouts {
  /** Calls `end` at that time, in milliseconds since the epoch, unless it was called off before by the function given back. */
  readonly watch: (clock: Clock.Clock, at: number, end: () => void) => () => void;
}

interface Watched {
  readonly at: number;
  readonly end: () => void;
  /** Its place among those under way. */
  index: number;
}

export const make: Effect.Effect<Timeouts, never, Scope.Scope> = Effect.gen(function* () {
  // No Set: its tables are chained, and one that is old keeps all after it from being collected young.
  const underWay: Array<Watched> = [];
  const forget = (watched: Watched): void => {
    const last = underWay[underWay.length - 1];
    if (last === undefined || underWay[watched.index] !== watched) return;
    underWay[watched.index] = last;
    last.index = watched.index;
    underWay.pop();
  };
  let sleeper: Fiber.RuntimeFiber<void> | undefined;
  let wakesAt = Infinity;

  const sleep = (clock: Clock.Clock): void => {
    const before = sleeper;
    wakesAt = Math.min(...underWay.map(({ at }) => at));
    const nap = Duration.millis(Math.max(0, Math.ceil(wakesAt - clock.unsafeCurrentTimeMillis())));
    sleeper = underWay.length === 0
      ? undefined
      : Effect.runFork(Effect.map(clock.sleep(nap), () => wake(clock)));
    before?.unsafeInterruptAsFork(before.id());
  };

  const wake = (clock: Clock.Clock): void => {
    const now = clock.unsafeCurrentTimeMillis();
    const late = underWay.filter(({ at }) => at <= now);
    for (const watched of late) forget(watched);
    sleeper = undefined;
    sleep(clock);
    // Each by itself: one that throws keeps no other from being ended.
    for (const { end } of late) Effect.runFork(Effect.sync(end));
  };

  yield* Effect.addFinalizer(() =>
    Effect.suspend(() => {
      underWay.length = 0;
      return sleeper === undefined ? Effect.void : Fiber.interrupt(sleeper);
    })
  );

  return {
    watch: (clock, at, end) => {
      const watched = { at, end, index: underWay.length };
      underWay.push(watched);
      // A nap goes on though what it was for has ended: the next is likely to be as long.
      if (sleeper === undefined || at < wakesAt) sleep(clock);
      return () => forget(watched);
    },
  };
});
