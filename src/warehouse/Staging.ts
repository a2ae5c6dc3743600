/** Temporary tables, and the merge of what is in them into the tables of the schema. */
import type { Counts, Merged, StagedUser } from "./Checkpoint.ts";
import type * as Lot from "./Lot.ts";
import { make as makeStatements, type Staged, staged } from "./Statements.ts";
import * as Tables from "./Tables.ts";
import { type Connection, type Target, TargetError, type Value } from "./Target.ts";

/** What a checkpoint merges. */
export interface MergeOptions {
  readonly lot: Lot.Lot;
  readonly users: ReadonlyArray<StagedUser>;
  /** When, ISO 8601, UTC; and the run that does so. */
  readonly at: string;
  readonly run: number;
  readonly deletes: "soft" | "hard";
  readonly hasHistory: boolean;
  /** What was done with sessions, if they were added already. */
  readonly merged?: Merged | undefined;
}

export const make = ({ dialect }: Target, connection: Connection) => {
  const { table } = dialect;
  const statements = makeStatements(dialect);
  /** Temporary tables that are there, and those of them that hold rows. */
  const [made, isStaged] = [new Set<Staged>(), new Set<Staged>()];

  const runAll = async (list: ReadonlyArray<string>) => {
    for (const statement of list) await connection.run(statement);
  };

  const makeStaging = async (which: Staged) => {
    if (made.has(which)) return;
    const { name, columns } = staged[which];
    await connection.run(`DROP TABLE IF EXISTS "${name}"`);
    await connection.run(Tables.createStaging(dialect, name, columns));
    made.add(which);
  };

  /** Fill temporary tables, which are emptied after each checkpoint. */
  const stage = async (lots: Lot.Rows) => {
    for (const [which, rows] of Object.entries(lots) as Array<[Staged, Lot.Rows[Staged]]>) {
      if (rows === undefined || rows.length === 0) continue;
      await makeStaging(which);
      isStaged.add(which);
      const { name, columns } = staged[which];
      await connection.append(name, columns, {
        count: rows.length,
        at: (row, column) => rows[row]![column]!,
      });
    }
  };

  /** Forget what was staged: temporary tables that hold rows are made anew when they are needed. */
  const emptyStaging = () => {
    for (const which of isStaged) made.delete(which);
    isStaged.clear();
  };

  const timed = (statement: string, at: string, run: number) =>
    connection.run(statement, statement.includes("$1") ? [at, run] : []);

  /** Do work whose joins look each key up in the index of the large table. */
  const byKey = async <A>(work: () => Promise<A>): Promise<A> => {
    if (dialect.byKey === undefined) return work();
    await connection.run(dialect.byKey.on);
    const result = await work();
    await connection.run(dialect.byKey.off);
    return result;
  };

  /** Merge the sessions that were staged; gives how many rows each statement changed. */
  const mergeSessions = async (
    { lot: its, at, run, hasHistory }: MergeOptions,
  ): Promise<Merged> => {
    if (isStaged.has("tombstones")) await connection.run(statements.overtaken);
    if (!isStaged.has("sessions")) return { inserted: 0, updated: 0, unchanged: 0 };
    const parameters = [at, run];
    const removed = its.mayRepeat() ? await connection.run(statements.distinct) : 0;
    const rows = its.counts.sessions - removed;
    if (hasHistory) await byKey(() => connection.run(statements.history, parameters));
    const inserted = await connection.run(statements.insert, parameters);
    // What was added just now is there as it is.
    if (inserted === rows) return { inserted, updated: 0, unchanged: 0 };
    const updated = await byKey(async () =>
      await connection.run(statements.update, parameters) +
      await connection.run(statements.revive, parameters)
    );
    return { inserted, updated, unchanged: rows - inserted - updated };
  };

  /** Add sessions as they are, within a transaction. Gives undefined, and does nothing, where one of them is there. */
  const add = async (
    rows: Lot.Rows["sessions"] = [],
    at: string,
    run: number,
  ): Promise<Merged | undefined> => {
    const seconds = Date.parse(at) / 1000;
    const own: ReadonlyArray<Value> = [seconds, seconds, run, null];
    const width = Tables.sessionColumns.length;
    await connection.run("SAVEPOINT added");
    try {
      await connection.appendTo!(table(Tables.sessions.name), Tables.sessions.columns, {
        count: rows.length,
        at: (row, column) => column < width ? rows[row]![column]! : own[column - width]!,
      });
      return { inserted: rows.length, updated: 0, unchanged: 0 };
    } catch (error) {
      if (!(error instanceof TargetError) || error.reason !== "Exists") throw error;
      await connection.run("ROLLBACK TO SAVEPOINT added");
      return undefined;
    }
  };

  /** Put the sessions of a Parquet file into the temporary table, behind what the lot has. Gives how many. */
  const stageParquet = async (its: Lot.Lot, path: string): Promise<number | undefined> => {
    const { appendParquet } = connection;
    if (appendParquet === undefined) return undefined;
    await stage(its.take());
    await makeStaging("sessions");
    isStaged.add("sessions");
    const { name, columns } = staged.sessions;
    const count = await appendParquet(name, columns, path, its.size());
    if (count !== undefined) its.adopt(count);
    return count;
  };

  /** Make all temporary tables ready for the statements that name them. */
  const settle = async () => {
    for (const which of Object.keys(staged) as Array<Staged>) await makeStaging(which);
    if (dialect.analyze === undefined) return;
    for (const which of isStaged) await connection.run(dialect.analyze(`"${staged[which].name}"`));
  };

  /** Merge all that was staged, within a transaction. */
  const merge = async (options: MergeOptions): Promise<Counts> => {
    const { lot: { counts }, users, at, run, deletes } = options;
    const merged = options.merged ?? await mergeSessions(options);
    const tellsEnded = users.some(({ listed }) => listed === "whole" || listed === "gone");
    let ended = 0;
    if (tellsEnded) {
      for (const statement of statements.end(deletes)) ended += await timed(statement, at, run);
    }
    if (isStaged.has("tombstones")) {
      const [end, takeBack] = statements.bury(deletes);
      ended += await timed(end!, at, run);
      await timed(takeBack!, at, run);
    }
    if (users.length > 0) {
      await runAll(statements.observe);
      await runAll(statements.cursors);
    }
    if (isStaged.has("quarantine")) await connection.run(statements.quarantine, [at, run]);
    return {
      ...merged,
      ended_sessions: ended,
      quarantined: counts.quarantined,
      replaced_texts: counts.replaced,
    };
  };

  /** Remove all sessions, and what is known of them; within a transaction. */
  const clear = async (hasHistory: boolean) => {
    await runAll(statements.clear);
    if (hasHistory) await connection.run(statements.clearHistory);
  };

  return { stage, stageParquet, settle, add, merge, clear, empty: emptyStaging };
};
