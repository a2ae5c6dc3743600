/**
 * From users to batches of sessions: every user's list is walked, several users side by side, under the one pace of the
 * tenant.
 *
 * @module
 */
import * as Deferred from "effect/Deferred";
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as FiberSet from "effect/FiberSet";
import * as Mailbox from "effect/Mailbox";
import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import * as Stream from "effect/Stream";
import { type Batch, noRows, type WalkEnd } from "../session/Batch.ts";
import * as Options from "../options/Options.ts";
import { ApiError, type ApiErrorReason, isNotFound } from "../api/ApiError.ts";
import { type Page, TenantHttp } from "../api/HttpPolicy.ts";
import type { Scanned } from "../scan/PageScanner.ts";
import * as SessionsApi from "../api/SessionsApi.ts";
import { sortKeys } from "../api/Sort.ts";
import * as UsersApi from "../api/UsersApi.ts";
import * as Changes from "./incremental/Changes.ts";
import * as Clocks from "./paging/Clocks.ts";
import * as ConcurrencyController from "./ConcurrencyController.ts";
import * as PrefetchReader from "./paging/PrefetchReader.ts";
import { mostSize } from "./paging/Limits.ts";
import { leastSize, type ListShape, type Order } from "./paging/PageWalk.ts";
import { everythingReady } from "./Ready.ts";
import * as DecodedPage from "./DecodedPage.ts";
import * as WalkCheckpoint from "./paging/WalkCheckpoint.ts";

/** Which sessions to walk, and how. */
export interface SessionSourceOptions {
  /** Only sessions of this client. */
  readonly clientId?: string | undefined;
  /**
   * The order within each user. Left out, sessions come newest first, by a walk that can vouch for its result. So it can
   * for `initiated_at` and `session_id`; `expires_at` and `last_updated` change while the list is read, and a session whose
   * key changes meanwhile may be missing.
   *
   * @default {undefined}
   */
  readonly sort?: SessionsApi.Sort | undefined;
  /**
   * Sessions a page; the tenant may give fewer. From 10; pages below 50 overlap badly, at the price of more requests. Up to
   * twice as many are asked for where no smaller pages overlap: where many sessions share a second.
   *
   * @default {100}
   */
  readonly pageSize?: number | undefined;
  /**
   * How many requests may be under way at once: that many users are walked side by side, and when fewer are left, several
   * pages of one user are asked for at once. As many pages are held in memory, and a few more. With `"auto"` it begins with 8,
   * grows while answers come faster for it and none of them is a 429, and never beyond 256 or pages of 32,768 sessions.
   *
   * @default {"auto"}
   */
  readonly concurrency?: number | "auto" | undefined;
  /**
   * What becomes of the others when the walk of one user fails, though the tenant does not refuse the key: the stream
   * fails, or it goes on, and that user ends as `failed`. After three such failures in a row, with no answer in between,
   * the stream fails all the same: then it is the tenant.
   *
   * @default {"stop"}
   */
  readonly onFailure?: "stop" | "continue" | undefined;
  /**
   * Whether the users come from the tenant's own list. That one of them is unknown is then believed only once the tenant
   * says so a second time, at `GET /api/users/{user_id}`; as it is of users of whom sessions were delivered before.
   *
   * @default {false}
   */
  readonly areListed?: boolean | undefined;
}

/** How to walk, for those who find out by themselves whether the users are listed. */
export type WalkOptions = Omit<SessionSourceOptions, "areListed">;

/** See {@link WalkOptions}. */
export const optionNames: Options.Names<WalkOptions> = {
  clientId: Options.text,
  sort: Options.oneOf(sortKeys.flatMap((key) => [`${key}:1`, `${key}:-1`] as const)),
  pageSize: Options.number,
  concurrency: Options.textOr(Options.oneOf(["auto"]), Options.number),
  onFailure: Options.oneOf(["stop", "continue"]),
};

