/** Workers that take users one by one, as many side by side as may be, and put what comes of them into one stream. */
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as FiberSet from "effect/FiberSet";
import * as Mailbox from "effect/Mailbox";
import * as Option from "effect/Option";
import * as Stream from "effect/Stream";
import { everythingReady } from "./Ready.ts";

export interface Worker<A> {
  /** Waits while more lies ready than whoever reads has taken. */
  readonly offer: (element: A) => Effect.Effect<unknown>;
  /** Gives how many of so many each worker may have. */
  readonly share: (limit: number) => number;
  /** Starts more workers, where there may be more by now. */
  readonly grow: Effect.Effect<void>;
}

export interface UserPoolOptions<User, A, E, R, E2, R2> {
  readonly users: Stream.Stream<User, E, R>;
  readonly limit: () => number;
  /** The most elements that lie ready. */
  readonly capacity: number;
  readonly work: (user: User, worker: Worker<A>) => Effect.Effect<unknown, E2, R2>;
  /** Done once all users are: what fails here fails the stream. */
  readonly end: Effect.Effect<unknown, E2>;
}

/** Work on users side by side. Elements of one user come in order. */
export const run = <User, A, E, R, E2, R2>(
  { users, limit, capacity, work, end }: UserPoolOptions<User, A, E, R, E2, R2>,
): Stream.Stream<A, E | E2, R | R2> =>
  Stream.unwrapScoped(Effect.gen(function* () {
    const next = yield* sharedPull(users);
    const out = yield* Mailbox.make<A, E | E2>({ capacity });
    const workers = yield* FiberSet.make<void, E | E2>();
    const context = yield* Effect.context<R | R2>();
    const finished = yield* Deferred.make<void>();
    let active = 0;
    let areUsersLeft = true;
    const exit = Effect.suspend(() => --active === 0 ? Deferred.succeed(finished, undefined) : Effect.void);
    /** Starts as many workers as there may be, as long as there are users for them; it may be interrupted, but not in between. */
    const spawnWorkers: Effect.Effect<void> = Effect.uninterruptible(Effect.suspend(() => {
      const wanted = areUsersLeft ? limit() - active : 0;
      if (wanted <= 0) return Effect.void;
      active += wanted;
      // One that is interrupted by what it does ends the walk, as one that fails does.
      const spawn = FiberSet.run(workers, Effect.interruptible(Effect.provide(worker, context)), {
        propagateInterruption: true,
      });
      return Effect.forEach(Array.from({ length: wanted }), () => spawn, { discard: true });
    }));
    const own: Worker<A> = {
      offer: (element) => out.offer(element),
      share: (limit) => Math.floor(limit / active),
      grow: spawnWorkers,
    };
    const worker: Effect.Effect<void, E | E2, R | R2> = Effect.suspend(() =>
      active > limit() ? exit : Effect.flatMap(
        next,
        Option.match({
          onNone: () => {
            areUsersLeft = false;
            return exit;
          },
          onSome: (user) => Effect.flatMap(work(user, own), () => worker),
        }),
      )
    );
    yield* spawnWorkers.pipe(
      Effect.zipRight(Effect.raceFirst(FiberSet.join(workers), Deferred.await(finished))),
      Effect.zipRight(end),
      Effect.onExit((exit) => Effect.zipRight(Fiber.interruptAll(workers), out.done(Exit.asVoid(exit)))),
      Effect.forkScoped,
    );
    return drainMailbox(out);
  }));

/**
 * Stream what has been put into a mailbox. Answers that come at once are taken at once: a stream takes as many steps for a
 * chunk as for an element, and they were a seventh of what a small answer took (measured).
 */
const drainMailbox = <A, E>(mailbox: Mailbox.ReadonlyMailbox<A, E>): Stream.Stream<A, E> =>
  Stream.repeatEffectChunkOption(
    Effect.flatMap(
      Effect.mapError(Effect.zipRight(everythingReady, mailbox.takeAll), Option.some),
      ([elements, isDone]) =>
        isDone && elements.length === 0 ? Effect.fail(Option.none()) : Effect.succeed(elements),
    ),
  );

/** Give the elements of a stream, each to one of those who ask. None once it has ended. */
const sharedPull = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
  Effect.gen(function* () {
    const pull = yield* Stream.toPull(stream);
    const turn = yield* Effect.makeSemaphore(1);
    let buffered: Array<A> = [];
    let ended = false;
    const more: Effect.Effect<Option.Option<A>, E, R> = Effect.suspend(() =>
      buffered.length > 0 || ended ? take : Effect.matchEffect(pull, {
        onSuccess: (chunk) => {
          buffered = [...chunk].reverse();
          return more;
        },
        onFailure: Option.match({
          onNone: () => {
            ended = true;
            return Effect.succeed(Option.none<A>());
          },
          onSome: (error: E) => Effect.fail(error),
        }),
      })
    );
    const take: Effect.Effect<Option.Option<A>, E, R> = Effect.suspend(() => {
      if (buffered.length > 0) return Effect.succeed(Option.some(buffered.pop()!));
      return ended ? Effect.succeed(Option.none()) : turn.withPermits(1)(more);
    });
    return take;
  });
