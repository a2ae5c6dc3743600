/** `GET /api/users`: one page of the users of a tenant. An export needs nothing of them but their ids. */
import * as Effect from "effect/Effect";
import type { ApiError } from "./ApiError.ts";
import * as RowSlices from "../scan/RowSlices.ts";
import { type DecodeRows, type Page, type PageQuery, TenantClient } from "./TenantClient.ts";

/** A key and an order, as the endpoint takes it: 1 ascending, -1 descending. */
export type Sort = `${"creation_time" | "last_updated" | "last_activity"}:${1 | -1}`;

const utf8 = new TextDecoder("utf-8", { fatal: true });

const parseRows: DecodeRows<ReadonlyArray<unknown>> = (body, most) => {
  if (RowSlices.hasMore(body, most)) return "more";
  const rows: unknown = JSON.parse(utf8.decode(body));
  return Array.isArray(rows) ? rows : undefined;
};

/** Asks for one page of the tenant's users. Fails with an {@link ApiError} once the policy's retries are used up. */
export const page = (
  query: PageQuery<Sort>,
): Effect.Effect<Page<ReadonlyArray<unknown>>, ApiError, TenantClient> =>
  Effect.flatMap(TenantClient, (tenant) =>
    tenant.list({
      path: "/api/users",
      query: { page: `${query.page}`, size: `${query.size}`, sort: query.sort },
      page: query.page,
      fresh: query.fresh,
      once: query.once,
      decode: parseRows,
    }));

/** `GET /api/users/{user_id}`: asks for one user. Fails with `NotFound` where there is none. */
export const user = (userId: string): Effect.Effect<object, ApiError, TenantClient> =>
  Effect.flatMap(
    TenantClient,
    (tenant) => tenant.item({ path: `/api/users/${encodeURIComponent(userId)}`, userId }),
  );
