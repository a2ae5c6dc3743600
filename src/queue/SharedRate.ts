/**
 * A limiter whose rate is shared by all machines that work on one tenant. It leases turns from the ledger at the queue's server,
 * a few ahead of its need, and uses none that it has not seen to be good within the last half second: so a machine that was
 * refused slows all others down.
 *
 * @module
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Random from "effect/Random";
import type * as Scope from "effect/Scope";
import * as Line from "../api/rate/Line.ts";
import * as RateLimiter from "../api/rate/RateLimiter.ts";
import * as Demand from "./Demand.ts";
import * as RateLedger from "./RateLedger.ts";
import * as ServerClock from "./ServerClock.ts";
import * as Turns from "./Turns.ts";
import type { Values } from "./Values.ts";

export interface SharedRateOptions {
  readonly values: Values;
  /** Name of the tenant, the same on all machines. */
  readonly tenant: string;
  readonly rate: RateLedger.Ceiling;
}

/** The pause after a failure to reach the server, in milliseconds. */
const AGAIN = 500;
/** The time between two looks at the ledger while a lease is far ahead, which may have become void. */
const LOOK = 5000;
/** The time before it is needed at which a lease is asked for or confirmed, besides twice the time that takes. */
const AHEAD = 60;
const AHEAD_MOST = 350;
/** The weight of the time that a lease took, in the average: one in so many. */
const SMOOTH = 4;
/** The time between two leases of one machine. */
const GAP = 10;
/** The longest pause after another was faster, in milliseconds: twice as long with each time. */
const JITTER = { first: 4, most: 64 };

/** Events that the server has not been told of, on the clock of this machine. */
interface Pending {
  accepted: number;
  throttled: Array<number>;
  heldUntil: number;
  waited: boolean;
  /** True if others must know at once. */
  isUrgent: boolean;
}

const nothing = (): Pending => ({
  accepted: 0,
  throttled: [],
  heldUntil: -Infinity,
  waited: false,
  isUrgent: false,
});

const merged = (one: Pending, other: Pending): Pending => ({
  accepted: one.accepted + other.accepted,
  throttled: [...one.throttled, ...other.throttled],
  heldUntil: Math.max(one.heldUntil, other.heldUntil),
  waited: one.waited || other.waited,
  isUrgent: one.isUrgent || other.isUrgent,
});

