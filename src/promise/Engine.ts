/** The way from plain options to the engine. No declaration that callers see names it. */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import * as Runtime from "effect/Runtime";
import * as Stream from "effect/Stream";
import * as TenantClient from "../api/TenantClient.ts";
import * as Transport from "../api/transport/Transport.ts";
import * as Options from "../options/Options.ts";
import type * as Batch from "../session/Batch.ts";
import * as SessionSource from "../source/SessionSource.ts";
import * as UserList from "../source/UserList.ts";
import * as UserSource from "../source/UserSource.ts";
import type { ProgressOptions } from "../plain/Report.ts";
import type { SessionsOptions, TenantOptions } from "../plain/SessionsOptions.ts";
import * as Transform from "./Transform.ts";

export const tenantOf = ({ fetch, ...options }: TenantOptions) =>
  Layer.provide(
    TenantClient.layer(Options.pick(TenantClient.optionNames, options)),
    Transport.fetch(fetch),
  );

/** Fails once the signal says so, with its reason. */
export const aborted = (signal: AbortSignal | undefined): Effect.Effect<never, unknown> =>
  signal === undefined ? Effect.never : Effect.async((resume) => {
    const abort = () => resume(Effect.fail(signal.reason));
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    return Effect.sync(() => signal.removeEventListener("abort", abort));
  });

/** Checks one of `users`. */
export const checkId = (doing: string, id: unknown): string => {
  if (typeof id === "string" && id !== "") return id;
  const is = id === "" ? "empty" : id === null ? "null" : Array.isArray(id) ? "a list" : typeof id;
  throw new TypeError(`Cannot ${doing} as 'users' must be user ids, which are texts: one of them is ${is}`);
};

/** Reads the users that options name, to their end. */
export const userListOf = async (
  doing: string,
  { users }: Pick<SessionsOptions, "users">,
) => {
  if (users === "all") return UserList.all();
  const ids: Array<string> = [];
  for await (const id of users) ids.push(checkId(doing, id));
  return UserList.of(ids);
};

export interface UsersListener {
  /** Reasons why not every user of the tenant may have been named. */
  readonly unverifiedReasons: (unverifiedReasons: ReadonlyArray<string>) => void;
  readonly total?: (count: number | undefined) => void;
}

/** Lists the users that options name. What throws, in a list of the caller's, throws as it is. */
export const usersOf = (
  doing: string,
  { users }: Pick<SessionsOptions, "users">,
  told: UsersListener,
): Stream.Stream<string, unknown, TenantClient.TenantClient> => {
  if (Array.isArray(users)) told.total?.(users.length);
  return users === "all"
    ? Stream.mapConcat(UserSource.all(), ({ userIds, total, unverifiedReasons = [] }) => {
      told.total?.(total);
      if (unverifiedReasons.length > 0) told.unverifiedReasons(unverifiedReasons);
      return userIds;
    })
    : Stream.map(
      Symbol.asyncIterator in Object(users)
        ? Stream.fromAsyncIterable(users as AsyncIterable<string>, (error) => error)
        : Stream.fromIterable(users as Iterable<string>),
      (id) => checkId(doing, id),
    );
};

/**
 * Ends a source when the signal says so. One that always has a batch ready is never found waiting, so each batch looks as
 * well.
 */
export const until = <R>(
  batches: Stream.Stream<Batch.Batch, unknown, R>,
  signal: AbortSignal | undefined,
): Stream.Stream<Batch.Batch, unknown, R> => {
  const looking = Stream.interruptWhen(batches, aborted(signal)).pipe(
    Stream.mapEffect((batch) => signal?.aborted ? Effect.fail(signal.reason) : Effect.succeed(batch)),
  );
  return Stream.suspend(() => signal?.aborted ? Stream.fail(signal.reason) : looking);
};

/** Gives the options of a walk, of options that have others as well. */
export const walkOf = <A extends SessionSource.WalkOptions & Pick<SessionsOptions, "users">>(options: A) => ({
  ...Options.pick(SessionSource.optionNames, options),
  areListed: options.users === "all",
});

/** Reads what each call has in common: gives the batches, or throws a TypeError where they can't be asked for. */
export const batchesOf = (
  doing: string,
  options: SessionsOptions,
  told: UsersListener,
): Stream.Stream<Batch.Batch, unknown, TenantClient.TenantClient> => {
  const { sort, since, signal } = options;
  const transform = Transform.of(doing, options);
  const ids = usersOf(doing, options, told);
  if (since === undefined) {
    return until(Stream.map(SessionSource.batches(ids, walkOf(options)), transform), signal);
  }
  if (sort !== undefined) {
    throw new TypeError(`Cannot ${doing} as 'since' reads newest change first: leave out 'sort'`);
  }
  const { sort: _, ...walk } = walkOf(options);
  const changed = SessionSource.changes(ids, { ...walk, since: Math.floor(since.getTime() / 1000) });
  return until(Stream.map(changed, transform), signal);
};

/** Runs to the end; rejects with the error itself, not with Effect's wrapping of it. */
export const run = async <A>(work: Effect.Effect<A, unknown>, signal?: AbortSignal): Promise<A> => {
  const exit = await Effect.runPromiseExit(work, signal && { signal });
  if (Exit.isSuccess(exit)) return exit.value;
  if (signal?.aborted && Cause.isInterrupted(exit.cause)) throw signal.reason;
  throw Cause.squash(exit.cause);
};

/** Gives batches one by one, and throws the error itself. */
export async function* iterate<A>(
  stream: Stream.Stream<A, unknown, TenantClient.TenantClient>,
  options: TenantOptions,
): AsyncGenerator<A> {
  // The stream reports how it failed inside its elements, so that the iterator can throw the error itself.
  const exits = Stream.toAsyncIterableRuntime(
    stream.pipe(
      Stream.map((value): Exit.Exit<A, unknown> => Exit.succeed(value)),
      Stream.provideLayer(tenantOf(options)),
      Stream.catchAllCause((cause) => Stream.succeed(Exit.failCause(cause))),
    ),
    Runtime.defaultRuntime,
  );
  for await (const exit of exits) {
    if (Exit.isFailure(exit)) throw Cause.squash(exit.cause);
    yield exit.value;
  }
}

const EVERY = 250;

/** Tells how far work has come while it goes on, and once it has ended. What the callback throws ends the work. */
export const telling = async <A, B>(
  progress: A,
  { onProgress, signal }: ProgressOptions<A> & { readonly signal?: AbortSignal | undefined },
  work: (signal: AbortSignal | undefined) => Promise<B>,
): Promise<B> => {
  if (onProgress === undefined) return await work(signal);
  const thrown = new AbortController();
  const tell = () => {
    try {
      onProgress({ ...progress });
    } catch (error) {
      thrown.abort(error);
    }
  };
  const timer = setInterval(tell, EVERY);
  try {
    const result = await work(AbortSignal.any([thrown.signal, ...(signal ? [signal] : [])]));
    tell();
    thrown.signal.throwIfAborted();
    return result;
  } finally {
    clearInterval(timer);
  }
};

/** Keeps the engine's warnings from the console. */
export const quietly = Effect.provide(Logger.remove(Logger.defaultLogger));
