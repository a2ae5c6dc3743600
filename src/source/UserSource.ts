/**
 * The ids of all users of a tenant, read by the same walk as sessions: a user that is there from beginning to end is named
 * exactly once, whoever is created or deleted meanwhile.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Mailbox from "effect/Mailbox";
import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import * as Stream from "effect/Stream";
import { ApiError, isNotFound } from "../api/ApiError.ts";
import type { Page, TenantClient } from "../api/TenantClient.ts";
import * as UsersApi from "../api/UsersApi.ts";
import * as PageSizes from "./paging/PageSizes.ts";
import * as PrefetchReader from "./paging/PrefetchReader.ts";
import * as SizeFaults from "./SizeFaults.ts";
import { type ListShape, type Order, type WalkRows, walkRows } from "./paging/PageWalk.ts";

/** Some of the users of a tenant. */
export interface UserBatch {
  readonly userIds: ReadonlyArray<string>;
  /** Users with their times, as served. */
  readonly users: ReadonlyArray<User>;
  /** The number of users that the tenant says it has, as of this answer. */
  readonly total: number | undefined;
  /** The time of the answer by the tenant's clock, in seconds since the epoch; absent if it does not say. */
  readonly servedAt?: number | undefined;
  /** Set on the last one: why it is not verified that every user is named. Empty if it is. */
  readonly unverifiedReasons?: ReadonlyArray<string> | undefined;
}

const byCreation: Order = {
  sort: "creation_time:-1",
  key: "creation_time",
  type: "number",
  descending: true,
  fixed: true,
};

/** Down from the latest activity. A user who becomes active meanwhile moves to the head, and is the next reading's. */
const byActivity: Order = { ...byCreation, sort: "last_activity:-1", key: "last_activity" };

/** The fields of a user that are kept: the id and times. Nothing personal is. */
const User = Schema.Struct({
  user_id: Schema.NonEmptyString,
  creation_time: Schema.optional(Schema.Unknown),
  last_updated: Schema.optional(Schema.Unknown),
  last_activity: Schema.optional(Schema.Unknown),
});

/** A user of the tenant. */
export type User = typeof User.Type;

const decode = Schema.decodeUnknownOption(User);

const found = (user: Option.Option<User>, page: number): Effect.Effect<User, ApiError> =>
  Option.match(user, {
    onSome: Effect.succeed,
    onNone: () =>
      Effect.fail(
        new ApiError({
          reason: "Body",
          url: "/api/users",
          page,
          detail: "a user came without a user_id",
          attempts: 1,
        }),
      ),
  });

/** The wait before the list is asked for again that was said not to be there. */
const ABSENT_DELAY = "1 second";

type UsersPage = Page<ReadonlyArray<unknown>>;

/** Asks for one page of the list. There always is a list: where an answer says there is none, another is asked for. */
const askFor = (request: PrefetchReader.Request): Effect.Effect<UsersPage, ApiError, TenantClient> => {
  const ask = (more: Partial<PrefetchReader.Request>) =>
    UsersApi.page({ ...request, ...more, sort: request.sort as UsersApi.Sort });
  return Effect.catchIf(ask({}), isNotFound, () =>
    // There may be a list, and no such page of it.
    Effect.map(
      Effect.delay(ask({ page: 1, fresh: true }), ABSENT_DELAY),
      (first) => request.page > 1 ? { ...first, rows: [], pagination: undefined } : first,
    ));
};

/**
 * Give users without a time their place in the order of times: before all others or after, as the head of the list tells. How
 * a tenant orders them is not known.
 */
const nullsInPlace = () => {
  let atHead: boolean | undefined;
  return (rows: WalkRows): WalkRows => ({
    ...rows,
    keys: (order) => {
      const keys = rows.keys(order);
      if (order.key !== byActivity.key) return keys;
      if (keys.length > 0) atHead ??= keys[0] === undefined;
      return keys.map((key) => key ?? (atHead ? Infinity : -Infinity));
    },
  });
};

/** Reads a list of users, in pages as large as the tenant gives: a large page is one request. Holds one page. */
const list = (shape: ListShape): Stream.Stream<UserBatch, ApiError, TenantClient> =>
  Stream.unwrapScoped(Effect.gen(function* () {
    const out = yield* Mailbox.make<UserBatch, ApiError>({ capacity: 1 });
    const withNulls = nullsInPlace();
    const read = PrefetchReader.read({
      shape,
      sizes: PageSizes.auto({ first: PageSizes.LARGEST }),
      faultOf: SizeFaults.of,
      ask: askFor,
      decode: (page) => {
        const users = page.rows.map((row) => decode(row));
        return { users, walkRows: withNulls(walkRows(users.map(Option.getOrElse(() => "")), "user_id")) };
      },
      share: () => 1,
    }, ({ page, rows, request, take, walk }) =>
      Effect.flatMap(
        Effect.forEach(take, (index) => found(rows.users[index]!, request.page)),
        (users) =>
          out.offer({
            userIds: users.map(({ user_id }) => user_id),
            users,
            total: walk.total,
            servedAt: page.servedAt,
            unverifiedReasons: walk.done ? walk.unverifiedReasons : undefined,
          }),
      ));
    yield* Effect.forkScoped(Effect.onExit(read, (exit) => out.done(exit)));
    return Mailbox.toStream(out);
  }));

/** Lists all users of the tenant, newest first, 1,000 a page or as many as the tenant gives. Holds one page. */
export const all = (): Stream.Stream<UserBatch, ApiError, TenantClient> => list({ orders: [byCreation] });

/**
 * Lists the users who were active at or after a time, in seconds since the epoch, the latest first, and some before them. Where
 * the tenant can't list them so, all users.
 */
export const activeSince = (time: number): Stream.Stream<UserBatch, ApiError, TenantClient> =>
  list({ orders: [byActivity, byCreation], until: time });

/** Lists the users who were created at or after a time, likewise. */
export const createdSince = (time: number): Stream.Stream<UserBatch, ApiError, TenantClient> =>
  list({ orders: [byCreation], until: time });
