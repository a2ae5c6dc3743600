/**
 * A tenant written for the tests that tells lies: what gateways, caches and replicas have been seen to do to answers. Behind
 * them it keeps honest lists, so that what was lost can be told.
 */
import * as Effect from "effect/Effect";
import type { Transport } from "../../src/api/transport/Transport.ts";
import { draws } from "./paging/histories.ts";

/** What an answer says that is not so. */
export type Lie =
  /** No rows, though its own header counts them. */
  | "empty"
  /** One row is missing in the middle of the page. */
  | "short"
  /** The page is cut from the list as it is stored, and sorted after. */
  | "cut first"
  /** 404 as a page for people. */
  | "404 in HTML"
  /** 404 in a gateway's own JSON. */
  | "404 in JSON"
  /** 404 as the API gives it, for a user whom the list names. */
  | "404 as the API"
  /** Rows are left out after the page was cut: four in ten. */
  | "filtered"
  /** A row of the page in place of another, changed. */
  | "twice"
  /** The page in no order. */
  | "unsorted";

/** All of them. */
export const lies: ReadonlyArray<Lie> = [
  "empty",
  "short",
  "cut first",
  "404 in HTML",
  "404 in JSON",
  "404 as the API",
  "filtered",
  "twice",
  "unsorted",
];

/** How often a lie is told of a list: once, in every answer, in every one from the third on, or in some. */
export type When = "once" | "always" | "from the third" | "at times";

/** A tenant. */
export interface LyingOptions {
  readonly seed: number;
  /** How many sessions each user has. */
  readonly sessions: ReadonlyArray<number>;
  readonly lies?: ReadonlyArray<readonly [Lie, When]>;
  /** Of which lists: those of sessions, or that of users. */
  readonly about?: "sessions" | "users";
  readonly hasHeader?: boolean;
  readonly maxSize?: number;
  /** How many seconds sessions share, and users. */
  readonly span?: number;
  /** More requests are not answered, but end the test. */
  readonly most?: number;
  /** How many sessions come or go before each answer, on average. */
  readonly churn?: number;
}

interface Row {
  readonly id: string;
  readonly time: number;
  /** Where it is stored. */
  readonly place: number;
}

