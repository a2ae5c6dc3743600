/** `GET /api/users/{user_id}/sessions`: one page of the active sessions of one user. */
import * as Effect from "effect/Effect";
import type { Scanned } from "../scan/PageScanner.ts";
import * as Session from "../session/Session.ts";
import { ApiError } from "./ApiError.ts";
import { type ListRequest, type Page, type PageQuery, TenantClient } from "./TenantClient.ts";
import * as SessionFilters from "./SessionFilters.ts";
import type { Sort } from "./Sort.ts";

export { type Sort, type SortKey, sortKeys } from "./Sort.ts";

export interface SessionsQuery
  extends PageQuery<Sort>, SessionFilters.SessionFilters, Pick<ListRequest<unknown>, "turn"> {}

const problemWith = (userId: string, { page, size, ...query }: SessionsQuery): string | undefined => {
  if (userId === "" || userId === "." || userId === "..") {
    return `${JSON.stringify(userId)} can't be a user's id`;
  }
  if (!userId.isWellFormed()) return "the user's id holds half a surrogate pair";
  for (const [name, value] of Object.entries(SessionFilters.toQuery(query))) {
    if (value?.isWellFormed() === false) return `'${name}' holds half a surrogate pair`;
  }
  if (!Number.isSafeInteger(page) || page < 1) return `'page' must be a positive integer: it is ${page}`;
  if (!Number.isSafeInteger(size) || size < 1) return `'size' must be a positive integer: it is ${size}`;
};

/**
 * Ask for one page of a user's sessions, as slices of the body; rows that are no sessions are told. Fails with an
 * {@link ApiError} once the policy's retries are used up.
 */
export const page = (
  userId: string,
  query: SessionsQuery,
): Effect.Effect<Page<Scanned>, ApiError, TenantClient> => {
  const path = "/api/users/{user_id}/sessions";
  const detail = problemWith(userId, query);
  if (detail !== undefined) {
    return Effect.fail(
      new ApiError({ reason: "InvalidRequest", url: path, userId, page: query.page, detail, attempts: 0 }),
    );
  }
  return Effect.flatMap(TenantClient, (tenant) =>
    tenant.list({
      path: path.replace("{user_id}", () => encodeURIComponent(userId)),
      query: {
        page: `${query.page}`,
        size: `${query.size}`,
        ...SessionFilters.toQuery(query),
        sort: query.sort,
      },
      userId,
      page: query.page,
      turn: query.turn,
      fresh: query.fresh,
      once: query.once,
      decode: Session.scan,
    }));
};
