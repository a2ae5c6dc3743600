/** Texts and rows that databases stumble over, side by side: what became of each in the tables and in the files. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import * as Columns from "../../src/session/Columns.ts";
import * as Batch from "../../src/session/Batch.ts";
import * as Formats from "../../src/format/Formats.ts";
import * as UserList from "../../src/source/UserList.ts";
import * as Sync from "../../src/warehouse/Sync.ts";
import type { Target } from "../../src/warehouse/Target.ts";
import * as DuckDb from "../../src/warehouse/targets/duckdb.ts";
import { encodeAll } from "../contract/encoder.ts";
import { csvRows, parquetRows } from "../format/duckdb.ts";
import { hasPostgres, postgresForFile } from "./postgres.ts";
import { isLong } from "../size.ts";
import { targetOf } from "./targets.ts";
import { select } from "./tables.ts";

/** A case: a row as served, and the column to look at. */
interface Case {
  readonly name: string;
  readonly column: string;
  /** Members of the row besides its id and times, as JSON. */
  readonly json: string;
  /** What becomes of it: in both tables unless `postgres` says something else, and in the files. */
  readonly table: unknown;
  readonly postgres?: unknown;
  readonly files: unknown;
}

const long = "x".repeat(1_000_000);
const clients = Array.from({ length: 10_000 }, (_, i) => `client-${i}`);
const key = "k".repeat(4000);

const metadata = (name: string, json: string) => `"last_metadata":{"${name}":${json}}`;

/** What is put aside. */
const quarantined = "quarantined";

const cases: ReadonlyArray<Case> = [
  { name: "NUL", column: "city", json: metadata("city", '"a\\u0000b"'), table: "a\ufffdb", files: "a\0b" },
  {
    name: "half a surrogate pair",
    column: "city",
    json: metadata("city", '"a\\ud800"'),
    table: "a\ufffd",
    files: "a\ufffd",
  },
  {
    name: "NUL in a list",
    column: "client_ids",
    json: '"client_ids":["a\\u0000"]',
    table: ["a\ufffd"],
    files: ["a\0"],
  },
  {
    name: "half a pair in a list",
    column: "client_ids",
    json: '"client_ids":["\\udfff","b"]',
    table: ["\ufffd", "b"],
    files: ["\ufffd", "b"],
  },
  {
    name: "NUL in an unknown field",
    column: "_rescued_data",
    json: '"new":{"a":"\\u0000","b":"\\\\u0000"}',
    table: '{"new":{"a":"\\ufffd","b":"\\\\u0000"}}',
    files: '{"new":{"a":"\\u0000","b":"\\\\u0000"}}',
  },
  {
    name: "half a pair in an unknown field",
    column: "_rescued_data",
    json: '"new":["\\ud83d","\\ud83d\\ude00"]',
    table: '{"new":["\\ufffd","\\ud83d\\ude00"]}',
    files: '{"new":["\\ud83d","\\ud83d\\ude00"]}',
  },
  {
    name: "a number that none holds",
    column: "_rescued_data",
    json: '"new":1e400,"id":123456789012345678901',
    table: '{"new":1e400,"id":123456789012345678901}',
    files: '{"new":1e400,"id":123456789012345678901}',
  },
  {
    name: "a coordinate that is no number",
    column: "latitude",
    json: metadata("latitude", '"north"'),
    table: null,
    files: null,
  },
  {
    name: "1 MB of text",
    column: "user_agent",
    json: metadata("user_agent", `"${long}"`),
    table: long,
    files: long,
  },
  {
    name: "10,000 clients",
    column: "client_ids",
    json: `"client_ids":${JSON.stringify(clients)}`,
    table: clients,
    files: clients,
  },
  {
    name: "a key of 4,000 bytes",
    column: "session_id",
    json: `"session_id":"${key}"`,
    table: key,
    postgres: quarantined,
    files: key,
  },
  {
    name: "NUL in the id",
    column: "session_id",
    json: '"session_id":"id\\u0000"',
    table: quarantined,
    files: "id\0",
  },
  {
    name: "half a pair in the id",
    column: "session_id",
    json: '"session_id":"id\\ud800"',
    table: quarantined,
    files: "id\ufffd",
  },
  {
    name: "the end of year 9999",
    column: "expires_at",
    json: '"expires_at":253402300799',
    table: 253402300799,
    files: 253402300799,
  },
  { name: "the beginning of 1970", column: "expires_at", json: '"expires_at":0', table: 0, files: 0 },
  { name: "an empty text", column: "session_key", json: '"session_key":""', table: "", files: "" },
  { name: "null", column: "session_key", json: '"session_key":null', table: null, files: null },
  { name: "nothing", column: "country", json: '"last_metadata":null', table: null, files: null },
  { name: "an empty list", column: "client_ids", json: '"client_ids":[]', table: [], files: [] },
  {
    name: "a formula",
    column: "user_agent",
    json: metadata("user_agent", '"=1+1"'),
    table: "=1+1",
    files: "=1+1",
  },
  {
    name: "quotes, breaks and backslashes",
    column: "city",
    json: metadata("city", '"\\"\'\\\\\\r\\n\\t,;{}"'),
    table: "\"'\\\r\n\t,;{}",
    files: "\"'\\\r\n\t,;{}",
  },
  {
    name: "what a database takes for null",
    column: "city",
    json: metadata("city", '"\\\\N"'),
    table: "\\N",
    files: "\\N",
  },
];