/** A user to walk: from the beginning, or from where an earlier walk stood. */
export type Start = string | {
  readonly userId: string;
  /** What {@link Batch.state} gave. */
  readonly state?: unknown;
  /** For {@link changes}: what the walk of an earlier run left in {@link WalkEnd.mark}. */
  readonly mark?: unknown;
};

/** Which changes to look for. */
export interface ChangesOptions extends Omit<SessionSourceOptions, "sort"> {
  /**
   * All that changed at or after this time, in seconds since the epoch by the tenant's clock, delivered before or not. It may
   * be later than a mark: that stays where it is then, and the next run without a time delivers what lies between. Left out:
   * for each user what has changed since its mark, and every session where there is none.
   */
  readonly since?: number | undefined;
  /**
   * How far below the mark to look once more, in seconds, for changes that became visible only after the time they bear.
   * What was delivered of that already is not delivered again.
   *
   * @default {300}
   */
  readonly lookback?: number | undefined;
  /**
   * Reads every list to its end, though only changes are delivered, and says in {@link Batch.seen} what it came upon: what
   * is not there is gone.
   *
   * @default {false}
   */
  readonly whole?: boolean | undefined;
  /**
   * With {@link whole}: tells what the place that sessions go to has of one. What it lacks is delivered whatever the mark
   * says, such as a session that was shown late or is listed again. What it has is not.
   */
  readonly holds?:
    | ((userId: string, sessionId: string, lastUpdated: number) => Changes.Holding)
    | undefined;
}

const safeOrders: ListShape["orders"] = [
  { sort: "initiated_at:-1", key: "initiated_at", type: "number", descending: true, fixed: true },
  { sort: "session_id:1", key: "session_id", type: "string", descending: false, fixed: true, unique: true },
];

/** Down from the newest change. */
const changeOrders: ListShape["orders"] = [DecodedPage.byChange, safeOrders[1]!];

const orderFrom = (sort: SessionsApi.Sort): Order => {
  const [key, order] = sort.split(":") as [SessionsApi.SortKey, string];
  const type = key === "session_id" ? "string" : "number";
  return {
    sort,
    key,
    type,
    descending: order === "-1",
    fixed: key === "initiated_at" || key === "session_id",
  };
};

/** Where a walk stands, what it knows of changes, and whether it reads to the end for all that. */
const State = Schema.Struct({
  walk: WalkCheckpoint.WalkState,
  watch: Schema.optional(Changes.WatchState),
  whole: Schema.optional(Schema.Literal(true)),
});
const decodeState = Schema.decodeUnknownSync(State);
const decodeMark = Schema.decodeUnknownSync(Changes.Mark);

/** How many times a 404 that the list of users contradicts is asked again, and after how many milliseconds at first. */
const CONTRADICTIONS = 3;
const CONTRADICTED_DELAY = 500;

/** Failures of `GET /api/users/{user_id}` that say nothing of the user: the key may not read users, for one. */
const saysNothing = ({ reason }: ApiError): boolean =>
  reason === "Unauthorized" || reason === "PaymentRequired" || reason === "Forbidden" || ofUser.has(reason) ||
  reason === "UnexpectedStatus";

/**
 * One page of a user. Fails with `NotFound` only where the tenant does not know the user: that there is no such page is no
 * news of the user unless it is the first. `isKnown` tells whether one 404 is not enough.
 */
