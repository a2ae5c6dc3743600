/** Questions to the tables of a warehouse, each answered within a transaction of its own. */
import type { StoredCursor } from "./Checkpoint.ts";
import * as Meta from "./Meta.ts";
import { text } from "./RunRows.ts";
import * as Tables from "./Tables.ts";
import type { Connection, Dialect, Found, Parameter } from "./Target.ts";

export interface QuestionsOptions {
  readonly dialect: Dialect;
  readonly connection: Connection;
  /** Takes turns with other work on the connection. */
  readonly inTurn: <A>(work: () => Promise<A>) => Promise<A>;
  /** Number of the shard, where only its users are of interest. */
  readonly shard: number | undefined;
}

const countsOf = (rows: ReadonlyArray<Found>): ReadonlyMap<string, number> =>
  new Map(rows.map(({ user_id, n }) => [String(user_id), Number(n)]));

export const make = ({ dialect, connection, inTurn, shard }: QuestionsOptions) => {
  const { table, types } = dialect;
  const [sessions, shardUsers] = [table(Tables.sessions.name), table(Tables.shardUsers.name)];
  const ask = <A>(
    statement: string,
    parameters: ReadonlyArray<Parameter>,
    read: (rows: ReadonlyArray<Found>) => A,
  ): Promise<A> =>
    inTurn(() => connection.transaction(async () => read(await connection.query(statement, parameters))));

  return {
    /** Gives what is stored of each user. */
    cursors: (): Promise<Map<string, StoredCursor>> =>
      ask(
        `SELECT c."user_id", c."cursor", c."state", c."run" FROM ${table("_cursors")} c` +
          (shard === undefined
            ? ""
            : ` JOIN ${shardUsers} u ON u."user_id" = c."user_id" WHERE u."shard" = $1`),
        shard === undefined ? [] : [shard],
        (rows) =>
          new Map(rows.map((row) => {
            const userId = String(row["user_id"]);
            const { cursor, state, run } = row;
            return [userId, { userId, cursor: text(cursor), state: text(state), run: Number(run ?? 0) }];
          })),
      ),
    /** Lists the users of the shard. */
    shardUsers: (): Promise<ReadonlyArray<string>> =>
      ask(
        `SELECT "user_id" FROM ${shardUsers} WHERE "shard" = $1 ORDER BY "user_id"`,
        [shard ?? -1],
        (rows) => rows.map(({ user_id }) => String(user_id)),
      ),
    /** Counts the sessions that have not ended, of each user who has any. */
    liveCounts: (): Promise<ReadonlyMap<string, number>> =>
      ask(
        `SELECT "user_id", count(*) AS n FROM ${sessions} WHERE "_ended_at" IS NULL GROUP BY "user_id"`,
        [],
        countsOf,
      ),
    /** Counts the live sessions of each user that a run wrote and that changed up to a time, in seconds since the epoch. */
    countWritten: (run: number, upTo: number): Promise<ReadonlyMap<string, number>> =>
      ask(
        `SELECT "user_id", count(*) AS n FROM ${sessions} WHERE "_run" = $1 AND "_ended_at" IS NULL ` +
          `AND "last_updated" <= CAST($2 AS ${types.timestamp}) GROUP BY "user_id"`,
        [run, new Date(upTo * 1000).toISOString()],
        countsOf,
      ),
    /** Tells whether a run of another kind has written since that one. */
    hasOtherRuns: (since: number): Promise<boolean> =>
      ask(
        `SELECT 1 FROM ${table("_runs")} WHERE "kind" <> 'load' AND "run" > $1 LIMIT 1`,
        [since],
        (rows) => rows.length > 0,
      ),
    meta: (): Promise<ReadonlyMap<string, string>> =>
      inTurn(() => connection.transaction(() => Meta.read(dialect, connection))),
  };
};