/** An answer before it becomes a response. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

const sessionOf = ({ id, time }: Row, change = 0) => ({
  session_id: id,
  client_ids: ["app"],
  initiated_at: time,
  expires_at: time + 86_400,
  last_updated: time + change,
});

const userOf = ({ id, time }: Row, change = 0) => ({
  user_id: id,
  creation_time: time,
  last_updated: time + change,
});

/** Makes one. The same options give the same answers to the same requests in the same order. */
export const make = (options: LyingOptions) => {
  const { seed, lies = [], about = "sessions", hasHeader = true, maxSize = Infinity, span = 1e9, churn = 0 } =
    options;
  const draw = draws(seed);
  const below = (limit: number) => Math.floor(draw() * limit);
  let made = 0;
  const rowOf = (prefix: string): Row => ({
    id: `${prefix}${String(below(1e9)).padStart(9, "0")}-${made++}`,
    time: 1_600_000_000 + (span >= 1e9 ? below(1e8) : below(span)),
    place: draw(),
  });
  const users = options.sessions.map(() => rowOf("u"));
  const lists = new Map(
    users.map(({ id }, index) => [id, Array.from({ length: options.sessions[index]! }, () => rowOf("s"))]),
  );
  const there = new Map([...lists].map(([id, rows]) => [id, new Set(rows.map((row) => row.id))]));
  const told = new Map<string, number>();
  /** At which answer about a list a lie is told that is told once: one of those an honest reading asks for. */
  const onceAt = new Map<string, number>();
  let requests = 0;

  const isTold = (list: string, lie: Lie, when: When, nth: number, most: number): boolean => {
    const key = `${lie} ${list}`;
    if (when === "always") return true;
    if (when === "from the third") return nth >= 3;
    if (when === "at times") return draw() < 0.15;
    if (!onceAt.has(key)) onceAt.set(key, 1 + below(most));
    return onceAt.get(key) === nth;
  };

  const json = (body: unknown, headers: Record<string, string> = {}, status = 200): Answer => ({
    status,
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const notFound = json(
    {
      type: "https://httpstatuses.io/404",
      title: "Not Found",
      status: 404,
      detail: "There is no such user.",
    },
    { "content-type": "application/problem+json" },
    404,
  );

  const change = (list: Array<Row>, id: string) => {
    for (let left = churn * 2 * draw(); left > draw(); left--) {
      if (draw() < 0.5) list.push({ ...rowOf("s"), time: 1_700_000_000 + requests });
      else if (list.length > 0) there.get(id)!.delete(list.splice(below(list.length), 1)[0]!.id);
    }
  };

  const page = (
    rows: ReadonlyArray<Row>,
    list: string,
    query: URLSearchParams,
    shape: (row: Row, change?: number) => object,
    isLying: boolean,
  ): Answer => {
    const [number, asked] = [Number(query.get("page") ?? 1), Number(query.get("size") ?? 10)];
    const size = Math.min(asked, maxSize);
    const [key, direction] = (query.get("sort") ?? "").split(":");
    const sign = Number(direction);
    const nth = (told.get(list) ?? 0) + 1;
    told.set(list, nth);
    const pages = Math.max(1, Math.ceil(rows.length / size));
    const now = new Set(
      isLying ? lies.filter(([lie, when]) => isTold(list, lie, when, nth, pages)).map(([lie]) => lie) : [],
    );
    if (now.has("404 in HTML")) {
      return { status: 404, headers: { "content-type": "text/html" }, body: "<h1>404 Not Found</h1>" };
    }
    if (now.has("404 in JSON")) return json({ message: "no Route matched with those values" }, {}, 404);
    if (now.has("404 as the API")) return notFound;
    const value = (row: Row) => key === "session_id" ? row.id : row.time;
    const sort = (some: ReadonlyArray<Row>) =>
      some.toSorted((a, b) => {
        const [one, other] = [value(a), value(b)];
        return one < other ? -sign : one > other ? sign : a.place - b.place;
      });
    const start = (number - 1) * size;
    let given = now.has("cut first")
      ? sort(rows.toSorted((a, b) => a.place - b.place).slice(start, start + size))
      : sort(rows).slice(start, start + size);
    if (now.has("empty")) given = [];
    if (now.has("filtered")) given = given.filter(({ place }) => (place * 1000) % 1 < 0.6);
    if (now.has("short") && given.length > 1) given = given.toSpliced(given.length >> 1, 1);
    let bodies = given.map((row) => shape(row));
    if (now.has("twice") && given.length > 1) {
      const at = below(given.length - 1);
      bodies = bodies.with(at + 1, shape(given[at]!, 7));
    }
    if (now.has("unsorted")) bodies = bodies.toSorted(() => draw() - 0.5);
    const header = JSON.stringify({
      page_size: size,
      current_page: number,
      total_count: rows.length,
      has_previous: number > 1,
      has_next: start + size < rows.length,
    });
    return json(bodies, hasHeader ? { "x-pagination": header } : {});
  };

  const answer = (url: string): Answer => {
    requests++;
    const { pathname, searchParams } = new URL(url, "http://localhost");
    const [, , , user, sessions] = pathname.split("/");
    if (user === undefined) return page(users, "users", searchParams, userOf, about === "users");
    const id = decodeURIComponent(user);
    const list = lists.get(id);
    if (list === undefined) return notFound;
    if (sessions === undefined) return json(userOf(users.find((row) => row.id === id)!));
    change(list, id);
    return page(list, id, searchParams, sessionOf, about === "sessions");
  };

  const transport: typeof Transport.Service = {
    get: (url, _, { onHead }) =>
      Effect.sync(() => {
        const { status, headers, body } = answer(url);
        if (requests > (options.most ?? Infinity)) throw new Error("the walk does not end");
        onHead(status, headers);
        return new TextEncoder().encode(body);
      }),
  };

  return {
    answer,
    transport,
    userIds: users.map(({ id }) => id),
    /** What was in the list from the beginning until now, by user. */
    there: there as ReadonlyMap<string, ReadonlySet<string>>,
    requests: () => requests,
  };
};
