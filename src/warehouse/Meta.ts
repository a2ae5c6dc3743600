/** The table `_meta`: values by name. Its functions are called within a transaction. */
import * as Tables from "./Tables.ts";
import type { Connection, Dialect } from "./Target.ts";

/** Names of what runs leave to later ones: the size of pages, and what runs by activity go by. */
export const keys = { pageSize: "page_size", activity: "activity" } as const;

export const read = async (
  { table }: Dialect,
  connection: Connection,
): Promise<ReadonlyMap<string, string>> => {
  const rows = await connection.query(`SELECT "key", "value" FROM ${table(Tables.meta.name)}`);
  return new Map(rows.map(({ key, value }) => [String(key), String(value)]));
};

export const set = async (
  { table }: Dialect,
  connection: Connection,
  key: string,
  value: string,
): Promise<void> => {
  const its = table(Tables.meta.name);
  await connection.run(`DELETE FROM ${its} WHERE "key" = $1`, [key]);
  await connection.run(`INSERT INTO ${its} ("key", "value") VALUES ($1, $2)`, [key, value]);
};
