/**
 * A table of sessions in a DuckDB file. Needs the package `@duckdb/node-api`.
 *
 * The file is open while a checkpoint is written and closed in between, so that others can read it. What waits for the
 * checkpoint lies in a database in memory.
 */
import { realpath } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { DuckDBConnection, DuckDBInstance, DuckDBType, DuckDBValue } from "@duckdb/node-api";
import type { Column, Connection, Described, DuckDbOptions, Kind, Rows, Target, Value } from "../Target.ts";
import { TargetError } from "../Target.ts";
import { literal, quoted } from "../../postgres/Quoted.ts";
import { CATALOG, dialectOf, reasonOf } from "./DuckDbDialect.ts";

export type { DuckDbOptions } from "../Target.ts";

/**
 * The files that connections of this process have open. The system's locks keep other processes out, and not this one: two
 * databases of it that write to one file would destroy it.
 */
const held: Set<string> =
  ((globalThis as Record<symbol, unknown>)[Symbol.for("monocloud-sessions/duckdb")] ??= new Set()) as Set<
    string
  >;

/** Name a file by its one true path. */
const trueName = async (path: string): Promise<string> => {
  try {
    const whole = resolve(path);
    const folder = () => realpath(dirname(whole)).then((folder) => join(folder, basename(whole)));
    return await realpath(whole).catch(folder);
  } catch {
    // There is no such folder, or no right to look.
    return path;
  }
};

/** Settings that keep memory low; a version of DuckDB that lacks one does without. */
const lean = [
  // Groups of rows that wait to be written, some 50 MB each: five of a thread, by default.
  "write_buffer_row_group_count = 1",
  // Parts that were read: none is read again.
  "enable_external_file_cache = false",
];

/** The rows that DuckDB takes at a time. */
const CHUNK = 2048;

/** Make the conversion of a value to what the column takes. */
const converters = (
  { DuckDBTimestampTZValue, listValue }: typeof import("@duckdb/node-api"),
): Readonly<Record<Kind, (value: Exclude<Value, null>) => DuckDBValue>> => {
  const same = (value: Exclude<Value, null>) => value as DuckDBValue;
  return {
    text: same,
    json: same,
    number: same,
    boolean: same,
    integer: (value) => BigInt(value as number),
    timestamp: (value) => new DuckDBTimestampTZValue(BigInt(Math.round((value as number) * 1e6))),
    text_list: (value) => listValue(value as ReadonlyArray<string>),
  };
};

const typesIn = (
  { BIGINT, BOOLEAN, DOUBLE, LIST, TIMESTAMPTZ, VARCHAR }: typeof import("@duckdb/node-api"),
): Readonly<Record<Kind, DuckDBType>> => ({
  text: VARCHAR,
  json: VARCHAR,
  number: DOUBLE,
  boolean: BOOLEAN,
  integer: BIGINT,
  timestamp: TIMESTAMPTZ,
  text_list: LIST(VARCHAR),
});

/**
 * A target in a DuckDB file.
 *
 * Memory: the rows of a checkpoint and what DuckDB needs to merge them, up to `memoryLimit`, however large the table is. What
 * is above that goes to a folder beside the file, `<file>.<id>.tmp`, for as long as the connection is open.
 */