/** The row of a case. What it says of a member goes before the usual. */
const rowOf = ({ json }: Case, index: number): string => {
  const own = new Set(Object.keys(JSON.parse(`{${json}}`)));
  const usual = {
    session_id: `S${String(index).padStart(2, "0")}`,
    client_ids: ["app"],
    initiated_at: 1000 + index,
    expires_at: 2000,
    last_updated: 1000 + index,
  };
  const rest = Object.entries(usual).filter(([name]) => !own.has(name))
    .map(([name, value]) => `"${name}":${JSON.stringify(value)}`);
  return `{${[...rest, json].join(",")}}`;
};

const rows = cases.map(rowOf);

/** A tenant of one user that has these. */
const answer = (request: Request): Response => {
  const isUsers = new URL(request.url).pathname === "/api/users";
  const list = isUsers ? [`{"user_id":"alice"}`] : [...rows].reverse();
  const pagination = {
    page_size: 100,
    current_page: 1,
    total_count: list.length,
    has_previous: false,
    has_next: false,
  };
  return new Response(`[${list.join(",")}]`, {
    headers: {
      "content-type": "application/json",
      date: new Date().toUTCString(),
      "x-pagination": JSON.stringify(pagination),
    },
  });
};

const syncInto = (target: Target) =>
  Effect.runPromise(
    Sync.sync({ target, tenant: "https://hostile.example", users: UserList.all() }).pipe(
      Effect.provide(
        TenantClient.layer({ domain: "hostile.example", apiKey: "key", rate: 1000 }).pipe(
          Layer.provide(Transport.fetch((input, init) => Promise.resolve(answer(new Request(input, init))))),
        ),
      ),
    ),
  );

/** Give what the table has for each case. */
const inTable = async (target: Target): Promise<ReadonlyArray<unknown>> => {
  const found = await select(
    target,
    ({ table, epoch }) =>
      `SELECT ${
        Columns.columns.map(({ name, kind }) =>
          kind === "timestamp" ? `${epoch(`"${name}"`)} AS "${name}"` : `"${name}"`
        ).join(", ")
      } FROM ${table("sessions")}`,
  );
  return cases.map(({ column }, index) => {
    const row = found.find((row) => Number(row["initiated_at"]) === 1000 + index);
    if (row === undefined) return quarantined;
    const value = row[column];
    return typeof value === "string" && column.endsWith("_at") ? Number(value) : value;
  });
};

const sessions = () => Batch.ofTexts("alice", rows);

/** Give what a file has for each case, as DuckDB reads it. */
const inFile = async (read: typeof csvRows, format: string): Promise<ReadonlyArray<unknown>> => {
  const file = encodeAll(Formats.make(format, { csv: { escapeFormulas: false } }).make(), [sessions()]);
  const found = await read(file);
  return cases.map(({ column }, index) => {
    const value = found[index]![column];
    return value instanceof Date ? value.getTime() / 1000 : value;
  });
};

/** Give what NDJSON says, by its own text. */
const inNdjson = (): ReadonlyArray<unknown> => {
  const text = new TextDecoder().decode(encodeAll(Formats.make("ndjson").make(), [sessions()]));
  const lines = text.trim().split("\n");
  return cases.map(({ json }, index) => lines[index]!.includes(json) ? "as served" : lines[index]);
};

const brief = (value: unknown): string => {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 40 ? `${text.slice(0, 25)}… (${text.length})` : text;
};

const seen: Record<string, Record<string, string>> = Object.fromEntries(cases.map(({ name }) => [name, {}]));
const note = (where: string, values: ReadonlyArray<unknown>) =>
  cases.forEach(({ name }, index) => seen[name]![where] = brief(values[index]));

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "hostile-"))));
afterAll(async () => {
  if (isLong) console.table(seen);
  await rm(folder, { recursive: true, force: true });
});

it("in DuckDB", async () => {
  const target = DuckDb.make({ path: join(folder, "hostile.duckdb") });
  const report = await syncInto(target);
  const found = await inTable(target);
  note("DuckDB", found);
  const listed = found.map((value) =>
    Array.isArray((value as { items?: unknown })?.items) ? (value as { items: unknown }).items : value
  );
  expect(listed).toEqual(cases.map(({ table }) => table));
  expect(report).toMatchObject({ quarantined: 2, replacedTexts: 6 });
});

describe.skipIf(!hasPostgres)("with PostgreSQL", () => {
  const server = postgresForFile();
  it("in PostgreSQL", async () => {
    const target = targetOf(await server().createDatabase());
    const report = await syncInto(target);
    const found = await inTable(target);
    note("PostgreSQL", found);
    expect(found).toEqual(cases.map(({ table, postgres = table }) => postgres));
    expect(report).toMatchObject({ quarantined: 3, replacedTexts: 6 });
  });
});

it.each([["csv", csvRows], ["parquet", parquetRows]] as const)("in %s", async (format, read) => {
  const found = await inFile(read, format);
  note(format, found);
  expect(found).toEqual(cases.map(({ files }) => files));
});

it("in ndjson", () => {
  const found = inNdjson();
  note("ndjson", found);
  expect(found).toEqual(cases.map(() => "as served"));
});
