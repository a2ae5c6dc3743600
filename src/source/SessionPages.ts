/** Pages of a user's sessions, where "not found" is believed only of the user, and only as often as it is said. */
import * as Effect from "effect/Effect";
import { ApiError, type ApiErrorReason, isNotFound } from "../api/ApiError.ts";
import type { Page, TenantClient } from "../api/TenantClient.ts";
import * as SessionsApi from "../api/SessionsApi.ts";
import * as UsersApi from "../api/UsersApi.ts";
import type { Scanned } from "../scan/PageScanner.ts";
import * as DecodedPage from "./DecodedPage.ts";
import { leastSize } from "./paging/PageWalk.ts";

/** Failures that say nothing of the next user. */
export const ofUser: ReadonlySet<ApiErrorReason> = new Set(["BadRequest", "Conflict", "Unprocessable"]);

/** The number of times that a 404 that the list of users contradicts is asked again, and the first wait in milliseconds. */
const CONTRADICTIONS = 3;
const CONTRADICTED_DELAY = 500;

/** Failures of `GET /api/users/{user_id}` that say nothing of the user: the key may not read users, for one. */
const saysNothing = ({ reason }: ApiError): boolean =>
  reason === "Unauthorized" || reason === "PaymentRequired" || reason === "Forbidden" || ofUser.has(reason) ||
  reason === "UnexpectedStatus";

/**
 * Ask for one page of a user. Fails with `NotFound` only where the tenant does not know the user: that there is no such page
 * is no news of the user unless it is the first. `isKnown` tells whether one 404 is not enough.
 */
export const ask = (
  userId: string,
  query: SessionsApi.SessionsQuery,
  isKnown: () => boolean,
): Effect.Effect<Page<Scanned>, ApiError, TenantClient> => {
  const first = { ...query, page: 1, size: leastSize, fresh: true, turn: undefined };
  const isThere = Effect.catchIf(
    Effect.as(UsersApi.user(userId), true),
    (error) => isNotFound(error) || saysNothing(error),
    (error) => isNotFound(error) ? Effect.succeed(false) : Effect.as(SessionsApi.page(userId, first), true),
  );
  const askAgain = (contradictions: number): Effect.Effect<Page<Scanned>, ApiError, TenantClient> =>
    Effect.catchIf(
      SessionsApi.page(userId, query),
      isNotFound,
      (error) =>
        query.page === 1 ? confirmed(error, contradictions) : Effect.catchIf(
          Effect.map(
            SessionsApi.page(userId, first),
            (page) => ({ ...page, rows: DecodedPage.empty, pagination: undefined }),
          ),
          isNotFound,
          (error) => confirmed(error, contradictions),
        ),
    );
  const confirmed = (
    error: ApiError,
    contradictions: number,
  ): Effect.Effect<Page<Scanned>, ApiError, TenantClient> =>
    !isKnown() ? Effect.fail(error) : Effect.flatMap(isThere, (isThere) => {
      if (!isThere) return Effect.fail(error);
      if (contradictions < CONTRADICTIONS) {
        return Effect.delay(askAgain(contradictions + 1), CONTRADICTED_DELAY * 2 ** contradictions);
      }
      const detail = "the tenant knows the user, and says that there is none where it is asked for sessions";
      return Effect.fail(new ApiError({ ...error, reason: "Conflict", detail }));
    });
  return askAgain(0);
};
