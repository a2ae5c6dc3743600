/** The answers of a tenant in good health. */
import type { Active } from "../data/Active.ts";
import * as Check from "../data/Check.ts";
import { type Answer, type Errors, pageRequest, problem, type Route } from "./Endpoint.ts";
import { hash } from "../data/Hash.ts";
import * as Pages from "../data/Pages.ts";
import type { People, UserKey } from "../data/People.ts";
import type { Population, SessionKey } from "../data/Population.ts";
import * as Rows from "../data/Rows.ts";

/** A list of sessions that is about to be answered. */
export interface SessionsRequest {
  readonly userId: string;
  readonly page: number;
  readonly size: number;
  /** As in the query: `initiated_at:1`. */
  readonly sort: string;
  /** Counts the lists of sessions answered so far, this one included. */
  readonly number: number;
}

/** Options of the answers to lists. */
export interface AnswerOptions {
  /** The largest page. @default {none} */
  readonly maxSize?: number;
  /** The answer to a request for more: cut to `maxSize`, or 422. @default {"clamp"} */
  readonly overSize?: "clamp" | "reject";
  /** The state of the `x-pagination` header. @default {"present"} */
  readonly paginationHeader?: Pages.PaginationHeader;
  /** The order of rows with an equal sort value: the same on every request, or not. @default {"stable"} */
  readonly ties?: "stable" | "unstable";
  /**
   * Adds fields to rows that no version knows, a number too large for JavaScript among them.
   * @default {false}
   */
  readonly unknownFields?: boolean;
  /** The share of sessions whose row breaks the schema. They keep their place in the list. @default {0} */
  readonly malformed?: number;
  /** Called before a list of sessions is computed: it may change the sessions. */
  readonly beforeAnswer?: (request: SessionsRequest) => void;
}

/** The data that is answered about. */
export interface Tenant {
  readonly population: Population;
  readonly active: Active;
  readonly people: People;
  /** Called before a list of a user's sessions is computed. */
  readonly churn: (user: number) => void;
}

const sessionKeys = [
  "initiated_at",
  "session_id",
  "expires_at",
  "last_updated",
] as const satisfies SessionKey[];
const userKeys = ["creation_time", "last_updated", "last_activity"] as const satisfies UserKey[];

/** Makes the function that answers a request for a route. Each answer is computed in one go: nothing changes within. */
export const make = (
  { population, active, people, churn }: Tenant,
  options: AnswerOptions,
): (route: Route, path: string, query: URLSearchParams) => Answer => {
  const maxSize = Check.whole("maxSize", options.maxSize ?? Number.MAX_SAFE_INTEGER, 1);
  const overSize = Check.oneOf("overSize", options.overSize ?? "clamp", ["clamp", "reject"]);
  const pagination = Check.oneOf("paginationHeader", options.paginationHeader ?? "present", [
    "present",
    "absent",
    "malformed",
  ]);
  const ties = Check.oneOf("ties", options.ties ?? "stable", ["stable", "unstable"]);
  const malformed = Check.rate("malformed", options.malformed ?? 0);
  const rowOptions: Rows.RowOptions = {
    seed: population.seed,
    unknownFields: options.unknownFields ?? false,
    malformed,
  };
  let lists = 0;
  let sessionLists = 0;

  const ok = (body: string, pagination?: string): Answer => ({
    status: 200,
    headers: {
      "content-type": "application/json",
      ...(pagination === undefined ? {} : { "x-pagination": pagination }),
    },
    body,
  });

  const missing = (path: string): Answer => problem(404, path, "The user was not found.");

  const invalid = (path: string, errors: Errors): Answer =>
    problem(422, path, "One or more parameters are not valid.", {}, errors);

  const asked = <Key extends string>(query: URLSearchParams, keys: readonly [Key, ...Key[]]) => {
    const request = pageRequest(query, keys);
    if ("errors" in request || request.request.size <= maxSize) return request;
    return overSize === "clamp"
      ? { request: { ...request.request, size: maxSize } }
      : { errors: { size: [`'size' must be at most ${maxSize}: found ${request.request.size}.`] } };
  };

  const list = (
    request: Pages.PageRequest,
    ranked: Pages.Ranked,
    text: (rows: readonly number[]) => string,
  ): Answer => {
    lists++;
    const unstable = ties === "unstable" ? hash(population.seed, lists, 71) : undefined;
    return ok(text(Pages.rows(ranked, request, unstable)), Pages.header(request, ranked.length, pagination));
  };

  const users = (path: string, query: URLSearchParams): Answer => {
    const page = asked(query, userKeys);
    if ("errors" in page) return invalid(path, page.errors);
    const ranked = people.sorted(page.request.key, query.get("filter") ?? undefined);
    return list(page.request, ranked, (rows) => JSON.stringify(rows.map(people.user)));
  };

  const sessions = (userId: string, path: string, query: URLSearchParams): Answer => {
    const user = population.userOf(userId);
    if (user === undefined) return missing(path);
    const asking = asked(query, sessionKeys);
    if ("errors" in asking) return invalid(path, asking.errors);
    const { page, size, key, descending } = asking.request;
    sessionLists++;
    const sort = `${key}:${descending ? -1 : 1}`;
    options.beforeAnswer?.({ userId, page, size, sort, number: sessionLists });
    churn(user);
    const ranked = active.sorted(user, key, query.get("client_id") || undefined);
    return list(asking.request, ranked, (positions) => {
      return Rows.arrayText(positions.map((position) => active.at(user, position)), rowOptions);
    });
  };

  const user = (userId: string, path: string): Answer => {
    const found = population.userOf(userId);
    return found === undefined ? missing(path) : ok(JSON.stringify(people.user(found)));
  };

  return (route, path, query) => {
    if (route.kind === "users") return users(path, query);
    if (route.kind === "user") return user(route.userId, path);
    return sessions(route.userId, path, query);
  };
};
