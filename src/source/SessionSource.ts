/**
 * From users to batches of sessions: every user's list is walked, several users side by side, under the one pace of the
 * tenant.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import type { Batch } from "../session/Batch.ts";
import * as Options from "../options/Options.ts";
import { type ApiError, type ApiErrorReason, isNotFound } from "../api/ApiError.ts";
import { TenantClient } from "../api/TenantClient.ts";
import * as SessionFilters from "../api/SessionFilters.ts";
import type { WalkOptions } from "../plain/SessionsOptions.ts";
import { sortKeys } from "../api/Sort.ts";
import * as ConcurrencyController from "./ConcurrencyController.ts";
import { leastSize, mostSize } from "./paging/Limits.ts";
import * as PageSizes from "./paging/PageSizes.ts";
import { ofUser } from "./SessionPages.ts";
import * as UserPool from "./UserPool.ts";
import * as UserWalk from "./UserWalk.ts";

export type { WalkOptions } from "../plain/SessionsOptions.ts";
export type { Start } from "./UserWalk.ts";

/** Options of walks, for whoever knows where the users come from. */
export interface SessionSourceOptions extends WalkOptions {
  /**
   * True if the users come from the tenant's own list. That one of them is unknown is then believed only once the tenant
   * says so a second time, at `GET /api/users/{user_id}`; as it is of users of whom sessions were delivered before.
   *
   * @default {false}
   */
  readonly areListed?: boolean | undefined;
  /** Sizes of pages, shared with other walks of the tenant, in place of {@link WalkOptions.pageSize}. */
  readonly sizes?: PageSizes.PageSizes | undefined;
}

/** Make the sizes of pages that options ask for. A size that is known of an earlier run is where `"auto"` begins. */
export const sizesOf = (pageSize: WalkOptions["pageSize"] = "auto", known?: number): PageSizes.PageSizes => {
  if (pageSize === "auto") return PageSizes.auto({ known });
  if (Number.isSafeInteger(pageSize) && pageSize >= leastSize && pageSize <= mostSize) {
    return PageSizes.fixed(pageSize);
  }
  throw new RangeError(
    `Cannot walk users as 'pageSize' must be "auto" or an integer from ${leastSize} to ${mostSize}: it is ${pageSize}`,
  );
};

export const optionNames: Options.Names<WalkOptions> = {
  ...SessionFilters.mapFilters(() => Options.text),
  sort: Options.oneOf(sortKeys.flatMap((key) => [`${key}:1`, `${key}:-1`] as const)),
  pageSize: Options.textOr(Options.oneOf(["auto"]), Options.number),
  concurrency: Options.textOr(Options.oneOf(["auto"]), Options.number),
  onFailure: Options.oneOf(["stop", "continue"]),
};

/** Options of a search for changes. */
export interface ChangesOptions extends Omit<SessionSourceOptions, "sort">, UserWalk.Tracking {}

/** Failures that every request would meet. */
const ofTenant: ReadonlySet<ApiErrorReason> = new Set([
  "InvalidRequest",
  "Unauthorized",
  "PaymentRequired",
  "Forbidden",
]);
/** The most sessions that lie ready for whoever takes the batches: more would only be held for longer. */
const AT_HAND = 2000;
/** The number of walks in a row that fail before it is taken for the tenant's failing. */
const FAILURES = 3;

/**
 * Walks these users, and gives their sessions in batches: one for each answer that delivers anything, and at least one for
 * each user, the last with the walk's end. Batches of one user come in order, those of several users interleave. A user that
 * the tenant does not know ends as `missing`; any other error ends the stream.
 *
 * Memory: about two pages for each request under way, however many users and sessions there are.
 *
 * @example
 * ```ts
 * import { Batch, TenantClient, SessionSource, Transport } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 *
 * const sandbox = Sandbox.make({ users: 3 });
 * const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
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
  users: Stream.Stream<UserWalk.Start, E, R>,
  options: SessionSourceOptions = {},
): Stream.Stream<Batch, ApiError | E, TenantClient | R> => walkAll(users, options, undefined);

/**
 * Walks these users, and gives their sessions that have changed since an earlier run, new ones included, in batches as from
 * {@link batches}, newest change first. The last batch of a user has the cursor to start the next run from: store it along
 * with the sessions, in one step. What changes while a user's list is read is left to the next run.
 *
 * A user without a change costs one request. Without a cursor every session is delivered. An unverified walk leaves the cursor
 * where it was, and what it has delivered is not delivered again. A user that ends as `missing` has a cursor as well: with
 * that, everything is delivered should it come back. A cursor or a `since` later than the tenant's clock fails the stream.
 *
 * @example
 * ```ts
 * import { Batch, TenantClient, SessionSource, Transport } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 *
 * const sandbox = Sandbox.make({ users: 1, sessionsPerUser: 30 });
 * const [userId = ""] = sandbox.userIds();
 * const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const run = async (cursor?: unknown) => {
 *   const batches = await Effect.runPromise(
 *     SessionSource.changes(Stream.make({ userId, cursor })).pipe(Stream.runCollect, Effect.provide(tenant)),
 *   );
 *   const sessions = [...batches].flatMap((batch) => Batch.sessions(batch));
 *   return { sessions, cursor: [...batches].at(-1)?.end?.cursor };
 * };
 * const first = await run();
 * sandbox.add(userId);
 * const second = await run(first.cursor);
 * console.assert(first.sessions.length === 30 && second.sessions.length === 1);
 * ```
 */
