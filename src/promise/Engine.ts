/**
 * The way from plain options to the engine: what this folder's calls share. No declaration that callers see names it.
 *
 * @module
 */
import * as Cause from "effect/Cause";
import * as EffectDuration from "effect/Duration";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Layer from "effect/Layer";
import * as Runtime from "effect/Runtime";
import * as Stream from "effect/Stream";
import * as HttpPolicy from "../api/HttpPolicy.ts";
import * as Transport from "../api/transport/Transport.ts";
import * as Export from "../export/Export.ts";
import * as Verdict from "../export/Verdict.ts";
import * as Formats from "../format/Formats.ts";
import * as Options from "../options/Options.ts";
import * as Batch from "../session/Batch.ts";
import * as Redact from "../session/Redact.ts";
import * as RedactPolicy from "../session/RedactPolicy.ts";
import * as Session from "../session/Session.ts";
import * as SessionSource from "../source/SessionSource.ts";
import * as UserSource from "../source/UserSource.ts";
import type { ProgressOptions } from "./Report.ts";
import type {
  Duration,
  EncodingOptions,
  FormatChoice,
  Redaction,
  SessionsOptions,
  TenantOptions,
  TransformOptions,
} from "./SessionsOptions.ts";

const duration: Options.Kind<Duration> = Options.kind(
  'milliseconds from 0 on, or a text such as "30 seconds"',
  (value) =>
    (typeof value === "number" && value >= 0) ||
    (typeof value === "string" && /^\d+(\.\d+)? (milli|second|minute|hour|day)s?$/.test(value)),
);

const isObject = (value: unknown): value is Readonly<Record<PropertyKey, unknown>> =>
  typeof value === "object" && value !== null;

const signal: Options.Kind<AbortSignal> = Options.kind(
  "an AbortSignal",
  (value) =>
    isObject(value) && typeof value["aborted"] === "boolean" &&
    typeof value["addEventListener"] === "function",
);

const users: Options.Kind<SessionsOptions["users"]> = Options.kind(
  'a list of user ids, or "all"',
  (value) =>
    value === "all" || (isObject(value) && (Symbol.iterator in value || Symbol.asyncIterator in value)),
);

const time: Options.Kind<Date> = Options.kind(
  "a Date that is valid",
  (value) => value instanceof Date && !Number.isNaN(value.getTime()),
);

const tenantNames: Options.Names<TenantOptions> = {
  domain: Options.text,
  apiKey: Options.text,
  rate: HttpPolicy.optionNames.rate,
  burst: Options.number,
  timeout: duration,
  maxAttempts: Options.number,
  maxElapsed: duration,
  baseDelay: duration,
  maxDelay: duration,
  maxBodyBytes: Options.number,
  fetch: Options.callback,
};

/** See {@link SessionsOptions}. */
export const sessionsNames: Options.Names<SessionsOptions> = {
  ...tenantNames,
  ...SessionSource.optionNames,
  filter: Options.callback,
  map: Options.callback,
  redact: Options.object<Redaction>(
    { policy: RedactPolicy.kind, secret: Options.text },
    { required: ["policy"] },
  ),
  users,
  since: time,
  signal,
};

/** See {@link EncodingOptions}. */
export const encodingNames: Options.Names<EncodingOptions> = {
  ...Formats.optionNames,
  ...Export.rejectionNames,
};

const LONGEST_LOOKBACK = 31 * 86_400;

const lookback: Options.Kind<Duration> = (value, name) => {
  const seconds = secondsOf(duration(value, name));
  return Options.kind<Duration>("from 0 to 31 days", () => seconds <= LONGEST_LOOKBACK)(value, name);
};

/** Kinds of options that not all calls have. */
export const kinds = { lookback, signal };

/** The options that each call needs. */
export const required = ["domain", "apiKey", "users"] as const;

/** A format's name as callers give it. */
export const format: Options.Kind<FormatChoice> = Options.oneOf(
  Formats.choices as ReadonlyArray<FormatChoice>,
);

/** Reads options to do something with them. Left out altogether, the first that is needed is told. */
export const take = <A>(doing: string, kind: Options.Kind<A>, given: unknown): A =>
  Options.take(doing, kind, given === undefined ? {} : given);

/** Gives whole seconds, no fewer. */
export const secondsOf = (given: Duration): number => Math.ceil(EffectDuration.toSeconds(given));

/** The tenant that options name. */
export const tenantOf = ({ fetch, ...options }: TenantOptions) =>
  Layer.provide(
    HttpPolicy.connect(Options.pick(HttpPolicy.optionNames, options)),
    Transport.fetch(fetch),
  );

