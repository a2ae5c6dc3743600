/** Machines that share a rate, in one process and on a clock that leaps: what left when. */
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as Logger from "effect/Logger";
import type { RateLimiter } from "../../src/api/rate/RateLimiter.ts";
import type { Ceiling } from "../../src/queue/RateLedger.ts";
import * as SharedRate from "../../src/queue/SharedRate.ts";
import * as virtualClock from "../api/virtualClock.ts";
import * as memory from "./memory.ts";

/** A request as it left. */
export interface Left {
  readonly machine: number;
  readonly at: number;
}

/** Machines that share one rate, on a clock that leaps. */
export const world = (
  rate: Ceiling,
  count: number,
  { rates = [], way = 0 }: { readonly rates?: ReadonlyArray<Ceiling>; readonly way?: number } = {},
) => {
  const { clock, pass } = virtualClock.make();
  const now = () => clock.unsafeCurrentTimeMillis();
  // Another clock than that of the machines.
  const server = memory.make(
    () => now() + 1e9,
    () => way === 0 ? Promise.resolve() : Effect.runPromise(Effect.withClock(Effect.sleep(way), clock)),
  );
  const left: Array<Left> = [];
  const warnings: Array<string> = [];
  const log = Logger.replace(
    Logger.defaultLogger,
    Logger.make(({ message }) => void warnings.push(String(message))),
  );
  const fork = <A, E>(work: Effect.Effect<A, E>) =>
    Effect.runFork(work.pipe(Effect.withClock(clock), Effect.provide(log)));
  const machines = Array.from({ length: count }, (_, n) => {
    const values = server.machine();
    let limiter: RateLimiter | undefined;
    const fiber = fork(Effect.scoped(Effect.gen(function* () {
      limiter = yield* SharedRate.make({ values, tenant: "acme", rate: rates[n] ?? rate });
      yield* Effect.never;
    })));
    return {
      values,
      limiter: () => limiter!,
      stop: () => Effect.runPromise(Fiber.interrupt(fiber)),
      /** Starts so many requests one after the other, side by side, each of which takes so long. */
      ask: (sideBySide: number, each = Infinity, takes = 0) =>
        Array.from({ length: sideBySide }, () =>
          fork(Effect.gen(function* () {
            for (let nth = 0; nth < each; nth++) {
              left.push({ machine: n, at: yield* limiter!.acquire(Infinity) });
              limiter!.accepted();
              yield* Effect.sleep(takes);
            }
          }))),
    };
  });
  return { pass, now, server, left, warnings, machines, fork };
};

export const between = (left: ReadonlyArray<Left>, from: number, to: number) =>
  left.filter(({ at }) => at >= from && at < to).length;

/** The most that left within any time of this length. */
export const most = (left: ReadonlyArray<Left>, length: number): number => {
  const times = left.map(({ at }) => at).sort((one, other) => one - other);
  let [worst, from] = [0, 0];
  times.forEach((at, to) => {
    while (times[from]! <= at - length) from++;
    worst = Math.max(worst, to - from + 1);
  });
  return worst;
};

export const stopAll = (machines: ReadonlyArray<{ readonly stop: () => Promise<unknown> }>) =>
  Promise.all(machines.map(({ stop }) => stop()));