/** Make a limiter that shares a rate for as long as the scope lasts. A rate out of range throws a RangeError. */
export const make = (
  { values, tenant, rate }: SharedRateOptions,
): Effect.Effect<RateLimiter.RateLimiter, never, Scope.Scope> =>
  Effect.gen(function* () {
    const { ceiling } = RateLimiter.normalizeOptions({ rate });
    const key = `rate:${tenant}`;
    const clock = yield* Effect.clock;
    // No turn depends on a clock that is set.
    const monotonic = () => Number(clock.unsafeCurrentTimeNanos()) / 1e6;
    const wall = () => clock.unsafeCurrentTimeMillis();

    const line = Line.make();
    const turns = Turns.make();
    const demand = Demand.make();
    const server = ServerClock.make();
    let pending = nothing();
    let heldUntil = -Infinity;
    // The ledger as it was read last: when that was asked for, and when its last slowdown was learned of.
    let [rateNow, epoch, seenAt] = [ceiling, -1, -Infinity];
    let [slowedAt, learnedAt] = [-1, -Infinity];
    // The time that it takes to lease turns.
    let roundTrip = 0;
    let [askedAt, notBefore] = [-Infinity, -Infinity];
    let isTold = false;
    // For the first in line, which may have no turn to wait for, and for what leases turns, until when it means to rest.
    const [firstBell, workerBell] = [Effect.unsafeMakeLatch(), Effect.unsafeMakeLatch()];
    const heard = (bell: Effect.Latch) => Effect.zipRight(bell.await, bell.close);
    let plannedAt = -Infinity;

    const ahead = () => Math.min(AHEAD_MOST, AHEAD + 2 * roundTrip);

    /** Gives the number of turns to ask for, and in how long. */
    const need = (now: number): { readonly missing: number; readonly askIn: number } => {
      const waiting = line.size();
      const count = turns.count();
      const expected = demand.at(now) * RateLedger.lengthOf(roundTrip) / RateLedger.LENGTH;
      const wanted = Math.max(waiting, Math.round(expected));
      const whole = RateLedger.whole(rateNow, roundTrip);
      const missing = Math.min(wanted - count, whole);
      if (waiting === 0 || missing <= 0) return { missing: 0, askIn: Infinity };
      if (count === 0) return { missing, askIn: Math.max(0, askedAt + GAP - now) };
      const isMuch = missing >= Math.min(whole, Math.ceil(wanted / 2));
      if (!isMuch && count >= waiting) return { missing: 0, askIn: Infinity };
      const before = isMuch ? ahead() : 2 * roundTrip + 5;
      return { missing, askIn: Math.max(0, turns.last() - before - now, askedAt + GAP - now) };
    };

    /** Tells in how long there is something to do at the server. */
    const dueIn = (now: number): number => {
      const rest = Math.max(0, notBefore - now);
      if (pending.isUrgent) return rest;
      if (line.size() === 0) return Infinity;
      turns.expire(now);
      const first = turns.first();
      if (first === undefined) return Math.max(rest, need(now).askIn);
      const used = Math.max(first, now, heldUntil);
      const confirmIn = used - seenAt > RateLedger.FRESH - 50 ? used - ahead() - now : Infinity;
      return Math.max(rest, Math.min(need(now).askIn, confirmIn, seenAt + LOOK - now));
    };

    /** Has the worker look again, if that is earlier than it meant to. */
    const stir = () => {
      const now = monotonic();
      if (now + dueIn(now) < plannedAt - 1) workerBell.unsafeOpen();
    };

    /** Takes in what the ledger says, which was asked for at a time here, and read at one there. */
    const learn = (state: RateLedger.State, asked: number, now: number) => {
      if (state.epoch !== epoch) turns.clear();
      // Turns of before that are good for all that have not learned of it either.
      if (slowedAt >= 0 && state.slowedAt !== slowedAt) learnedAt = Math.max(monotonic(), turns.last());
      if (state.heldUntil > now) heldUntil = Math.max(heldUntil, server.here(state.heldUntil));
      [rateNow, epoch, seenAt, slowedAt] = [state.rate, state.epoch, asked, state.slowedAt];
    };

    const attempt = <A>(work: () => Promise<A>) => Effect.tryPromise({ try: work, catch: (error) => error });

    /** Tells what is pending and leases what is missing, unless another machine was faster. */
    const exchange = (told: Pending) =>
      Effect.gen(function* () {
        const asked = monotonic();
        const read = yield* attempt(() => values.read(key));
        const came = monotonic();
        server.hear(came, read.now);
        const before = RateLedger.parse(read.value);
        if (before !== undefined) learn(before, asked, read.now);
        const { missing, askIn } = need(came);
        const wanted = askIn === 0 ? missing : 0;
        if (wanted === 0 && !told.isUrgent) return true;
        const { state, lease } = RateLedger.decide({
          state: before,
          now: read.now,
          turns: wanted,
          lead: roundTrip,
          ceiling: rate,
          reports: {
            ...told,
            // Whoever left before the last slowdown was known here is not a reason for another.
            throttled: told.throttled.map((leftAt) => leftAt < learnedAt ? 0 : server.there(leftAt)),
            heldUntil: told.heldUntil > came ? server.there(told.heldUntil) : 0,
          },
        });
        if (!(yield* attempt(() => values.replace(key, read.version, JSON.stringify(state))))) return false;
        learn(state, asked, read.now);
        if (lease !== undefined) turns.add(lease, server.here(read.now));
        told.isUrgent = false;
        [told.accepted, told.throttled, told.heldUntil, told.waited] = [0, [], -Infinity, false];
        const took = monotonic() - asked;
        roundTrip += roundTrip === 0 ? took : (took - roundTrip) / SMOOTH;
        askedAt = lease === undefined ? askedAt : asked;
        return true;
      });

    const round = Effect.suspend(() => {
      const told = pending;
      pending = nothing();
      const again = (most: number): Effect.Effect<unknown, unknown> =>
        Effect.flatMap(exchange(told), (done) =>
          done ? Effect.void : Effect.flatMap(
            Random.next,
            (chance) => Effect.zipRight(Effect.sleep(chance * most), again(Math.min(2 * most, JITTER.most))),
          ));
      return again(JITTER.first).pipe(
        Effect.zipRight(Effect.sync(() => void (isTold = false))),
        Effect.catchAll((error) => {
          notBefore = monotonic() + AGAIN;
          const warning = isTold ? Effect.void : Effect.logWarning(
            `No request leaves for ${tenant} until the rate can be shared again: ${
              error instanceof Error ? error.message : error
            }`,
          );
          isTold = true;
          return warning;
        }),
        Effect.ensuring(Effect.sync(() => {
          pending = merged(told, pending);
          firstBell.unsafeOpen();
        })),
      );
    });

    /** Waits until there is something to do at the server. */
    const rest = Effect.suspend(() => {
      const now = monotonic();
      const pause = dueIn(now);
      if (pause === 0) return Effect.void;
      plannedAt = now + pause;
      workerBell.unsafeClose();
      return Effect.ensuring(
        pause === Infinity
          ? heard(workerBell)
          : Effect.raceFirst(heard(workerBell), Effect.sleep(Math.ceil(pause))),
        Effect.sync(() => void (plannedAt = -Infinity)),
      );
    });

    yield* Effect.forkScoped(Effect.forever(
      Effect.zipRight(rest, Effect.suspend(() => dueIn(monotonic()) === 0 ? round : Effect.void)),
    ));

    /** Takes a turn if there is one now: 0 if there was, else in how long there may be one, if that is known. */
    const tryTurn = (now: number): number | undefined => {
      turns.expire(now);
      const first = turns.first();
      if (first === undefined) return undefined;
      const pause = Math.max(first, heldUntil) - now;
      if (pause > 0) return pause;
      if (now - seenAt > RateLedger.FRESH) return undefined;
      turns.take();
      return 0;
    };

    const turn = (patience: number): Effect.Effect<number, { readonly heldFor: number }> =>
      Effect.suspend(() => {
        const now = monotonic();
        const heldFor = Math.ceil(heldUntil - now);
        if (heldFor > patience) return Effect.fail({ heldFor });
        const pause = tryTurn(now);
        stir();
        if (pause === 0) return Clock.currentTimeMillis;
        if (pause === undefined) return Effect.zipRight(heard(firstBell), turn(patience));
        pending.waited = true;
        const time = Effect.sleep(Math.ceil(pause));
        // One that is far ahead may not come, or another before it.
        const ready = pause > RateLedger.LENGTH ? Effect.raceFirst(time, heard(firstBell)) : time;
        return Effect.zipRight(ready, turn(patience));
      });

    const tryAcquire = (): boolean => {
      const isFirst = line.size() === 0 && tryTurn(monotonic()) === 0;
      if (isFirst) demand.add(monotonic());
      return isFirst;
    };

    return {
      tryAcquire,
      acquire: (patience) =>
        Effect.suspend(() => {
          const now = monotonic();
          const heldFor = Math.ceil(heldUntil - now);
          if (heldFor > patience) return Effect.fail({ heldFor });
          if (tryAcquire()) return Clock.currentTimeMillis;
          demand.add(now);
          return line.wait(turn(patience));
        }),
      pauseUntil: (until) => {
        const end = monotonic() + until - wall();
        if (end <= Math.max(heldUntil, monotonic())) return false;
        heldUntil = end;
        pending.heldUntil = end;
        pending.isUrgent = true;
        stir();
      },
      throttled: (leftAt) => {
        const left = monotonic() + leftAt - wall();
        pending.throttled.push(left);
        if (left >= learnedAt) pending.isUrgent = true;
        stir();
      },
      accepted: () => void pending.accepted++,
      state: () => ({
        rate: rateNow,
        waiting: line.size(),
        heldUntil: heldUntil === -Infinity ? 0 : Math.round(wall() + heldUntil - monotonic()),
      }),
    };
  });
