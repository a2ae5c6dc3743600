/**
 * What a run reads and writes in a target: the schema, the lease, cursors, and checkpoints. A checkpoint is one transaction, so
 * that rows, cursors and the record of the run are there together or not at all.
 */
import * as Writer from "../dataset/Writer.ts";
import { make as makeStatements, type Staged, staged } from "./Statements.ts";
import * as Lot from "./Lot.ts";
import * as Meta from "./Meta.ts";
import * as Preparation from "./Preparation.ts";
import * as Tables from "./Tables.ts";
import type * as TableRows from "./TableRows.ts";
import { type Connection, type Parameter, type Target, TargetError, type Value } from "./Target.ts";

export type { Identity, PrepareOptions } from "./Preparation.ts";

/** Counts of a run, by their columns. */
export interface Counts {
  readonly inserted: number;
  readonly updated: number;
  readonly unchanged: number;
  readonly ended_sessions: number;
  readonly quarantined: number;
  readonly replaced_texts: number;
}

type Merged = Pick<Counts, "inserted" | "updated" | "unchanged">;

export const noCounts: Counts = {
  inserted: 0,
  updated: 0,
  unchanged: 0,
  ended_sessions: 0,
  quarantined: 0,
  replaced_texts: 0,
};

/** What a process says of a run: counts are of the whole run. */
export interface Standing {
  readonly users: number;
  readonly sessions: number;
  readonly requests: number;
  readonly retries: number;
  readonly seconds: number;
  /** What the next process needs. */
  readonly progress: unknown;
}

export type RunKind = "sync" | "prune" | "load";

