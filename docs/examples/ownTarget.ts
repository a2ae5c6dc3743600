/**
 * A target of your own: a table in SQLite that equals the tenant. It passes the suite that every target must pass.
 *
 * Run: `deno run -A docs/examples/ownTarget.ts`. With Node 22.18 or later: `npm run build`, then
 * `node docs/examples/ownTarget.ts`.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
// @ts-ignore: The types of Node 20, which this project has, do not know it.
import { DatabaseSync } from "node:sqlite";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { TenantClient, Transport } from "monocloud-sessions";
import { Warehouse } from "monocloud-sessions/effect/warehouse";
import { make as makeTenant } from "monocloud-sessions/sandbox";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";

const quoted = (name: string): string => `"${name.replaceAll('"', '""')}"`;

/** The spelling of SQLite for what the common statements leave open. It has no lists and no times: JSON and ISO 8601 stand in. */
const dialect: Warehouse.Dialect = {
  types: {
    text: "TEXT",
    timestamp: "TEXT",
    number: "REAL",
    text_list: "TEXT",
    json: "TEXT",
    integer: "INTEGER",
    boolean: "INTEGER",
  },
  table: (name) => `main.${quoted(name)}`,
  now: "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
  epoch: (time) => `unixepoch(${time}, 'subsec')`,
  true: "1",
  false: "0",
  // An index does the same for rows that are looked up.
  hasKeys: false,
  extra: ['CREATE UNIQUE INDEX main."sessions_key" ON "sessions" ("user_id", "session_id")'],
};

/** SQLite's codes of errors that a run can do something about. */
const reasons: Readonly<Record<number, Warehouse.TargetErrorReason>> = {
  5: "Busy",
  6: "Busy",
  8: "Denied",
  13: "Full",
  14: "Denied",
  23: "Denied",
  26: "Foreign",
};

/** Give a value as a column of SQLite holds it. */
const stored = (kind: Warehouse.Kind, value: Warehouse.Value): string | number | null => {
  if (value === null) return null;
  if (kind === "timestamp") return new Date(value as number * 1000).toISOString();
  if (kind === "text_list") return JSON.stringify(value);
  return typeof value === "boolean" ? Number(value) : value as string | number;
};

/** Bind `$1`, `$2` and so on. */
const bound = (parameters: ReadonlyArray<Warehouse.Parameter>) =>
  Object.fromEntries(parameters.map((value, index) => [
    `$${index + 1}`,
    typeof value === "boolean" ? Number(value) : value,
  ]));

/** Make a target in a file of SQLite. Its schema is the file: there is one table of sessions in it. */
export const make = ({ path, patience = 30_000 }: { path: string; patience?: number }): Warehouse.Target => {
  /** Do what SQLite does at once, and reject as a target does. */
  const attempt = async <A>(work: () => A): Promise<A> => {
    try {
      return await work();
    } catch (error) {
      const { errcode = 0, message } = error as Error & { errcode?: number };
      const reason = reasons[errcode & 0xff] ?? "Statement";
      throw new Warehouse.TargetError({ reason, target: path, message: `${path}: ${message}`, cause: error });
    }
  };

  const connect = async (): Promise<Warehouse.Connection> => {
    const database = await attempt(() => new DatabaseSync(path));
    const execute = (statements: string) => attempt(() => database.exec(statements));
    const prepare = (statement: string) => database.prepare(statement);
    // Readers go on while a run writes, and what is committed is on the disk.
    await execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL");

    /** Begin, once no other connection writes. Meanwhile this process does other things. */
    const begin = async () => {
      for (const until = Date.now() + patience;; await setTimeout(20)) {
        try {
          return await execute("BEGIN IMMEDIATE");
        } catch (error) {
          if ((error as Warehouse.TargetError).reason !== "Busy" || Date.now() > until) throw error;
        }
      }
    };

    let isOpen = true;
    return {
      query: (statement, parameters = []) => attempt(() => prepare(statement).all(bound(parameters))),
      run: (statement, parameters = []) =>
        attempt(() => Number(prepare(statement).run(bound(parameters)).changes)),
      append: async (table, columns, { count, at }) => {
        const names = columns.map(({ name }) => quoted(name)).join();
        const places = columns.map((_, column) => `?${column + 1}`).join();
        // In one transaction it takes a tenth of the time.
        await execute("SAVEPOINT appending");
        try {
          await attempt(() => {
            const insert = prepare(`INSERT INTO ${quoted(table)} (${names}) VALUES (${places})`);
            for (let row = 0; row < count; row++) {
              insert.run(...columns.map(({ kind }, column) => stored(kind, at(row, column))));
            }
          });
        } finally {
          await execute("RELEASE appending");
        }
      },
      transaction: async (work) => {
        await begin();
        try {
          const result = await work();
          await execute("COMMIT");
          return result;
        } catch (error) {
          if (isOpen) database.exec("ROLLBACK");
          throw error;
        }
      },
      describe: async (name) => {
        const statement = "SELECT name, type FROM pragma_table_info($1, 'main')";
        const columns: Array<Warehouse.Found> = await attempt(() => prepare(statement).all(bound([name])));
        if (columns.length === 0) return undefined;
        return { columns: new Map(columns.map(({ name, type }) => [String(name), String(type)])) };
      },
      close: () => {
        if (isOpen) database.close();
        isOpen = false;
        return Promise.resolve();
      },
    };
  };
  return { name: path, dialect, connect };
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = await mkdtemp(join(tmpdir(), "sqlite-"));
  for (const [number, { run }] of Warehouse.contract.entries()) {
    await run(() => make({ path: join(folder, `${number}.sqlite`) }));
  }
  console.log(`${Warehouse.contract.length > 10 ? "all" : "some"} checks passed`);

  const sandbox = makeTenant({ users: 20, sessionsPerUser: 50 });
  const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
    Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
  );
  const target = make({ path: join(folder, "sessions.sqlite") });
  const users = Warehouse.allUsers();
  const syncing = Warehouse.sync({ target, users, tenant: "https://sandbox.example", prune: true });
  const sync = () => Effect.runPromise(Effect.provide(syncing, tenant));
  console.log(`${(await sync()).inserted} inserted`);
  const [userId = ""] = sandbox.userIds();
  const [ended] = sandbox.sessions(userId);
  sandbox.remove(userId, ended!.session_id);
  sandbox.add(userId);
  const { inserted, ended: gone, unchanged } = await sync();
  console.log(`${inserted} inserted, ${gone} ended, ${unchanged} unchanged`);
  await rm(folder, { recursive: true });
}
