/** Whose sessions a run is for: users named one by one, or all that the tenant has. */
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import type { ApiError } from "../api/ApiError.ts";
import type { TenantClient } from "../api/TenantClient.ts";
import * as UserSource from "./UserSource.ts";

/** The users of a run, as they are listed. */
export interface UserList<E = never, R = never> {
  /** Each once. Read once, to its end, before the first session is asked for; not read when a run is gone on with. */
  readonly ids: Stream.Stream<string, E, R>;
  /** A text that tells this choice of users from another one: a run is resumed for the same users alone. */
  readonly identity?: string | undefined;
  /** After the ids: why not every user may have been named. */
  readonly unverifiedReasons?: (() => ReadonlyArray<string>) | undefined;
  /** True if they come from the tenant's own list of all its users. */
  readonly all?: boolean | undefined;
  /** After the ids: true if only some of all users were named, as the others have not changed. */
  readonly isPartial?: (() => boolean) | undefined;
  /** Gives the number of users, as far as it is known by now. */
  readonly total?: (() => number | undefined) | undefined;
}

const utf8 = new TextEncoder();

/** Digests ids: it tells them from others, without naming them. */
export const identityOf = (ids: Iterable<string>): string => {
  const hash = sha256.create();
  for (const id of ids) hash.update(utf8.encode(`${id}\n`));
  return `sha256:${bytesToHex(hash.digest()).slice(0, 16)}`;
};

/** Lists these users; repeated ones are left out. */
export const of = (ids: Iterable<string>) => {
  const distinct = [...new Set(ids)];
  return {
    ids: Stream.fromIterable(distinct),
    get identity(): string {
      return identityOf(distinct);
    },
    unverifiedReasons: (): ReadonlyArray<string> => [],
    total: (): number | undefined => distinct.length,
  } satisfies UserList;
};

/** Lists all users of the tenant. */
export const all = () => {
  let total: number | undefined;
  let unverifiedReasons: ReadonlyArray<string> = [];
  return {
    ids: UserSource.all().pipe(
      Stream.tap((batch) =>
        Effect.sync(() => {
          total = batch.total;
          unverifiedReasons = batch.unverifiedReasons ?? unverifiedReasons;
        })
      ),
      Stream.mapConcat(({ userIds }) => userIds),
    ),
    identity: "all",
    all: true,
    unverifiedReasons: () => unverifiedReasons,
    total: () => total,
  } satisfies UserList<ApiError, TenantClient>;
};