export const make = (
  { path, schema = "monocloud", memoryLimit = "384MB", threads = 2, patience = 30_000 }: DuckDbOptions,
): Target => {
  const name = `${path}, schema ${schema}`;
  const failure = (error: unknown, doing: string): TargetError => {
    if (error instanceof TargetError) return error;
    const { message } = error as Error;
    const reason = reasonOf(message);
    const first = message.split("\n")[0]!;
    return new TargetError({
      reason,
      target: name,
      message: reason === "Busy"
        ? `Cannot ${doing} ${path} as another program has it open: ${first}`
        : `Cannot ${doing} ${path}: ${first}`,
      cause: error,
    });
  };

  return {
    name,
    dialect: dialectOf(schema),
    connect: async (): Promise<Connection> => {
      let api: typeof import("@duckdb/node-api");
      try {
        api = await import("@duckdb/node-api");
      } catch (cause) {
        throw new TargetError({
          reason: "Missing",
          target: name,
          message: `Cannot open ${path} as the package @duckdb/node-api can't be loaded ` +
            `(${
              String((cause as Error).message).split("\n")[0]
            }): npm install @duckdb/node-api, and under Deno --allow-ffi`,
          cause,
        });
      }
      let instance: DuckDBInstance;
      let connection: DuckDBConnection;
      try {
        instance = await api.DuckDBInstance.create(":memory:", {
          memory_limit: memoryLimit,
          // One of its own, as two processes that share one destroy what the other has there. Made if it is needed.
          temp_directory: `${path}.${crypto.randomUUID()}.tmp`,
          threads: String(threads),
        });
        connection = await instance.connect();
        for (const setting of lean) await connection.run(`SET ${setting}`).catch(() => undefined);
      } catch (error) {
        throw failure(error, "open");
      }
      const [nativeTypes, convertTo] = [typesIn(api), converters(api)];
      const attempt = async <A>(doing: string, work: () => Promise<A>): Promise<A> => {
        try {
          return await work();
        } catch (error) {
          throw failure(error, doing);
        }
      };

      let isClosed = false;
      let running: Promise<unknown> = Promise.resolve();
      /** Call DuckDB, unless it is closed: what it does is done in a thread, which must not outlive it. */
      const native = async <A>(work: () => Promise<A>): Promise<A> => {
        if (isClosed) throw new Error("the connection was closed");
        const result = work();
        running = result.catch(() => undefined);
        return await result;
      };
      const execute = (statement: string) => native(() => connection.run(statement));

      let own: string | undefined;
      const letGo = () => {
        if (own !== undefined) held.delete(own);
        own = undefined;
      };

      /**
       * Have DuckDB give back what it freed: to set a limit does that, though it is the same. By itself it keeps more with each
       * checkpoint, several hundred MB in the end (measured).
       */
      const giveBack = () => execute(`SET memory_limit = ${literal(memoryLimit)}`).catch(() => undefined);

      const attach = async () => {
        const until = performance.now() + patience;
        const file = await trueName(path);
        while (true) {
          try {
            if (held.has(file)) throw new Error("already attached in this process");
            held.add(own = file);
            await execute(`ATTACH ${literal(path)} AS ${CATALOG}`);
            return;
          } catch (error) {
            letGo();
            const its = failure(error, "open");
            if (its.reason !== "Busy" || performance.now() > until) throw its;
            await new Promise((resolve) => setTimeout(resolve, 100));
          }
        }
      };

      const describe = async (table: string): Promise<Described | undefined> => {
        const reader = await native(() =>
          connection.runAndReadAll(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = $1 AND schema_name = $2 " +
              "AND table_name = $3 ORDER BY column_index",
            [CATALOG, schema, table],
          )
        );
        const rows = reader.getRowObjectsJS();
        return rows.length === 0
          ? undefined
          : { columns: new Map(rows.map((row) => [String(row["column_name"]), String(row["data_type"])])) };
      };

      const append = async (table: string, columns: ReadonlyArray<Column>, { count, at }: Rows) => {
        const appender = await connection.createAppender(table);
        const its = columns.map(({ kind }) => nativeTypes[kind]);
        for (let first = 0; first < count; first += CHUNK) {
          const size = Math.min(CHUNK, count - first);
          const chunk = api.DuckDBDataChunk.create(its, size);
          columns.forEach(({ kind }, column) => {
            const convert = convertTo[kind];
            const values: Array<DuckDBValue> = [];
            for (let row = first; row < first + size; row++) {
              const value = at(row, column);
              values.push(value === null ? null : convert(value));
            }
            chunk.setColumnValues(column, values);
          });
          appender.appendDataChunk(chunk);
        }
        appender.closeSync();
      };

      const appendParquet = async (
        table: string,
        columns: ReadonlyArray<Column>,
        path: string,
        first: number,
      ): Promise<number | undefined> => {
        // These would make it the pattern of several files' names.
        if (/[*?[\]{}]/.test(path)) return undefined;
        const rows = `read_parquet(${literal(path)}, file_row_number = true)`;
        const its = columns.slice(0, -1);
        const isOdd = its.flatMap(({ name, kind }) => {
          if (kind === "text") return [`contains(${quoted(name)}, chr(0))`];
          if (kind === "text_list") return [`contains(array_to_string(${quoted(name)}, ''), chr(0))`];
          return kind === "json"
            ? [`contains(${quoted(name)}, '\\u')`, `contains(${quoted(name)}, chr(0))`]
            : [];
        });
        const odd = await connection.runAndReadAll(
          `SELECT 1 FROM ${rows} WHERE ${isOdd.join(" OR ")} LIMIT 1`,
        );
        if (odd.currentRowCount > 0) return undefined;
        const list = its.map(({ name }) => quoted(name)).join(", ");
        const result = await connection.run(
          `INSERT INTO ${quoted(table)} SELECT ${list}, file_row_number + CAST($1 AS BIGINT) FROM ${rows}`,
          [first],
        );
        return result.rowsChanged;
      };

      return {
        query: (statement, parameters = []) =>
          attempt(
            "read",
            async () => {
              const read = () => connection.runAndReadAll(statement, [...parameters]);
              return (await native(read)).getRowObjectsJS();
            },
          ),
        run: (statement, parameters = []) =>
          attempt(
            "write to",
            async () => (await native(() => connection.run(statement, [...parameters]))).rowsChanged,
          ),
        append: (...args) => attempt("write to", () => native(() => append(...args))),
        appendParquet: (...args) => attempt("read", () => native(() => appendParquet(...args))),
        describe: (table) => attempt("read", () => describe(table)),
        transaction: (work) =>
          attempt("write to", async () => {
            await attach();
            try {
              await execute("BEGIN TRANSACTION");
              try {
                const result = await work();
                await execute("COMMIT");
                return result;
              } catch (error) {
                await execute("ROLLBACK").catch(() => undefined);
                throw error;
              }
            } finally {
              // Closed, it is detached.
              if (!isClosed) {
                await execute(`DETACH ${CATALOG}`);
                letGo();
                await giveBack();
              }
            }
          }),
        close: async () => {
          if (isClosed) return;
          isClosed = true;
          connection.interrupt();
          await running;
          connection.closeSync();
          instance.closeSync();
          letGo();
        },
      };
    },
  };
};
