/** Runs into a warehouse from a sandbox, and what the tables hold afterwards. */
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { expect } from "vitest";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import * as Batch from "../../src/session/Batch.ts";
import * as Columns from "../../src/session/Columns.ts";
import type { Sandbox } from "../../src/sandbox/mod.ts";
import * as UserList from "../../src/source/UserList.ts";
import type { Dialect, Found, Target } from "../../src/warehouse/Target.ts";
import * as Sync from "../../src/warehouse/Sync.ts";

/** What a test may say of a run; the rest is that of all users. */
export type Options = Partial<Omit<Sync.SyncOptions<never, never>, "users" | "target">> & {
  readonly users?: ReadonlyArray<string>;
};

export const syncOf = (sandbox: Pick<Sandbox, "fetch" | "key">, target: Target, options: Options = {}) => {
  const { users, ...rest } = options;
  const tenant = TenantClient.layer({
    domain: "sandbox.example",
    apiKey: sandbox.key,
    rate: 100_000,
    maxElapsed: "2 seconds",
  }).pipe(
    Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
  );
  return Sync.sync({
    target,
    tenant: "https://sandbox.example",
    users: users === undefined ? UserList.all() : UserList.of(users),
    ...rest,
  }).pipe(Effect.provide(tenant));
};

export const sync = (...args: Parameters<typeof syncOf>) => Effect.runPromise(syncOf(...args));

/** Read from the tables of a target. */
export const select = async (
  target: Target,
  statement: (dialect: Dialect) => string,
): Promise<ReadonlyArray<Found>> => {
  const connection = await target.connect();
  try {
    return await connection.transaction(() => connection.query(statement(target.dialect)));
  } finally {
    await connection.close();
  }
};

const { columns } = Columns;

/** Give a row as text, whatever a database makes of its values. */
const textOf = (values: ReadonlyArray<unknown>): string =>
  JSON.stringify(values.map((value, index) => {
    const { kind } = columns[index]!;
    if (value === null) return null;
    if (kind === "timestamp" || kind === "number") return Number(value);
    return kind === "text_list" && typeof value === "string" ? JSON.parse(value) : value;
  }));

const isText = (kind: string): boolean => kind === "text" || kind === "json";

/** The expression of a column. The client of DuckDB drops a byte order mark before a text: something else goes before it. */
const expressionOf = ({ epoch }: Dialect, { name, kind }: Columns.Column): string =>
  kind === "timestamp" ? epoch(`"${name}"`) : isText(kind) ? `'|' || "${name}"` : `"${name}"`;

/** Give the rows of a table of sessions, as text in order. */
export const rowsOf = async (target: Target, table = "sessions_live"): Promise<ReadonlyArray<string>> => {
  const rows = await select(
    target,
    (dialect) =>
      `SELECT ${
        columns.map((column) => `${expressionOf(dialect, column)} AS "${column.name}"`).join(", ")
      } FROM ${dialect.table(table)}`,
  );
  const valueOf = (row: Found, { name, kind }: Columns.Column) => {
    const value = row[name];
    return isText(kind) && typeof value === "string" ? value.slice(1) : value;
  };
  return rows.map((row) => textOf(columns.map((column) => valueOf(row, column)))).sort();
};

/** Give the rows that a table should have by what the tenant lists. */
export const listedBy = (
  sandbox: Pick<Sandbox, "userIds" | "sessions">,
  isThere: (userId: string) => boolean = () => true,
): ReadonlyArray<string> =>
  [...sandbox.userIds()].filter(isThere).flatMap((userId) => {
    const { rows: { slices } } = Batch.toBytes(Batch.make(userId, [...sandbox.sessions(userId)]));
    return slices.from.map((_, row) =>
      textOf(columns.map((column) => Columns.valueAt(column, userId, slices, row)))
    );
  }).sort();

/** Expect the table to have these rows and no others; names some of those that differ. */
export const expectRows = (rows: ReadonlyArray<string>, listed: ReadonlyArray<string>) => {
  const [there, wanted] = [new Set(rows), new Set(listed)];
  const missing = listed.filter((row) => !there.has(row));
  const besides = rows.filter((row) => !wanted.has(row));
  expect({ missing: missing.slice(0, 3), besides: besides.slice(0, 3), rows: rows.length }).toEqual({
    missing: [],
    besides: [],
    rows: listed.length,
  });
};

/** Expect the table to have each of these rows, and one row at most of a key. */
export const expectNothingMissing = (rows: ReadonlyArray<string>, listed: ReadonlyArray<string>) => {
  const there = new Set(rows);
  expect(listed.filter((row) => !there.has(row))).toEqual([]);
  const keys = rows.map((row) => JSON.stringify(JSON.parse(row).slice(0, 2)));
  expect(new Set(keys).size).toBe(keys.length);
};

/** A sandbox in which some users can be hidden: the tenant does not know them then. */
export const hiding = (sandbox: Sandbox) => {
  const hidden = new Set<string>();
  const userOf = (url: string) => /\/users\/([^/?]+)/.exec(url)?.[1];
  return {
    hidden,
    key: sandbox.key,
    fetch: async (request: Request): Promise<Response> => {
      const userId = userOf(request.url);
      if (userId !== undefined && hidden.has(decodeURIComponent(userId))) {
        return Response.json({ type: "about:blank", title: "Not Found", status: 404 }, {
          status: 404,
          headers: { "content-type": "application/problem+json", "date": new Date().toUTCString() },
        });
      }
      const answer = await sandbox.fetch(request);
      if (userId !== undefined || hidden.size === 0 || answer.status !== 200) return answer;
      // A page of the list without those who are hidden: of all that the tenant lists.
      const url = new URL(request.url);
      const [page, size] = ["page", "size"].map((name) => Number(url.searchParams.get(name)));
      const users: Array<{ readonly user_id: string }> = [];
      let pagination = { has_next: true };
      for (let at = 1; pagination.has_next; at++) {
        url.searchParams.set("page", `${at}`);
        const answer = await sandbox.fetch(new Request(url, request));
        if (answer.status !== 200) return answer;
        users.push(...await answer.json() as typeof users);
        pagination = JSON.parse(answer.headers.get("x-pagination") ?? "{}");
      }
      const shown = users.filter(({ user_id }) => !hidden.has(user_id));
      const headers = new Headers(answer.headers);
      headers.set(
        "x-pagination",
        JSON.stringify({
          ...JSON.parse(answer.headers.get("x-pagination") ?? "{}"),
          total_count: shown.length,
          has_next: page! * size! < shown.length,
        }),
      );
      headers.delete("content-length");
      return new Response(JSON.stringify(shown.slice((page! - 1) * size!, page! * size!)), {
        status: 200,
        headers,
      });
    },
  };
};