export interface Asked {
  readonly kind: RunKind;
  /** What the run was asked for: one that was broken off is gone on with by one that asks for the same. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** A run that this process works on. */
export interface Begun {
  readonly run: number;
  readonly epoch: number;
  /** When it began, ISO 8601, UTC. */
  readonly began: string;
  readonly counts: Counts;
  /** What an earlier process of it said. */
  readonly standing: Standing;
  /** True if it ended by a commit of this process whose answer was lost: there is nothing left to do. */
  readonly isEnded: boolean;
}

export interface StoredCursor {
  readonly userId: string;
  readonly cursor: string | null;
  /** State of a walk that has not ended. */
  readonly state: string | null;
  /** The last run that is done with the user; 0 if none is. */
  readonly run: number;
}

/** What is known of a user's list after a walk that reads it whole. */
export type Listed = "open" | "whole" | "gone" | "";

export interface StagedUser extends StoredCursor {
  readonly listed: Listed;
}

export interface Checkpoint {
  readonly at: string;
  readonly users: ReadonlyArray<StagedUser>;
  readonly deletes: "soft" | "hard";
  readonly standing: Standing;
  /** Done in the same transaction, before rows are merged. */
  readonly also?: (() => Promise<void>) | undefined;
  /** Set with the last one. */
  readonly end?: {
    readonly verified: boolean;
    readonly unverifiedReasons: ReadonlyArray<string>;
  } | undefined;
}

const number = (value: unknown): number => Number(value ?? 0);
const text = (value: unknown): string | null => value === null || value === undefined ? null : String(value);

/** The process that works on a run. */
interface Holder {
  readonly id: string;
  readonly place: Writer.Place;
  /** {@link Connection.session} */
  readonly session?: string;
  /** {@link OpenOptions.leaseSeconds} */
  readonly lease?: number;
}

export type Store = Awaited<ReturnType<typeof open>>;

export interface OpenOptions {
  /** A random id of this process's work, whatever connection it has. */
  readonly id: string;
  /** Seconds without a heartbeat after which a process is taken to be dead. */
  readonly leaseSeconds: number;
}

/** How long the database may be silent once it is to be quick, in milliseconds. */
const SILENCE = 2000;

/** Connect to a target. The functions of a store take turns, so that they may be called at once. */
export const open = async (target: Target, { id, leaseSeconds }: OpenOptions) => {
  const { dialect, name } = target;
  const opened = await target.connect({ leaseSeconds });
  const statements = makeStatements(dialect);
  const { table, types } = dialect;
  const refuse = (reason: TargetError["reason"], message: string) =>
    new TargetError({ reason, target: name, message });
  const time = (parameter: string) => `CAST(${parameter} AS ${types.timestamp})`;

  /** When the database last gave an answer, or had nothing to answer. */
  let heardAt = performance.now();
  const hearing = <Args extends ReadonlyArray<unknown>, A>(call: (...args: Args) => Promise<A>) =>
  async (
    ...args: Args
  ) => {
    try {
      return await call(...args);
    } finally {
      heardAt = performance.now();
    }
  };
  const connection: Connection = {
    ...opened,
    query: hearing(opened.query),
    run: hearing(opened.run),
    append: hearing(opened.append),
    appendParquet: opened.appendParquet && hearing(opened.appendParquet),
    appendTo: opened.appendTo && hearing(opened.appendTo),
    describe: hearing(opened.describe),
  };

  /** Ends the wait for a call that is not answered. */
  let dropped: TargetError | undefined;
  let drop: (error: TargetError) => void = () => {};
  const onDrop = new Promise<never>((_, reject) => {
    drop = (error) => reject(dropped = error);
  });
  onDrop.catch(() => undefined);

  let last: Promise<unknown> = Promise.resolve();
  let isWaiting = false;
  const inTurn = <A>(work: () => Promise<A>): Promise<A> => {
    const result = last.then(async () => {
      if (dropped !== undefined) throw dropped;
      [heardAt, isWaiting] = [performance.now(), true];
      try {
        return await Promise.race([work(), onDrop]);
      } finally {
        isWaiting = false;
      }
    });
    last = result.catch(() => undefined);
    return result;
  };

  let watch: ReturnType<typeof setInterval> | undefined;
  /** Give up the connection, from now on, once it is silent for so long: whoever asks for this has no time to wait. */
  const hurry = (silence: number = SILENCE): void => {
    watch ??= setInterval(() => {
      if (!isWaiting || performance.now() - heardAt < silence) return;
      clearInterval(watch);
      drop(refuse("Unreachable", `Cannot reach ${name}: no answer within ${silence / 1000} s`));
      void opened.close();
    }, 50);
  };

  /** Temporary tables that are there, and those of them that hold rows. */
  const [made, isStaged] = [new Set<Staged>(), new Set<Staged>()];
  let lot = Lot.make();
  /** True while rows are added to the table as they are: it was empty, and none has come twice. */
  let isDirect = false;
  let begun: Begun | undefined;
  let hasHistory = false;

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

  const prepare = (options: Preparation.PrepareOptions): Promise<void> =>
    inTurn(() =>
      connection.transaction(async () => {
        ({ hasHistory } = await Preparation.prepare(target, connection, options));
      })
    );

  interface Latest {
    readonly run: number;
    readonly epoch: number;
    readonly beat: number;
    readonly isEnded: boolean;
    readonly holder: string | null;
    /** Seconds since the last heartbeat, by the clock of the target. */
    readonly age: number;
    readonly row: Readonly<Record<string, unknown>>;
  }

  const latestRun = async (): Promise<Latest | undefined> => {
    const [row] = await connection.query(
      `SELECT r.*, ${dialect.epoch(`r."began"`)} AS began_at, ` +
        `CASE WHEN r."ended" IS NULL THEN 0 ELSE 1 END AS is_ended, ` +
        `${dialect.epoch(dialect.now)} - ${dialect.epoch(`r."beat_at"`)} AS age ` +
        `FROM ${table("_runs")} r ORDER BY r."run" DESC LIMIT 1`,
    );
    return row && {
      run: number(row["run"]),
      epoch: number(row["epoch"]),
      beat: number(row["beat"]),
      isEnded: number(row["is_ended"]) === 1,
      holder: text(row["holder"]),
      age: number(row["age"]),
      row,
    };
  };

  /** Tell whether the process that holds the lease is certainly gone, or has been silent for too long. */
  const isDead = async ({ holder, age }: Latest): Promise<boolean> => {
    if (holder === null) return true;
    const { place, session, id: its, lease = leaseSeconds } = JSON.parse(holder) as Holder;
    if (its === id || age > lease) return true;
    if (await Writer.isRunning(place, await Writer.self()) === false) return true;
    return session !== undefined && await connection.isOpen?.(session) === false;
  };

  const countsOf = (row: Readonly<Record<string, unknown>>): Counts =>
    Object.fromEntries(Object.keys(noCounts).map((key) => [key, number(row[key])])) as unknown as Counts;

  const lost = () =>
    refuse("LeaseLost", `Another run has taken over ${name}: this one has ended, and wrote nothing more`);

  const begunOf = (
    { run, epoch, row }: Latest,
    isEnded: boolean,
  ): Begun => ({
    run,
    epoch,
    isEnded,
    began: new Date(Math.round(number(row["began_at"]) * 1000)).toISOString(),
    counts: countsOf(row),
    standing: {
      users: number(row["users"]),
      sessions: number(row["sessions"]),
      requests: number(row["requests"]),
      retries: number(row["retries"]),
      seconds: number(row["seconds"]),
      progress: row["progress"] === null ? undefined : JSON.parse(String(row["progress"])),
    },
  });

  /** Tell whether a run is as this process left it, whatever became of its last commit. */
  const isAsLeft = (latest: Latest | undefined, own: Pick<Begun, "run" | "epoch">): latest is Latest =>
    latest?.run === own.run &&
    (latest.holder === null ? latest.epoch === own.epoch : (JSON.parse(latest.holder) as Holder).id === id);

  /**
   * Begin a run, or go on with the last one if it was broken off and was asked for the same. Rejects as `Locked` where another
   * process works on it; given the run that this process worked on by an earlier connection, as `LeaseLost` where another has
   * taken it over.
   */
  const begin = (asked: Asked, at: string, own?: Pick<Begun, "run" | "epoch">): Promise<Begun> =>
    inTurn(async () => {
      const holder = JSON.stringify(
        {
          id,
          place: await Writer.self(),
          ...(connection.session !== undefined && { session: connection.session }),
          lease: leaseSeconds,
        } satisfies Holder,
      );
      const options = JSON.stringify(asked.options);
      emptyStaging();
      lot = Lot.make();
      const its = await connection.transaction(async (): Promise<Begun> => {
        if (dialect.alone !== undefined) await connection.run(dialect.alone);
        const latest = await latestRun();
        if (own !== undefined) {
          if (!isAsLeft(latest, own)) throw lost();
          if (latest.isEnded) return begunOf(latest, true);
        }
        if (latest !== undefined && !latest.isEnded && !await isDead(latest)) {
          throw refuse(
            "Locked",
            `Another run writes to ${name} (run ${latest.run}, alive ${Math.round(latest.age)} s ago): ` +
              "wait for its end (--wait), or end it",
          );
        }
        const taken = () =>
          refuse("Locked", `Another run has just begun to write to ${name}: wait for its end (--wait)`);
        if (latest !== undefined && !latest.isEnded) {
          const { row } = latest;
          const isSame = row["kind"] === asked.kind && row["options"] === options;
          const changed = await connection.run(
            `UPDATE ${
              table("_runs")
            } SET "epoch" = "epoch" + 1, "beat" = "beat" + 1, "beat_at" = ${dialect.now}, ` +
              `"holder" = $1 ${isSame ? "" : `, "ended" = ${time("$4")}, "verified" = ${dialect.false}`} ` +
              `WHERE "run" = $2 AND "beat" = $3`,
            [holder, latest.run, latest.beat, ...(isSame ? [] : [at])],
          );
          if (changed !== 1) throw taken();
          if (isSame) {
            return begunOf({ ...latest, epoch: latest.epoch + 1 }, false);
          }
          // Walks that were to tell what has ended would tell it of another time.
          if (row["kind"] === "prune") {
            await connection.run(`UPDATE ${table("_cursors")} SET "state" = NULL WHERE "state" IS NOT NULL`);
            await connection.run(`DELETE FROM ${table("_observed")}`);
          }
        }
        if (asked.kind === "prune") {
          await connection.run(`UPDATE ${table("_cursors")} SET "state" = NULL WHERE "state" IS NOT NULL`);
        }
        const run = (latest?.run ?? 0) + 1;
        const zeros = Tables.runs.columns
          .filter(({ kind, nullable }) => (kind === "integer" || kind === "number") && !nullable)
          .map(({ name }) => name).filter((name) => !["run", "epoch"].includes(name));
        await connection.run(
          `INSERT INTO ${table("_runs")} ("run", "kind", "options", "began", "holder", "epoch", "beat_at", ` +
            `${zeros.map((name) => `"${name}"`).join(", ")}) VALUES ($1, $2, $3, ${time("$4")}, $5, 1, ` +
            `${dialect.now}, ${zeros.map(() => "0").join(", ")})`,
          [run, asked.kind, options, at, holder],
        );
        return {
          run,
          epoch: 1,
          began: at,
          counts: noCounts,
          standing: { users: 0, sessions: 0, requests: 0, retries: 0, seconds: 0, progress: undefined },
          isEnded: false,
        };
      });
      isDirect = connection.appendTo !== undefined && asked.kind !== "prune" && !hasHistory &&
        await isEmpty();
      begun = its.isEnded ? undefined : its;
      return its;
    });

  const isEmpty = () =>
    connection.transaction(async () =>
      (await connection.query(`SELECT 1 FROM ${table(Tables.sessions.name)} LIMIT 1`)).length === 0
    );

  /** Change the record of the run, if it is still this process's. Everything else in the transaction rests on that. */
  const prove = async (set: string, parameters: ReadonlyArray<Parameter> = []) => {
    const { run, epoch } = begun!;
    const changed = await connection.run(
      `UPDATE ${table("_runs")} SET "beat" = "beat" + 1, "beat_at" = ${dialect.now}${set} ` +
        `WHERE "run" = $1 AND "epoch" = $2 AND "holder" IS NOT NULL`,
      [run, epoch, ...parameters],
    );
    if (changed !== 1) throw lost();
  };

  /** Show that this process lives. */
  const beat = (): Promise<void> => inTurn(() => connection.transaction(() => prove("")));

  const cursors = (): Promise<Map<string, StoredCursor>> =>
    inTurn(() =>
      connection.transaction(async () => {
        const rows = await connection.query(
          `SELECT "user_id", "cursor", "state", "run" FROM ${table("_cursors")}`,
        );
        return new Map(rows.map((row) => {
          const userId = String(row["user_id"]);
          const { cursor, state, run } = row;
          return [userId, { userId, cursor: text(cursor), state: text(state), run: number(run) }];
        }));
      })
    );

  let sent: Promise<void> = Promise.resolve();

  /** Send on what is held, where it is enough. Resolves once what was sent before is there. */
  const sendOn = async (): Promise<void> => {
    const its = lot;
    if (!its.isFull(isDirect)) return;
    const before = sent;
    sent = inTurn(() => stage(its.take()));
    sent.catch(() => undefined);
    await before;
  };

  /** Put rows where the next checkpoint takes them from. */
  const write = (taken: TableRows.Taken): Promise<void> => {
    lot.write(taken);
    return sendOn();
  };

  /** Note ids that were met besides those of rows. */
  const observe = (userId: string, ids: ReadonlyArray<string>): Promise<void> => {
    lot.observe(userId, ids);
    return sendOn();
  };

  /** End sessions, or take that back; in the order of rows that are written before and after. */
  const bury = (tombstones: ReadonlyArray<Lot.Tombstone>): Promise<void> => {
    lot.bury(tombstones);
    return sendOn();
  };

  /**
   * Put the sessions of a Parquet file where the next checkpoint takes them from. Gives how many; undefined, and nothing is done,
   * where the target has no way to, or a text in it is none that a table holds.
   */
  const writeParquet = (path: string): Promise<number | undefined> =>
    inTurn(async () => {
      const { appendParquet } = connection;
      if (appendParquet === undefined) return undefined;
      const its = lot;
      await stage(its.take());
      await makeStaging("sessions");
      isStaged.add("sessions");
      const { name, columns } = staged.sessions;
      const count = await appendParquet(name, columns, path, its.size());
      if (count !== undefined) its.adopt(count);
      return count;
    });

  const timed = (statement: string, at: string, run: number) =>
    connection.run(statement, statement.includes("$1") ? [at, run] : []);

  /** Merge the sessions that were staged; gives how many rows each statement changed. */
  const merge = async (its: Lot.Lot, at: string, run: number): Promise<Merged> => {
    if (isStaged.has("tombstones")) await connection.run(statements.overtaken);
    if (!isStaged.has("sessions")) return { inserted: 0, updated: 0, unchanged: 0 };
    const parameters = [at, run];
    const removed = its.mayRepeat() ? await connection.run(statements.distinct) : 0;
    const rows = its.counts.sessions - removed;
    if (hasHistory) await connection.run(statements.history, parameters);
    const inserted = await connection.run(statements.insert, parameters);
    // What was added just now is there as it is.
    if (inserted === rows) return { inserted, updated: 0, unchanged: 0 };
    if (dialect.byKey !== undefined) await connection.run(dialect.byKey.on);
    const updated = await connection.run(statements.update, parameters) +
      await connection.run(statements.revive, parameters);
    if (dialect.byKey !== undefined) await connection.run(dialect.byKey.off);
    return { inserted, updated, unchanged: rows - inserted - updated };
  };

  /** Add sessions as they are. Gives undefined, and does nothing, where one of them is there. */
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

  const sum = (one: Counts, other: Counts): Counts =>
    Object.fromEntries(
      Object.keys(noCounts).map((key) => [key, one[key as keyof Counts] + other[key as keyof Counts]]),
    ) as unknown as Counts;

  /**
   * Make everything written so far part of the tables, in one transaction. Gives the counts of the run. What is written while
   * it is under way belongs to the next one.
   */
  const commit = ({ at, users, deletes, standing, end, also }: Checkpoint): Promise<Counts> => {
    const its = lot;
    lot = Lot.make();
    return inTurn(async () => {
      const { run, counts: before } = begun!;
      const isAdded = isDirect && !its.needsMerge();
      const rows = its.take();
      await stage({
        ...rows,
        ...(isAdded && { sessions: [] }),
        users: users.map(({ userId, cursor, state, run, listed }) => [userId, cursor, state, run, listed]),
      });
      for (const which of Object.keys(staged) as Array<Staged>) await makeStaging(which);
      if (dialect.analyze !== undefined) {
        for (const which of isStaged) await connection.run(dialect.analyze(`"${staged[which].name}"`));
      }
      const counts = await connection.transaction(async () => {
        await prove("");
        await also?.();
        let merged = isAdded ? await add(rows.sessions, at, run) : undefined;
        if (merged === undefined) {
          isDirect = false;
          if (isAdded) await stage({ sessions: rows.sessions });
          merged = await merge(its, at, run);
        }
        const tellsEnded = users.some(({ listed }) => listed === "whole" || listed === "gone");
        let ended = tellsEnded ? await timed(statements.end(deletes), at, run) : 0;
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
        const counts = sum(before, {
          ...merged,
          ended_sessions: ended,
          quarantined: its.counts.quarantined,
          replaced_texts: its.counts.replaced,
        });
        const values: Readonly<Record<string, Parameter>> = {
          ...counts,
          users: standing.users,
          sessions: standing.sessions,
          requests: standing.requests,
          retries: standing.retries,
          seconds: standing.seconds,
          progress: end === undefined ? JSON.stringify(standing.progress) : null,
        };
        const set = Object.keys(values).map((name, i) => `, "${name}" = $${i + 3}`);
        const parameters = Object.values(values);
        if (end !== undefined) {
          parameters.push(at, JSON.stringify(end.unverifiedReasons));
          set.push(
            `, "ended" = ${time(`$${parameters.length + 1}`)}`,
            `, "unverified_reasons" = $${parameters.length + 2}`,
            `, "verified" = ${end.verified ? dialect.true : dialect.false}, "holder" = NULL`,
          );
        }
        await prove(set.join(""), parameters);
        return counts;
      });
      begun = end === undefined ? { ...begun!, counts } : undefined;
      emptyStaging();
      return counts;
    });
  };

  /**
   * Leave an unfinished run to whoever goes on with it, and close the connection. What is under way goes on for as long as the
   * database answers.
   */
  const close = async (): Promise<void> => {
    hurry();
    await inTurn(async () => {
      if (begun !== undefined) await connection.transaction(() => prove(`, "holder" = NULL`));
    }).catch(() => undefined);
    clearInterval(watch);
    await opened.close();
  };

  /** Remove all sessions, and what is known of them; within a transaction. */
  const clear = async () => {
    await runAll(statements.clear);
    if (hasHistory) await connection.run(statements.clearHistory);
  };

  /** List the users of whom the table has sessions that have not ended. */
  const liveUsers = (): Promise<ReadonlyArray<string>> =>
    inTurn(() =>
      connection.transaction(async () => {
        const rows = await connection.query(
          `SELECT DISTINCT "user_id" FROM ${table(Tables.sessions.name)} WHERE "_ended_at" IS NULL`,
        );
        return rows.map((row) => String(row["user_id"]));
      })
    );

  /** Tell whether a run of another kind has written since that one. */
  const hasOtherRuns = (since: number): Promise<boolean> =>
    inTurn(() =>
      connection.transaction(async () => {
        const rows = await connection.query(
          `SELECT 1 FROM ${table("_runs")} WHERE "kind" <> 'load' AND "run" > $1 LIMIT 1`,
          [since],
        );
        return rows.length > 0;
      })
    );

  return {
    prepare,
    begin,
    beat,
    cursors,
    write,
    observe,
    bury,
    /** Tells whether a checkpoint is due, which is to have so many rows at the most or little more. */
    isDue: (rows: number): boolean => lot.size() >= rows || (isDirect && lot.isHeavy()),
    writeParquet,
    commit,
    hasOtherRuns,
    liveUsers,
    meta: () => inTurn(() => connection.transaction(() => Meta.read(dialect, connection))),
    /** For {@link Checkpoint.also}. */
    setMeta: (key: string, value: string) => Meta.set(dialect, connection, key, value),
    clear,
    hurry,
    close,
  };
};