export const changes = <E = never, R = never>(
  users: Stream.Stream<UserWalk.Start, E, R>,
  { since, lookback, whole, holds, ...options }: ChangesOptions = {},
): Stream.Stream<Batch, ApiError | E, TenantClient | R> =>
  walkAll(users, options, { since, lookback, whole, holds });

/** Make the judge of walks that fail: one ends its user, several in a row the stream. */
const makeJudge = (onFailure: SessionSourceOptions["onFailure"]) => {
  let [answers, failures] = [0, 0];
  let lastFailure: ApiError | undefined;
  return {
    answered: (): void => {
      answers++;
      failures = 0;
    },
    endOf: (
      error: ApiError,
      { cursor, hasDelivered }: { readonly cursor?: unknown; readonly hasDelivered: boolean },
    ): Effect.Effect<NonNullable<Batch["end"]>, ApiError> => {
      if (isNotFound(error)) {
        const status = hasDelivered ? "removed" : "missing";
        return Effect.succeed({
          status,
          verified: true,
          unverifiedReasons: [],
          ...(cursor !== undefined && { cursor }),
        });
      }
      if (!ofUser.has(error.reason)) failures++;
      lastFailure = error;
      return onFailure !== "continue" || ofTenant.has(error.reason) || failures === FAILURES
        ? Effect.fail(error)
        : Effect.succeed({ status: "failed", verified: true, unverifiedReasons: [], message: error.message });
    },
    // Where nothing was ever answered, it is the tenant as well.
    end: Effect.suspend(() =>
      lastFailure !== undefined && answers === 0 ? Effect.fail(lastFailure) : Effect.void
    ),
  };
};

const walkAll = <E, R>(
  users: Stream.Stream<UserWalk.Start, E, R>,
  options: SessionSourceOptions,
  tracking: UserWalk.Tracking | undefined,
): Stream.Stream<Batch, ApiError | E, TenantClient | R> => {
  const { sort, pageSize, concurrency = "auto", onFailure, areListed = false } = options;
  if (concurrency !== "auto" && !(Number.isSafeInteger(concurrency) && concurrency >= 1)) {
    throw new RangeError(
      `Cannot walk users as 'concurrency' must be a positive integer or "auto": it is ${concurrency}`,
    );
  }
  const sizes = options.sizes ?? sizesOf(pageSize);
  const settings: UserWalk.WalkSettings = {
    filters: SessionFilters.pick(options),
    sort,
    sizes,
    areListed,
    tracking,
  };
  return Stream.unwrap(Effect.map(Effect.all([TenantClient, Effect.clock]), ([{ traffic }, clock]) => {
    const under = concurrency === "auto"
      ? ConcurrencyController.adaptive(sizes.rows, traffic)
      : ConcurrencyController.fixed(concurrency);
    const judge = makeJudge(onFailure);
    return UserPool.run({
      users,
      limit: under.limit,
      capacity: Math.max(2, Math.min(under.limit(), Math.floor(AT_HAND / sizes.first()))),
      work: (user, { offer, share, grow }: UserPool.Worker<Batch>) =>
        UserWalk.walk(settings, typeof user === "string" ? { userId: user } : user, {
          offer,
          share: () => share(under.limit()),
          answered: Effect.suspend(() => {
            judge.answered();
            return under.answered(clock.unsafeCurrentTimeMillis()) ? grow : Effect.void;
          }),
          giveUp: (userId, error, end) =>
            Effect.flatMap(judge.endOf(error, end), (end) => offer(UserWalk.ended(userId, end))),
        }),
      end: judge.end,
    });
  }));
};
