/** A tenant written for the tests, whose users are active: truly, or not as its list of users says. */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as TenantClient from "../../../src/api/TenantClient.ts";
import * as Transport from "../../../src/api/transport/Transport.ts";
import { tenantAt } from "../../api/asking.ts";
import { draws } from "../paging/histories.ts";

export interface Session {
  readonly session_id: string;
  readonly initiated_at: number;
  last_updated: number;
}

interface User {
  readonly user_id: string;
  readonly creation_time: number;
  last_activity: number | null;
  readonly sessions: Map<string, Session>;
}

/**
 * Account of a change in the list of users: when it happened; so after ten seconds; nothing of one in a hundred; it a minute later; or
 * nothing of any.
 */
export type Honesty = "honest" | "lagging" | "missed" | "late" | "null";

export interface ActiveOptions {
  readonly users: number;
  readonly seed: number;
  readonly honesty?: Honesty;
  /** Where users without activity stand in a list that begins with the latest. @default {"last"} */
  readonly nulls?: "first" | "last";
  /** The share of users who have never been active. @default {0} */
  readonly idle?: number;
  readonly maxSize?: number;
}

/** Seconds after which activity is shown. */
const LAGS: Readonly<Partial<Record<Honesty, number>>> = { lagging: 10, late: 60 };

const START = 1_760_000_000;

export const make = (
  { users: count, seed, honesty = "honest", nulls = "last", idle = 0, maxSize = 1000 }: ActiveOptions,
) => {
  const draw = draws(seed);
  const below = (limit: number) => Math.floor(draw() * limit);
  const users = new Map<string, User>();
  const pending: Array<{ readonly user: User; readonly time: number; readonly shownAt: number }> = [];
  let [now, made, requests, skew] = [START, 0, 0, 0];
  let before: (url: URL) => Response | undefined | void = () => {};
  const failing = new Set<string>();

  const act = (user: User, time: number) => {
    if (honesty === "null" || (honesty === "missed" && draw() < 0.01)) return;
    const lag = LAGS[honesty];
    if (lag !== undefined) pending.push({ user, time, shownAt: time + lag });
    else user.last_activity = Math.max(user.last_activity ?? 0, time);
  };

  const settle = () => {
    for (let i = pending.length - 1; i >= 0; i--) {
      const { user, time, shownAt } = pending[i]!;
      if (shownAt > now) continue;
      user.last_activity = Math.max(user.last_activity ?? 0, time);
      pending.splice(i, 1);
    }
  };

  /** Signs a user in, or uses a session, at a time. */
  const change = (user: User, time: number) => {
    const sessions = [...user.sessions.values()];
    const used = sessions[below(2 * sessions.length + 1)];
    if (used !== undefined) used.last_updated = Math.max(used.last_updated, time);
    else {
      const session_id = `S${made++}`;
      user.sessions.set(session_id, { session_id, initiated_at: time, last_updated: time });
    }
    act(user, time);
  };

  const create = (time: number): User => {
    const user_id = `user-${String(made++).padStart(7, "0")}`;
    const user: User = { user_id, creation_time: time, last_activity: null, sessions: new Map() };
    users.set(user_id, user);
    return user;
  };

  for (let i = 0; i < count; i++) {
    const user = create(START - 40 * 86_400 + below(86_400));
    if (draw() < idle) continue;
    const time = START - 86_400 - below(30 * 86_400);
    change(user, time);
    if (honesty !== "null") user.last_activity = Math.max(user.last_activity ?? 0, time);
  }

  const listOf = <Row extends object>(rows: Array<Row>, id: keyof Row, query: URLSearchParams): Response => {
    const [key = "", order = "1"] = (query.get("sort") ?? "").split(":");
    const sign = Number(order);
    const none = nulls === "first" ? Infinity : -Infinity;
    const value = (row: Row) => (row[key as keyof Row] ?? none) as number | string;
    rows.sort((a, b) => {
      const [one, other] = [value(a), value(b)];
      return one < other ? -sign : one > other ? sign : a[id] < b[id] ? -1 : 1;
    });
    const [page, size] = [Number(query.get("page")), Math.min(maxSize, Number(query.get("size")))];
    const start = (page - 1) * size;
    const facts = {
      page_size: size,
      current_page: page,
      total_count: rows.length,
      has_previous: page > 1,
      has_next: start + size < rows.length,
    };
    return Response.json(rows.slice(start, start + size), {
      headers: { "x-pagination": JSON.stringify(facts), date: new Date(now * 1000).toUTCString() },
    });
  };

  const answer = (url: URL): Response => {
    requests++;
    const instead = before(url);
    if (instead !== undefined) return instead;
    settle();
    const [, , , userId, sessions] = url.pathname.split("/");
    const plain = ({ sessions: _, ...user }: User) => user;
    if (userId === undefined) return listOf([...users.values()].map(plain), "user_id", url.searchParams);
    const user = users.get(decodeURIComponent(userId));
    if (user === undefined) {
      return Response.json({ title: "Not Found", status: 404 }, {
        status: 404,
        headers: { "content-type": "application/problem+json" },
      });
    }
    if (sessions === undefined) return Response.json(plain(user));
    if (failing.has(userId)) return Response.json({ status: 409 }, { status: 409 });
    const rows = [...user.sessions.values()].map((row) => ({ client_ids: [], expires_at: 2e9, ...row }));
    return listOf(rows, "session_id", url.searchParams);
  };

  const real = Clock.make();
  const clock: Clock.Clock = {
    ...real,
    sleep: (duration) => real.sleep(duration),
    unsafeCurrentTimeMillis: () => (now + skew) * 1000,
    currentTimeMillis: Effect.sync(() => (now + skew) * 1000),
  };

  return {
    draw,
    users,
    /** Users whose sessions can't be listed at present. */
    failing,
    create: () => create(now),
    /** Moves the time on, with so many changes spread over it, one of them in its last minute. */
    pass: (seconds: number, changes: number) => {
      const all = [...users.values()];
      const times = Array.from(
        { length: changes },
        (_, i) => now + 1 + (i === 0 ? seconds - 30 : below(seconds - 1)),
      );
      for (const time of times.sort((a, b) => a - b)) {
        const user = all[below(all.length)]!;
        change(user, time);
        if (draw() < 0.1) user.sessions.delete([...user.sessions.keys()][0]!);
      }
      now += seconds;
      settle();
    },
    /** Done before each answer from now on; may answer in its place. */
    beforeEach: (work: typeof before) => void (before = work),
    /** Shows an activity once a time has come. */
    show: (user: User, time: number, shownAt: number) => void pending.push({ user, time, shownAt }),
    /** Changes something this second, of someone. */
    stir: () => {
      now += below(3);
      const all = [...users.values()];
      change(all[below(all.length)]!, now);
    },
    requests: () => requests,
    now: () => now,
    /** Sets this machine's clock apart from the tenant's, in seconds. */
    setClock: (ahead: number) => void (skew = ahead),
    clock,
    layer: TenantClient.layerOf(tenantAt("https://acme.example"), { rate: 1e6 }).pipe(
      Layer.provide(
        Transport.fetch((input, init) => Promise.resolve(answer(new URL(new Request(input, init).url)))),
      ),
    ),
  };
};

export type ActiveTenant = ReturnType<typeof make>;
