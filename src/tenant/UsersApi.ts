/**
 * `GET /api/users`: one page of the users of a tenant. An export needs nothing of them but their ids.
 *
 * @module
 */
import type * as Effect from "effect/Effect";
import { flatMap } from "effect/Effect";
import type { ApiError } from "./ApiError.ts";
import { type Page, TenantHttp } from "./HttpPolicy.ts";

/** A key and an order, as the endpoint takes it: 1 ascending, -1 descending. */
export type Sort = `${"creation_time" | "last_updated"}:${1 | -1}`;

/** Asks for one page of the tenant's users. Fails with an {@link ApiError} once the policy's retries are used up. */
export const page = (
  query: { readonly page: number; readonly size: number; readonly sort?: Sort | undefined },
): Effect.Effect<Page, ApiError, TenantHttp> =>
  flatMap(TenantHttp, (tenant) =>
    tenant.list({
      path: "/api/users",
      query: { page: `${query.page}`, size: `${query.size}`, sort: query.sort },
      page: query.page,
    }));