const askFor = (
  userId: string,
  query: SessionsApi.SessionsQuery,
  isKnown: () => boolean,
): Effect.Effect<Page<Scanned>, ApiError, TenantHttp> => {
  const first = { ...query, page: 1, size: leastSize, fresh: true, turn: undefined };
  const isThere = Effect.catchIf(
    Effect.as(UsersApi.user(userId), true),
    (error) => isNotFound(error) || saysNothing(error),
    (error) => isNotFound(error) ? Effect.succeed(false) : Effect.as(SessionsApi.page(userId, first), true),
  );
  const ask = (contradictions: number): Effect.Effect<Page<Scanned>, ApiError, TenantHttp> =>
    Effect.catchIf(SessionsApi.page(userId, query), isNotFound, (error) => {
      if (query.page > 1) {
        return Effect.matchEffect(SessionsApi.page(userId, first), {
          onSuccess: () => Effect.succeed({ rows: DecodedPage.empty, facts: undefined }),
          onFailure: (cause) => isNotFound(cause) ? confirmed(cause, contradictions) : Effect.fail(cause),
        });
      }
      return confirmed(error, contradictions);
    });
  const confirmed = (
    error: ApiError,
    contradictions: number,
  ): Effect.Effect<Page<Scanned>, ApiError, TenantHttp> =>
    !isKnown()
      ? Effect.fail(error)
      : Effect.flatMap(isThere, (isThere) =>
        !isThere
          ? Effect.fail(error)
          : contradictions < CONTRADICTIONS
          ? Effect.zipRight(Effect.sleep(CONTRADICTED_DELAY * 2 ** contradictions), ask(contradictions + 1))
          : Effect.fail(
            new ApiError({
              ...error,
              reason: "Conflict",
              detail: "the tenant knows the user, and says that there is none where it is asked for sessions",
            }),
          ));
  return ask(0);
};

/** The batch of an answer. The rows are no part of its state: that is held, and saved, for longer. */
const toBatch = (
  userId: string,
  shape: ListShape,
  { request, rows, walk }: PrefetchReader.Reading<Page<Scanned>, DecodedPage.DecodedPage>,
  take: ReadonlyArray<number>,
  watch: Changes.Watch | undefined,
  seen: Batch["seen"],
  redelivered: number,
): Batch => {
  const verified = walk.doubts.length === 0;
  const end: WalkEnd | undefined = walk.done
    ? {
      status: "complete",
      verified,
      doubts: walk.doubts,
      ...(watch && { mark: Changes.finish(watch, verified) }),
    }
    : undefined;
  const state = () => ({
    walk: WalkCheckpoint.save(shape, walk),
    ...(watch && { watch: Changes.save(watch) }),
    ...(seen && { whole: true }),
  });
  return {
    userId,
    ...DecodedPage.batchOf(userId, request, rows, take),
    seen,
    ...(redelivered > 0 && { redelivered }),
    total: walk.total,
    end,
    state,
  };
};

const ended = (userId: string, end: WalkEnd): Batch => ({ userId, rows: noRows, rejected: [], end });

/** The time a walk is to begin from, if it can't have come yet. */
const lateBy = ({ before, since }: Changes.Watch, { possible }: Clocks.Now): number | undefined =>
  [before?.at, since].find((time) => time !== undefined && time > possible);

const tooLate = (userId: string, time: number, { whose }: Clocks.Now): ApiError =>
  new ApiError({
    reason: "InvalidRequest",
    url: "/api/users/{user_id}/sessions",
    userId,
    detail: `changes since ${new Date(time * 1000).toISOString()} were asked for, which has not come yet by ${
      whose === "tenant"
        ? "the tenant's clock"
        : "the clock of this machine, as the tenant tells no time to go by"
    }: check that time, or walk all sessions anew`,
    attempts: 1,
  });

/** Tells whether a walk to go on with was asked for the same time as now, as far as that is known. */
const isSameTime = (
  watch: typeof Changes.WatchState.Type | undefined,
  watching: Pick<ChangesOptions, "since"> | undefined,
): boolean =>
  watch?.asked === undefined || watching === undefined || watch.asked === (watching.since ?? null);

/** Failures that say nothing of the next user. */
const ofUser: ReadonlySet<ApiErrorReason> = new Set(["BadRequest", "Conflict", "Unprocessable"]);
/** Failures that every request would meet. */
const ofTenant: ReadonlySet<ApiErrorReason> = new Set([
  "InvalidRequest",
  "Unauthorized",
  "PaymentRequired",
  "Forbidden",
]);
/** How many sessions may lie ready for whoever takes the batches: more would only be held for longer. */
const AT_HAND = 2000;
/** How many walks in a row may fail before it is taken for the tenant's failing. */
const FAILURES = 3;

