/**
 * Columns that a later version of this program adds to tables of an earlier one. What the earlier one wrote of them lies in
 * `_rescued_data`, as of a field it did not know: from there it moves to its column.
 */
import * as RescuedData from "../session/RescuedData.ts";
import { Session } from "../session/Session.ts";
import * as Tables from "./Tables.ts";
import type { Column, Connection, Dialect, Value } from "./Target.ts";

/** Rows that are read and written at a time. */
const ROWS = 10_000;

const STAGED = "monocloud_staged_columns";

/** Move what rescued data has of these columns, some rows at a time, in the order of the key. */
const fill = async (
  dialect: Dialect,
  connection: Connection,
  table: string,
  added: ReadonlyArray<Tables.TableColumn>,
): Promise<void> => {
  const key: ReadonlyArray<Column> = Tables.sessionColumns.filter(({ name }) =>
    Tables.sessionKey.includes(name)
  );
  const rescued = Tables.sessionColumns.find(({ name }) => name === "_rescued_data")!;
  const columns = [...key, rescued, ...added.map((column) => ({ ...column, nullable: true }))];
  const its = added.map(({ name, kind }) => ({
    name,
    kind: kind as RescuedData.NewColumn["kind"],
    isInside: !(name in Session.fields),
  }));
  const keyIs = key.map(({ name }) => `t."${name}" = s."${name}"`).join(" AND ");
  // Several versions of a session have one key in the history, and each its own rescued data.
  const isSame = `${keyIs} AND t."_rescued_data" = s."before"`;
  const before: Column = { name: "before", kind: "text", nullable: false };
  const sets = columns.slice(key.length).map(({ name }) => `"${name}" = s."${name}"`).join(", ");
  let last: ReadonlyArray<string> = ["", "", ""];
  while (true) {
    const found = await connection.query(
      `SELECT DISTINCT "user_id", "session_id", "_rescued_data" FROM ${table} WHERE "_rescued_data" IS NOT NULL ` +
        `AND ("user_id" > $1 OR ("user_id" = $1 AND ("session_id" > $2 ` +
        `OR ("session_id" = $2 AND "_rescued_data" > $3)))) ` +
        `ORDER BY "user_id", "session_id", "_rescued_data" LIMIT ${ROWS}`,
      last,
    );
    if (found.length === 0) return;
    const rows = found.flatMap((row): Array<ReadonlyArray<Value>> => {
      const [userId, sessionId, text] = [row["user_id"], row["session_id"], row["_rescued_data"]].map(
        String,
      ) as [
        string,
        string,
        string,
      ];
      last = [userId, sessionId, text];
      const { values, rest } = RescuedData.split(text, its);
      return rest === text ? [] : [[userId, sessionId, rest, ...values, text]];
    });
    if (rows.length === 0) continue;
    const all = [...columns, before];
    await connection.run(`DROP TABLE IF EXISTS "${STAGED}"`);
    await connection.run(Tables.createStaging(dialect, STAGED, all));
    await connection.append(STAGED, all, { count: rows.length, at: (row, column) => rows[row]![column]! });
    await connection.run(`UPDATE ${table} AS t SET ${sets} FROM "${STAGED}" s WHERE ${isSame}`);
  }
};

/** Add these columns to the tables of sessions, and fill them; within a transaction. */
export const add = async (
  dialect: Dialect,
  connection: Connection,
  added: ReadonlyArray<Tables.TableColumn>,
  hasHistory: boolean,
): Promise<void> => {
  await connection.run(Tables.dropView(dialect));
  const tables = hasHistory ? [Tables.sessions, Tables.history] : [Tables.sessions];
  for (const { name } of tables) {
    for (const column of added) await connection.run(Tables.addColumn(dialect, name, column));
  }
  for (const { name } of tables) await fill(dialect, connection, dialect.table(name), added);
  await connection.run(Tables.createView(dialect));
};
