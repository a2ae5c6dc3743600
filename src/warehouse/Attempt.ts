/** Work on a target that outlasts a lost connection: it begins again with a new one, from the last checkpoint. */
import * as Clock from "effect/Clock";
import * as Duration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import type * as Scope from "effect/Scope";
import * as Store from "./Store.ts";
import { isTargetError, type Target, TargetError } from "./Target.ts";

/** Call a function of a target. What is not a {@link TargetError}, of whatever copy of this library, is a defect. */
export const call = <A>(work: () => Promise<A>): Effect.Effect<A, TargetError> =>
  Effect.catchAllDefect(Effect.promise(work), (error) => {
    if (error instanceof TargetError) return Effect.fail(error);
    if (!isTargetError(error)) return Effect.die(error);
    const { reason, target, message } = error;
    return Effect.fail(new TargetError({ reason, target, message, cause: error }));
  });

export interface AttemptOptions {
  /** The wait for another run to end. @default {0, it is refused} */
  readonly wait?: Duration.DurationInput | undefined;
  /** The patience with a target that can't be reached. @default {5 minutes} */
  readonly maxElapsed?: Duration.DurationInput | undefined;
  /** Time without a sign of life after which another run may take over. @default {2 minutes} */
  readonly lease?: Duration.DurationInput | undefined;
}

const PAUSES = { first: 500, most: 10_000 };
/** The pause between two looks at a run that is waited for. */
const LOOK = 500;
/** Heartbeats within the time of a lease. */
const BEATS = 4;

/** Tell whether the same may go well a little later. A host that was there has not lost its name for good. */
const isTransient = ({ reason }: TargetError, wasThere: boolean): boolean =>
  reason === "Unreachable" || reason === "Busy" || reason === "Exists" ||
  (reason === "UnknownHost" && wasThere);

export interface Work {
  readonly store: Store.Store;
  readonly begun: Store.Begun;
}

/** Open a store that is closed with the scope. Nobody waits for a connection that is no longer wanted. */
const open = (target: Target, options: Store.OpenOptions) =>
  Effect.gen(function* () {
    let store: Store.Store | undefined;
    let isOver = false;
    yield* Effect.addFinalizer(() => {
      isOver = true;
      return Effect.promise(() => store?.close() ?? Promise.resolve());
    });
    return yield* call(async () => {
      const opened = await Store.open(target, options);
      if (isOver) void opened.close();
      return store = opened;
    });
  });

/** Do work, which is told to be quick once it is interrupted. */
const hurried = <A, E, R>(store: Store.Store, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptibleMask((restore) =>
    Effect.flatMap(
      Effect.fork(Effect.interruptible(work)),
      (fiber) =>
        Effect.onInterrupt(restore(Fiber.join(fiber)), () => {
          store.hurry();
          return Fiber.interrupt(fiber);
        }),
    )
  );

/** Take the lease, after whoever has it if that is to be waited for. */
const begin = (
  store: Store.Store,
  asked: Store.Asked,
  wait: Duration.Duration,
  own: Store.Begun | undefined,
) =>
  Effect.gen(function* () {
    const from = yield* Clock.currentTimeMillis;
    let isTold = false;
    while (true) {
      const now = yield* Clock.currentTimeMillis;
      const taken = yield* Effect.either(call(() => store.begin(asked, new Date(now).toISOString(), own)));
      if (taken._tag === "Right") return taken.right;
      const { reason, message } = taken.left;
      if (reason !== "Locked" || now - from >= Duration.toMillis(wait)) return yield* taken.left;
      if (!isTold) {
        yield* Effect.logWarning(message.replace(/:[^:]*$/, `: waiting for up to ${Duration.format(wait)}`));
      }
      isTold = true;
      yield* Effect.sleep(LOOK);
    }
  });

/**
 * Do work on a target with its lease. Where the connection is lost it is done anew, on the same run; gives up once the target
 * can't be reached for too long. A run may have ended by a commit whose answer was lost: `begun.isEnded` tells.
 */
export const during = <A, E, R>(
  target: Target,
  prepare: Store.PrepareOptions,
  askedOf: (store: Store.Store) => Effect.Effect<Store.Asked, TargetError>,
  { wait = 0, maxElapsed = "5 minutes", lease = "2 minutes", shard }:
    & AttemptOptions
    & Pick<Store.OpenOptions, "shard">,
  work: (work: Work) => Effect.Effect<A, E, R>,
): Effect.Effect<A, E | TargetError, Exclude<R, Scope.Scope>> => {
  const id = crypto.randomUUID();
  const leaseSeconds = Duration.toSeconds(lease);
  let lostAt: number | undefined;
  let losses = 0;

  let own: Store.Begun | undefined;
  let wasThere = false;

  const attempt = Effect.scoped(Effect.gen(function* () {
    const opened = yield* open(target, { id, leaseSeconds, shard });
    wasThere = true;
    const store: Store.Store = {
      ...opened,
      commit: async (checkpoint) => {
        const counts = await opened.commit(checkpoint);
        [lostAt, losses] = [undefined, 0];
        return counts;
      },
    };
    yield* call(() => store.prepare(prepare));
    const begun = yield* begin(store, yield* askedOf(store), Duration.decode(wait), own);
    own = begun;
    const beats = Effect.forever(
      Effect.delay(call(() => store.beat()), Duration.seconds(leaseSeconds / BEATS)),
    );
    return yield* hurried(
      store,
      begun.isEnded ? work({ store, begun }) : Effect.raceFirst(work({ store, begun }), beats),
    );
  }));

  const again: Effect.Effect<A, E | TargetError, Exclude<R, Scope.Scope>> = Effect.catchAll(
    attempt,
    (error): Effect.Effect<A, E | TargetError, Exclude<R, Scope.Scope>> => {
      if (!(error instanceof TargetError) || !isTransient(error, wasThere)) return Effect.fail(error);
      return Effect.flatMap(Clock.currentTimeMillis, (now) => {
        lostAt ??= now;
        const left = Duration.toMillis(maxElapsed) - (now - lostAt);
        if (left <= 0) return Effect.fail(error);
        const pause = Math.min(PAUSES.first * 2 ** losses++, PAUSES.most, left);
        const told = losses > 1 ? Effect.void : Effect.logWarning(
          `${error.message}. Trying again for up to ${Duration.format(Duration.decode(maxElapsed))}`,
        );
        return Effect.zipRight(told, Effect.zipRight(Effect.sleep(pause), again));
      });
    },
  );
  return again;
};