const mapped =
  (doing: string, { map, redact }: Required<Pick<TransformOptions, "map" | "redact">>) =>
  (session: Session.Session, userId: string): Session.Session => {
    const given: unknown = map!(session, userId);
    if (Session.is(given)) return given;
    const where = `${JSON.stringify(session.session_id)} of user ${JSON.stringify(userId)}`;
    const decoded = Session.decode(given);
    const flaw = decoded._tag === "Right"
      ? ""
      : redact === undefined
      ? decoded.left.message
      : `wrong: ${Session.flawedFields(decoded.left)}`;
    throw new TypeError(
      given instanceof Promise
        ? `Cannot ${doing} as 'map' must return a session: it is async`
        : `Cannot ${doing} as 'map' must return a session. What it returned for session ${where} is none: ${flaw}`,
    );
  };

const filtered =
  (doing: string, filter: NonNullable<TransformOptions["filter"]>) =>
  (session: Session.Session, userId: string): boolean => {
    const given: unknown = filter(session, userId);
    if (typeof given === "boolean") return given;
    const is = given instanceof Promise
      ? "it is async"
      : `it returned ${given === null ? "null" : typeof given}`;
    throw new TypeError(`Cannot ${doing} as 'filter' must return true or false: ${is}`);
  };

/** Gives what is done to each batch. Throws a TypeError on a redaction that can't be. */
export const transformOf = (
  doing: string,
  { filter, map, redact }: TransformOptions,
): (batch: Batch.Batch) => Batch.Batch => {
  const keep = filter && filtered(doing, filter);
  const change = map && mapped(doing, { map, redact });
  const hide = redact && Redact.make(redact.policy, redact.secret);
  return (batch) => {
    const kept = keep === undefined ? batch : Batch.filter(batch, keep);
    const changed = change === undefined ? kept : Batch.map(kept, change);
    return hide === undefined ? changed : hide(changed);
  };
};

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

/** What to be told of the users while they are listed. */
export interface UsersListener {
  /** Why not every user of the tenant may have been named. */
  readonly doubts: (doubts: ReadonlyArray<string>) => void;
  /** How many there are. */
  readonly total?: (count: number | undefined) => void;
}

/** The users that options name. What throws, in a list of the caller's, throws as it is. */
export const usersOf = (
  doing: string,
  { users, pageSize }: Pick<SessionsOptions, "users" | "pageSize">,
  told: UsersListener,
): Stream.Stream<string, unknown, HttpPolicy.TenantHttp> => {
  if (Array.isArray(users)) told.total?.(users.length);
  return users === "all"
    ? Stream.mapConcat(UserSource.all({ pageSize }), ({ userIds, total, doubts = [] }) => {
      told.total?.(total);
      if (doubts.length > 0) told.doubts(doubts);
      return userIds;
    })
    : Stream.map(
      Symbol.asyncIterator in Object(users)
        ? Stream.fromAsyncIterable(users as AsyncIterable<string>, (error) => error)
        : Stream.fromIterable(users as Iterable<string>),
      (id) => checkId(doing, id),
    );
};

/** A source that always has a batch ready is never found waiting, so each batch looks at the signal as well. */
export const until = <R>(
  batches: Stream.Stream<Batch.Batch, unknown, R>,
  signal: AbortSignal | undefined,
): Stream.Stream<Batch.Batch, unknown, R> => {
  const looking = Stream.interruptWhen(batches, aborted(signal)).pipe(
    Stream.mapEffect((batch) => signal?.aborted ? Effect.fail(signal.reason) : Effect.succeed(batch)),
  );
  return Stream.suspend(() => signal?.aborted ? Stream.fail(signal.reason) : looking);
};

/** The options of a walk, of options that have others as well. */
export const walkOf = <A extends SessionSource.WalkOptions & Pick<SessionsOptions, "users">>(options: A) => ({
  ...Options.pick(SessionSource.optionNames, options),
  areListed: options.users === "all",
});

/** Reads what each call has in common: gives the batches, or throws a TypeError where they can't be asked for. */
export const batchesOf = (
  doing: string,
  options: SessionsOptions,
  told: UsersListener,
): Stream.Stream<Batch.Batch, unknown, HttpPolicy.TenantHttp> => {
  const { sort, since, signal } = options;
  const transform = transformOf(doing, options);
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
  stream: Stream.Stream<A, unknown, HttpPolicy.TenantHttp>,
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

export { Export, Options, Verdict };