/**
 * The sessions of these users, in batches: one for each answer that delivers anything, and at least one for each user,
 * the last with the walk's end. Batches of one user come in order, those of several users interleave. A user that the
 * tenant does not know ends as `missing`; any other error ends the stream.
 *
 * Memory: about two pages for each request under way, however many users and sessions there are.
 *
 * @example
 * ```ts
 * import { Batch, HttpPolicy, SessionSource, Transport } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 *
 * const sandbox = Sandbox.make({ users: 3 });
 * const tenant = HttpPolicy.connect({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const count = SessionSource.batches(Stream.fromIterable(sandbox.userIds())).pipe(
 *   Stream.runFold(0, (sum, batch) => sum + Batch.size(batch)),
 *   Effect.provide(tenant),
 * );
 * console.assert(await Effect.runPromise(count) >= 0);
 * ```
 */
export const batches = <E = never, R = never>(
  users: Stream.Stream<Start, E, R>,
  options: SessionSourceOptions = {},
): Stream.Stream<Batch, ApiError | E, TenantHttp | R> => walkAll(users, options, undefined);

/**
 * The sessions of these users that have changed since an earlier run, new ones included, in batches as from
 * {@link batches}, newest change first. The last batch of a user has the mark to start the next run from: store it along
 * with the sessions, in one step. What changes while a user's list is read is left to the next run.
 *
 * A user without a change costs one request. Without a mark every session is delivered. An unverified walk leaves the mark
 * where it was, and what it has delivered is not delivered again. A user that ends as `missing` has a mark as well: with
 * that, everything is delivered should it come back. A mark or a `since` later than the tenant's clock fails the stream.
 *
 * @example
 * ```ts
 * import { Batch, HttpPolicy, SessionSource, Transport } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 *
 * const sandbox = Sandbox.make({ users: 1, sessionsPerUser: 30 });
 * const [userId = ""] = sandbox.userIds();
 * const tenant = HttpPolicy.connect({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const run = async (mark?: unknown) => {
 *   const batches = await Effect.runPromise(
 *     SessionSource.changes(Stream.make({ userId, mark })).pipe(Stream.runCollect, Effect.provide(tenant)),
 *   );
 *   const sessions = [...batches].flatMap((batch) => Batch.sessions(batch));
 *   return { sessions, mark: [...batches].at(-1)?.end?.mark };
 * };
 * const first = await run();
 * sandbox.add(userId);
 * const second = await run(first.mark);
 * console.assert(first.sessions.length === 30 && second.sessions.length === 1);
 * ```
 */
export const changes = <E = never, R = never>(
  users: Stream.Stream<Start, E, R>,
  { since, lookback, whole, holds, ...options }: ChangesOptions = {},
): Stream.Stream<Batch, ApiError | E, TenantHttp | R> =>
  walkAll(users, options, { since, lookback, whole, holds });

