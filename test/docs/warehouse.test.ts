/** The statements of `docs/warehouse.md`, run on what `sync` has written: by PostgreSQL and by DuckDB. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { DuckDBInstance } from "@duckdb/node-api";
import { read } from "../../docs/prose.ts";
import { sync } from "../../src/promise.ts";
import { make as makeSandbox } from "../../src/sandbox/mod.ts";
import { make as inDuckDb } from "../../src/warehouse/duckdb.ts";
import { make as inPostgres } from "../../src/warehouse/postgres.ts";
import * as Tables from "../../src/warehouse/Tables.ts";
import type { Target } from "../../src/warehouse/Target.ts";
import { newFolder } from "../folders.ts";
import { reach } from "../promise/tenant.ts";
import { allVersions, connect, hasPostgres, postgresForFile } from "../warehouse/postgres.ts";

type Row = Readonly<Record<string, unknown>>;

const page = await read("docs/warehouse.md");

/** The snippets, each with the databases that its first line names. */
const snippets = [...page.matchAll(/^```sql\n-- (.*)\n([\s\S]*?)^```$/gm)].map(([, of = "", text = ""]) => ({
  of,
  text,
}));

/** Give the statements that a database can run, one by one. */
const statementsFor = (database: string) =>
  snippets.filter(({ of }) => of.split(" and ").includes(database))
    .flatMap(({ text }) => text.split(/;\s*/).filter((statement) => statement.trim() !== ""));

/** A tenant of which each query finds something, and its table after a prune. */
const filled = async (target: Target) => {
  const now = Math.floor(Date.now() / 1000);
  const sandbox = makeSandbox({ users: 4, sessionsPerUser: 10, now: () => now });
  const [userId = "", other = ""] = sandbox.userIds();
  const fresh = {
    initiated_at: now - 60,
    last_updated: now - 30,
    expires_at: now + 3600,
    client_ids: ["app", "web"],
  };
  const { session_id } = sandbox.add(userId, { ...fresh, device: "a phone" } as never);
  sandbox.add(userId, { ...fresh, session_id: "no\0key" } as never);
  const options = { ...reach(sandbox), users: "all", target } as const;
  await sync({ ...options, history: true });
  const [ended] = sandbox.sessions(other);
  sandbox.remove(other, ended!.session_id);
  sandbox.update(userId, session_id);
  await sync({ ...options, prune: true });
  return {
    sandbox,
    statement: (text: string) => text.replace("USER_ID", userId).replace("SESSION_ID", session_id),
  };
};

/** Run each statement, of which each must find something; gives what they found. */
const runAll = async (
  database: string,
  run: (statement: string) => Promise<ReadonlyArray<Row>>,
  statement: (text: string) => string,
): Promise<ReadonlyArray<ReadonlyArray<Row>>> => {
  const found = [];
  for (const text of statementsFor(database)) {
    const rows = await run(statement(text));
    expect([text, rows.length > 0]).toEqual([text, true]);
    found.push(rows);
  }
  expect(found.length).toBeGreaterThan(6);
  return found;
};

/** Expect what both databases must find. */
const expectFound = ([clients = [], seen = [], lasted = [], history = [], rescued = []]: ReadonlyArray<
  ReadonlyArray<Row>
>) => {
  expect(clients.find(({ client_id }) => client_id === "web")).toBeDefined();
  expect(seen).toHaveLength(1);
  expect(lasted.map(({ ended }) => Number(ended))).toEqual([1]);
  expect(history).toHaveLength(2);
  expect(rescued.map(({ device }) => device)).toEqual(["a phone"]);
};

it("says of each statement which database runs it, and of those that none ran here that they are not tested", () => {
  const tested = ["DuckDB", "PostgreSQL", "PostgreSQL and DuckDB", "PostgreSQL, as a superuser"];
  const others = snippets.map(({ of }) => of).filter((of) => !tested.includes(of));
  expect(others).toEqual(
    ["Snowflake", "BigQuery", "Redshift", "ClickHouse"].map((name) => `${name}, not tested`),
  );
  expect([...page.matchAll(/^```sql$/gm)]).toHaveLength(snippets.length);
});

it("has every table and every column", () => {
  const sections = page.slice(page.indexOf("## The tables"), page.indexOf("## What a run guarantees"));
  const parts = new Map(
    sections.split(/\n\n(?=`[a-z_]+` )/).slice(1).map((text) => [/^`([a-z_]+)`/.exec(text)![1], text]),
  );
  const ofSession = Tables.sessionColumns.map(({ name }) => name);
  for (const { name, columns } of [...Tables.tables, Tables.history, Tables.shardUsers]) {
    const own = columns.map((column) => column.name)
      .filter((column) => name !== Tables.history.name || !ofSession.includes(column));
    const told = [...parts.get(name)!.matchAll(/^\| (`.*?) +\|/gm)].flatMap(([, cell = ""]) =>
      [...cell.matchAll(/`([^`]+)`/g)].map(([, code]) => code)
    );
    expect([name, ...told.sort()]).toEqual([name, ...own.sort()]);
  }
});

it("runs on DuckDB", async () => {
  const path = join(await newFolder(), "sessions.duckdb");
  const { statement } = await filled(inDuckDb({ path }));
  const instance = await DuckDBInstance.create(path, { access_mode: "READ_ONLY" });
  const connection = await instance.connect();
  try {
    const run = async (text: string) => (await connection.runAndReadAll(text)).getRowObjectsJson();
    expectFound(await runAll("DuckDB", run, statement));
  } finally {
    connection.closeSync();
    instance.closeSync();
  }
});

describe.skipIf(!hasPostgres)(`on ${allVersions[0]!.name}`, () => {
  const server = postgresForFile();

  it("runs, with the rights that the page gives to whoever loads and whoever reads", async () => {
    const database = await server().createDatabase("warehouse");
    const rights = snippets.find(({ of }) => of === "PostgreSQL, as a superuser")!.text;
    await server().sql(rights, database.name);
    const as = (user: string) => ({
      url: database.url.replace("postgres@", `${user}@`),
      password: new RegExp(`ROLE ${user} .*PASSWORD '(.*)'`).exec(rights)![1]!,
    });
    const { statement } = await filled(inPostgres(as("loader")));
    const client = connect(as("analyst"));
    await client.connect();
    try {
      const run = async (text: string) => (await client.query(text)).rows as ReadonlyArray<Row>;
      expectFound(await runAll("PostgreSQL", run, statement));
      await expect(run("DELETE FROM monocloud.sessions")).rejects.toThrow("permission denied");
    } finally {
      await client.end();
    }
  });
});
