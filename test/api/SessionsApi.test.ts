import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ApiError } from "../../src/api/ApiError.ts";
import type { Scanned } from "../../src/scan/PageScanner.ts";
import { type Page, TenantClient } from "../../src/api/TenantClient.ts";
import * as SessionsApi from "../../src/api/SessionsApi.ts";
import * as UsersApi from "../../src/api/UsersApi.ts";
import { errorOf, KEY, ok, ORIGIN, reach, run, type Sent } from "./asking.ts";
import { some } from "../size.ts";

/** What a request of the API comes to, and what was sent for it. */
const send = (
  effect: Effect.Effect<Page<unknown>, ApiError, TenantClient>,
): Promise<{ readonly exit: Exit.Exit<Page<unknown>, ApiError>; readonly sent: ReadonlyArray<Sent> }> =>
  run(Effect.gen(function* () {
    const { http, sent } = yield* reach(() => ok(`[{"session_id":"s"}]`));
    const exit = yield* Effect.exit(Effect.provideService(effect, TenantClient, http));
    return { exit, sent };
  }));

const first = { page: 1, size: 10 } as const;

describe("SessionsApi.page()", () => {
  it("asks for the page, with key and accept and nothing of a trace", async () => {
    const { exit, sent } = await send(Effect.withSpan(SessionsApi.page("mia", first), "outer"));
    const bytes = Exit.map(exit, ({ rows }) => (rows as Scanned).slices.bytes);
    expect(bytes).toEqual(Exit.succeed(new TextEncoder().encode(`[{"session_id":"s"}]`)));
    expect(sent.map(({ url }) => url.href)).toEqual([`${ORIGIN}/api/users/mia/sessions?page=1&size=10`]);
    expect(Object.fromEntries(sent[0]!.headers)).toEqual({
      accept: "application/json, application/problem+json",
      "x-api-key": KEY,
    });
  });

  it("sends every parameter, and only those given", async () => {
    const all = { page: 7, size: 250, clientId: "a b&c=d/ü?#+%", sort: "initiated_at:-1" } as const;
    const { sent } = await send(SessionsApi.page("mia", all));
    expect(Object.fromEntries(sent[0]!.url.searchParams)).toEqual({
      page: "7",
      size: "250",
      client_id: all.clientId,
      sort: "initiated_at:-1",
    });
    const some = await send(SessionsApi.page("mia", { ...first, clientId: undefined, sort: undefined }));
    expect(some.sent[0]!.url.search).toBe("?page=1&size=10");
  });

  it.each(SessionsApi.sortKeys.flatMap((key) => [`${key}:1`, `${key}:-1`] as const))(
    "sorts by %s",
    async (sort) => {
      const { sent } = await send(SessionsApi.page("mia", { ...first, sort }));
      expect(sent[0]!.url.searchParams.get("sort")).toBe(sort);
    },
  );

  it.each([
    ["a/b", "a%2Fb"],
    ["/", "%2F"],
    ["../../admin", "..%2F..%2Fadmin"],
    ["..\\..", "..%5C.."],
    ["%2e%2e", "%252e%252e"],
    ["%2E", "%252E"],
    [".%2e", ".%252e"],
    ["...", "..."],
    ["?page=9", "%3Fpage%3D9"],
    ["a#b", "a%23b"],
    ["auth0|5f7c", "auth0%7C5f7c"],
    ["mia@acme.example", "mia%40acme.example"],
    ["{user_id}", "%7Buser_id%7D"],
    ["$&$1", "%24%26%241"],
    ["a b", "a%20b"],
    [" ", "%20"],
    ["a\tb\r\nc", "a%09b%0D%0Ac"],
    ["\u0000", "%00"],
    ["zoë", "zo%C3%AB"],
    ["用户", "%E7%94%A8%E6%88%B7"],
    ["🙂", "%F0%9F%99%82"],
    ["(it's)*!~", "(it's)*!~"],
  ])("writes the id %j as %s", async (userId, encoded) => {
    const { sent } = await send(SessionsApi.page(userId, first));
    expect(sent.map(({ url }) => url.pathname)).toEqual([`/api/users/${encoded}/sessions`]);
  });

  it("asks for /api/users/<encoded>/sessions of the tenant and no other path, whatever the id", () =>
    fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.string({
            unit: fc.constantFrom(
              ".",
              "/",
              "\\",
              "%",
              "2",
              "e",
              "E",
              "?",
              "#",
              "@",
              ":",
              "\n",
              " ",
              "$",
              "{",
            ),
          }),
        ),
        async (userId) => {
          const { sent, exit } = await send(SessionsApi.page(userId, first));
          if (["", ".", ".."].includes(userId)) {
            expect(sent).toEqual([]);
            expect(errorOf(exit).reason).toBe("InvalidRequest");
            return;
          }
          const url = sent[0]!.url;
          expect(url.origin).toBe(ORIGIN);
          expect(url.pathname).toBe(`/api/users/${encodeURIComponent(userId)}/sessions`);
          expect(decodeURIComponent(url.pathname.split("/")[3]!)).toBe(userId);
          expect(url.search).toBe("?page=1&size=10");
          expect(url.hash).toBe("");
        },
      ),
      { seed: 51, numRuns: some(500) },
    ));

  it.each([
    ["", first, `"" can't be a user's id`],
    [".", first, `"." can't be a user's id`],
    ["..", first, `".." can't be a user's id`],
    ["a\ud800", first, "the user's id holds half a surrogate pair"],
    ["\udc00b", first, "the user's id holds half a surrogate pair"],
    ["mia", { ...first, clientId: "\ud83d" }, "'client_id' holds half a surrogate pair"],
    ["mia", { ...first, page: 0 }, "'page' must be a positive integer: it is 0"],
    ["mia", { ...first, page: 1.5 }, "'page' must be a positive integer: it is 1.5"],
    ["mia", { ...first, page: Number.NaN }, "'page' must be a positive integer: it is NaN"],
    ["mia", { ...first, size: -1 }, "'size' must be a positive integer: it is -1"],
    ["mia", { ...first, size: Infinity }, "'size' must be a positive integer: it is Infinity"],
  ])("sends nothing for %j with %j", async (userId, query, words) => {
    const { exit, sent } = await send(SessionsApi.page(userId, query));
    expect(sent).toEqual([]);
    expect(errorOf(exit)).toMatchObject({ reason: "InvalidRequest", userId, page: query.page, attempts: 0 });
    expect(errorOf(exit).message).toBe(
      `GET /api/users/{user_id}/sessions: InvalidRequest: ${words}. It was not sent.`,
    );
  });
});

describe("UsersApi.page()", () => {
  it("asks for the page, with key and accept and nothing of a trace", async () => {
    const { exit, sent } = await send(Effect.withSpan(UsersApi.page({ page: 3, size: 50 }), "outer"));
    expect(Exit.isSuccess(exit)).toBe(true);
    expect(sent.map(({ url }) => url.href)).toEqual([`${ORIGIN}/api/users?page=3&size=50`]);
    expect(Object.fromEntries(sent[0]!.headers)).toEqual({
      accept: "application/json, application/problem+json",
      "x-api-key": KEY,
    });
  });

  it.each(["creation_time:1", "last_updated:-1"] as const)("sorts by %s", async (sort) => {
    const { sent } = await send(UsersApi.page({ ...first, sort }));
    expect(sent[0]!.url.searchParams.get("sort")).toBe(sort);
  });
});