const walkAll = <E, R>(
  users: Stream.Stream<Start, E, R>,
  options: SessionSourceOptions,
  watching: Pick<ChangesOptions, "since" | "lookback" | "whole" | "holds"> | undefined,
): Stream.Stream<Batch, ApiError | E, TenantHttp | R> => {
  const { clientId, sort, pageSize = 100, concurrency = "auto", onFailure = "stop", areListed = false } =
    options;
  if (concurrency !== "auto" && !(Number.isSafeInteger(concurrency) && concurrency >= 1)) {
    throw new RangeError(
      `Cannot walk users as 'concurrency' must be a positive integer or "auto": it is ${concurrency}`,
    );
  }
  if (!Number.isSafeInteger(pageSize) || pageSize < leastSize || pageSize > mostSize) {
    throw new RangeError(
      `Cannot walk users as 'pageSize' must be an integer from ${leastSize} to ${mostSize}: it is ${pageSize}`,
    );
  }
  const orders = sort === undefined ? safeOrders : [orderFrom(sort)] as const;
  const shapeFor = (until: number | undefined): ListShape =>
    until === undefined ? { orders } : { orders: changeOrders, until };

  return Stream.unwrapScoped(Effect.gen(function* () {
    const nextUser = yield* oneByOne(users);
    const clock = yield* Effect.clock;
    const { traffic } = yield* TenantHttp;
    const under = concurrency === "auto"
      ? ConcurrencyController.adaptive(pageSize, traffic)
      : ConcurrencyController.fixed(concurrency);
    const capacity = Math.max(2, Math.min(under.limit(), Math.floor(AT_HAND / pageSize)));
    const out = yield* Mailbox.make<Batch, ApiError | E>({ capacity });
    const workers = yield* FiberSet.make<void, ApiError | E>();
    const finished = yield* Deferred.make<void>();
    let active = 0;
    let areUsersLeft = true;
    let [answers, failures] = [0, 0];
    let lastFailure: ApiError | undefined;

    const giveUp = (
      userId: string,
      error: ApiError,
      watch: Changes.Watch | undefined,
      hasDelivered: boolean,
    ): Effect.Effect<unknown, ApiError> => {
      if (isNotFound(error)) {
        const status = hasDelivered ? "removed" : "missing";
        const mark = watch && (watch.isBegun || watch.before) && { mark: Changes.forgetWatched(watch) };
        return out.offer(ended(userId, { status, verified: true, doubts: [], ...mark }));
      }
      if (!ofUser.has(error.reason)) failures++;
      lastFailure = error;
      return onFailure === "stop" || ofTenant.has(error.reason) || failures === FAILURES
        ? Effect.fail(error)
        : out.offer(ended(userId, { status: "failed", verified: true, doubts: [], message: error.message }));
    };

    const walkUser = ({ userId, state, mark }: Exclude<Start, string>) => {
      const saved = state === undefined ? undefined : decodeState(state);
      // One that was asked for another time does not deliver what is asked for now: it is begun anew.
      const begun = isSameTime(saved?.watch, watching) ? saved : undefined;
      const before = begun === undefined && saved?.watch !== undefined
        ? Changes.abandon(Changes.restore(saved.watch))
        : mark === undefined
        ? undefined
        : decodeMark(mark);
      let watch = begun !== undefined
        ? begun.watch && Changes.restore(begun.watch)
        : watching && Changes.begin({ ...watching, mark: before });
      const isWhole = begun === undefined ? watching?.whole === true : begun.whole === true;
      const shape = shapeFor(isWhole ? undefined : watch?.since);
      const start = begun && WalkCheckpoint.restore(begun.walk);
      if (start?.done) {
        const verified = start.doubts.length === 0;
        const left = watch && { mark: Changes.finish(watch, verified) };
        return out.offer(ended(userId, { status: "complete", verified, doubts: start.doubts, ...left }));
      }
      // Sessions of the user that this walk has delivered, or an earlier process of it.
      let hasDelivered = start !== undefined && start.high > 0;
      const isKnown = () => areListed || hasDelivered || isWhole || mark !== undefined || saved !== undefined;
      return PrefetchReader.read({
        shape,
        pageSize,
        start,
        isTooLarge: ({ reason }: ApiError) => reason === "Unprocessable" || reason === "BadRequest",
        ask: (request, turn) =>
          Effect.flatMap(
            askFor(userId, { ...request, sort: request.sort as SessionsApi.Sort, clientId, turn }, isKnown),
            (page) => {
              answers++;
              failures = 0;
              return under.answered(clock.unsafeCurrentTimeMillis())
                ? Effect.as(staff, page)
                : Effect.succeed(page);
            },
          ),
        decode: ({ rows }) => DecodedPage.of(rows),
        share: () => Math.floor(under.limit() / active),
      }, (reading) => {
        const { page, rows, walk } = reading;
        let { take } = reading;
        hasDelivered ||= take.length > 0;
        const now = Clocks.read(page.servedAt, clock.unsafeCurrentTimeMillis() / 1000);
        const late = watch && !watch.isBegun ? lateBy(watch, now) : undefined;
        if (late !== undefined) return Effect.fail(tooLate(userId, late, now));
        const seen = isWhole ? take.map((index) => DecodedPage.idOf(rows, index)) : undefined;
        let redelivered = 0;
        if (watch !== undefined && reading.isTaken) {
          const holds = isWhole ? watching?.holds : undefined;
          ({ watch, take, redelivered } = Changes.receive(watch, DecodedPage.watched(rows), take, {
            certain: now.certain,
            holds: holds && ((sessionId, lastUpdated) => holds(userId, sessionId, lastUpdated)),
          }));
        }
        return take.length > 0 || walk.done || (seen !== undefined && seen.length > 0)
          ? Effect.zipRight(
            DecodedPage.findFlaws(rows, take),
            Effect.suspend(() => out.offer(toBatch(userId, shape, reading, take, watch, seen, redelivered))),
          )
          : Effect.void;
      }).pipe(Effect.catchAll((error) => giveUp(userId, error, watch, hasDelivered)));
    };

    const worker: Effect.Effect<void, ApiError | E, TenantHttp | R> = Effect.suspend(() =>
      active > under.limit() ? quit : Effect.flatMap(
        nextUser,
        Option.match({
          onNone: () => {
            areUsersLeft = false;
            return quit;
          },
          onSome: (user) =>
            Effect.flatMap(walkUser(typeof user === "string" ? { userId: user } : user), () => worker),
        }),
      )
    );
    const quit = Effect.suspend(() => --active === 0 ? Deferred.succeed(finished, undefined) : Effect.void);
    /** As many workers as there may be, as long as there are users for them. Who hires may be interrupted, but not in between. */
    const staff: Effect.Effect<void, never, TenantHttp | R> = Effect.uninterruptible(Effect.suspend(() => {
      const wanted = areUsersLeft ? under.limit() - active : 0;
      if (wanted <= 0) return Effect.void;
      active += wanted;
      // One that is interrupted by what it does ends the walk, as one that fails does.
      const hire = FiberSet.run(workers, Effect.interruptible(worker), { propagateInterruption: true });
      return Effect.forEach(Array.from({ length: wanted }), () => hire, { discard: true });
    }));
    yield* staff.pipe(
      Effect.zipRight(Effect.raceFirst(FiberSet.join(workers), Deferred.await(finished))),
      // Where nothing was ever answered, it is the tenant as well.
      Effect.tap(() => lastFailure !== undefined && answers === 0 ? Effect.fail(lastFailure) : Effect.void),
      Effect.onExit((exit) => Effect.zipRight(Fiber.interruptAll(workers), out.done(exit))),
      Effect.forkScoped,
    );
    return togetherFrom(out);
  }));
};

/**
 * What has been put into a mailbox. Answers that come at once are taken at once: a stream takes as many steps for a chunk as
 * for an element, and they were a seventh of what a small answer took (measured).
 */
const togetherFrom = <A, E>(mailbox: Mailbox.ReadonlyMailbox<A, E>): Stream.Stream<A, E> =>
  Stream.repeatEffectChunkOption(
    Effect.flatMap(
      Effect.mapError(Effect.zipRight(everythingReady, mailbox.takeAll), Option.some),
      ([batches, isDone]) =>
        isDone && batches.length === 0 ? Effect.fail(Option.none()) : Effect.succeed(batches),
    ),
  );

/** The elements of a stream, each given to one of those who ask. None once it has ended. */
const oneByOne = <A, E, R>(stream: Stream.Stream<A, E, R>) =>
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
