/**
 * The ids of all users of a tenant, read by the same walk as sessions: a user that is there from beginning to end is
 * named exactly once, whoever is created or deleted meanwhile.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import * as Mailbox from "effect/Mailbox";
import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import * as Stream from "effect/Stream";
import { ApiError } from "../tenant/ApiError.ts";
import type { TenantHttp } from "../tenant/HttpPolicy.ts";
import * as UsersApi from "../tenant/UsersApi.ts";
import * as ListReader from "./ListReader.ts";
import { listed, type ListShape } from "./PageWalk.ts";

/** Some of the users of a tenant. */
export interface UserBatch {
  readonly userIds: ReadonlyArray<string>;
  /** How many users the tenant says it has, as of this answer. */
  readonly total: number | undefined;
  /** Set on the last one: why the walk can't vouch that it has named every user. Empty if it can. */
  readonly doubts?: ReadonlyArray<string> | undefined;
}

const shape: ListShape = {
  orders: [{ sort: "creation_time:-1", key: "creation_time", type: "number", descending: true, fixed: true }],
};

/** Of a user nothing is needed but the id, and the time for the walk to go by. */
const User = Schema.Struct({
  user_id: Schema.NonEmptyString,
  creation_time: Schema.optional(Schema.Unknown),
});
const decode = Schema.decodeUnknownOption(User);

const idOf = (user: Option.Option<typeof User.Type>, page: number): Effect.Effect<string, ApiError> =>
  Option.match(user, {
    onSome: ({ user_id }) => Effect.succeed(user_id),
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

/** All users of the tenant, newest first. Holds one page. */
export const all = (options: { readonly pageSize?: number | undefined } = {}): Stream.Stream<
  UserBatch,
  ApiError,
  TenantHttp
> =>
  Stream.unwrapScoped(Effect.gen(function* () {
    const out = yield* Mailbox.make<UserBatch, ApiError>({ capacity: 1 });
    yield* ListReader.read({
      shape,
      pageSize: options.pageSize ?? 100,
      ask: (request) => UsersApi.page({ ...request, sort: request.sort as UsersApi.Sort }),
      decode: (page) => {
        const users = page.rows.map((row) => decode(row));
        return { users, listed: listed(users.map(Option.getOrElse(() => "")), "user_id") };
      },
      share: () => 1,
    }, ({ rows, request, take, walk }) =>
      Effect.flatMap(
        Effect.forEach(take, (index) => idOf(rows.users[index]!, request.page)),
        (userIds) => out.offer({ userIds, total: walk.total, doubts: walk.done ? walk.doubts : undefined }),
      )).pipe(
        Effect.onExit((exit) => out.done(exit)),
        Effect.forkScoped,
      );
    return Mailbox.toStream(out);
  }));
