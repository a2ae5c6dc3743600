/**
 * What a run reads and writes in a target: the schema, the lease, cursors, and checkpoints. A checkpoint is one transaction, so
 * that rows, cursors and the record of the run are there together or not at all.
 */
import { type Asked, type Begun, type Checkpoint, type Counts, noCounts, sumOfCounts } from "./Checkpoint.ts";
import * as Lot from "./Lot.ts";
import * as Meta from "./Meta.ts";
import * as Questions from "./Questions.ts";
import * as Preparation from "./Preparation.ts";
import type * as RunRows from "./RunRows.ts";
import * as Runs from "./Runs.ts";
import * as Shards from "./Shards.ts";
import * as Staging from "./Staging.ts";
import * as Tables from "./Tables.ts";
import type * as TableRows from "./TableRows.ts";
import type { Parameter, Target } from "./Target.ts";
import * as Turns from "./Turns.ts";

export * from "./Checkpoint.ts";
export type { Identity, PrepareOptions } from "./Preparation.ts";

export type Store = Awaited<ReturnType<typeof open>>;

export interface OpenOptions extends RunRows.RunsOptions {
  /** The shard to work on; otherwise it is a run. */
  readonly shard?: Shards.ShardKey | undefined;
}

/** Connect to a target. The functions of a store take turns, so that they may be called at once. */
export const open = async (target: Target, options: OpenOptions) => {
  const { dialect } = target;
  const { table, types } = dialect;
  const opened = await target.connect({ leaseSeconds: options.leaseSeconds });
  const { connection, inTurn, hurry, close: closeTurns } = Turns.of(target, opened);
  const shards = Shards.make(target, connection);
  const { shard } = options;
  const lease = shard === undefined
    ? Runs.make(target, connection, options, shards)
    : Shards.lease(target, connection, options, shard);
  const staging = Staging.make(target, connection);

  let lot = Lot.make();
  /** True while rows are added to the table as they are: it was empty, and none has come twice. */
  let isDirect = false;
  let begun: Begun | undefined;
  let hasHistory = false;

  const prepare = (options: Preparation.PrepareOptions): Promise<void> =>
    inTurn(() =>
      connection.transaction(async () => {
        ({ hasHistory } = await Preparation.prepare(target, connection, options));
      })
    );

  /** See {@link Runs}: begins a run, or goes on with one. */
  const begin = (asked: Asked, at: string, own?: Pick<Begun, "run" | "epoch">): Promise<Begun> =>
    inTurn(async () => {
      staging.empty();
      lot = Lot.make();
      const its = await connection.transaction(() => lease.begin(asked, at, own));
      isDirect = connection.appendTo !== undefined && asked.kind !== "prune" && !hasHistory &&
        await isEmpty();
      begun = its.isEnded ? undefined : its;
      return its;
    });

  const isEmpty = () =>
    connection.transaction(async () =>
      (await connection.query(`SELECT 1 FROM ${table(Tables.sessions.name)} LIMIT 1`)).length === 0
    );

  /** Show that this process lives. */
  const beat = (): Promise<void> => inTurn(() => connection.transaction(() => lease.prove(begun!)));

  let sent: Promise<void> = Promise.resolve();

  /** Send on what is held, where it is enough. Resolves once what was sent before is there. */
  const sendOn = async (): Promise<void> => {
    const its = lot;
    if (!its.isFull(isDirect)) return;
    const before = sent;
    sent = inTurn(() => staging.stage(its.take()));
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
    inTurn(() => staging.stageParquet(lot, path));

  /**
   * Make everything written so far part of the tables, in one transaction. Gives the counts of the run. What is written while
   * it is under way belongs to the next one.
   */
  const commit = (
    { at, users, deletes, standing, end, also, plus = noCounts }: Checkpoint,
  ): Promise<Counts> => {
    const its = lot;
    lot = Lot.make();
    return inTurn(async () => {
      const { run, counts: before } = begun!;
      const isAdded = isDirect && !its.needsMerge();
      const rows = its.take();
      await staging.stage({
        ...rows,
        ...(isAdded && { sessions: [] }),
        users: users.map(({ userId, cursor, state, run, listed }) => [userId, cursor, state, run, listed]),
      });
      await staging.settle();
      const counts = await connection.transaction(async () => {
        await lease.prove(begun!);
        await also?.();
        const merged = isAdded ? await staging.add(rows.sessions, at, run) : undefined;
        if (merged === undefined) {
          isDirect = false;
          if (isAdded) await staging.stage({ sessions: rows.sessions });
        }
        const counts = sumOfCounts(
          sumOfCounts(before, plus),
          await staging.merge({ lot: its, users, at, run, deletes, hasHistory, merged }),
        );
        const values: Readonly<Record<string, Parameter>> = {
          ...counts,
          users: standing.users,
          sessions: standing.sessions,
          requests: standing.requests,
          retries: standing.retries,
          seconds: standing.seconds,
          progress: end === undefined || shard !== undefined ? JSON.stringify(standing.progress) : null,
        };
        const set = Object.keys(values).map((name, i) => `, "${name}" = $${i + 3}`);
        const parameters = Object.values(values);
        if (end !== undefined) {
          parameters.push(at, JSON.stringify(end.unverifiedReasons));
          set.push(
            `, "ended" = CAST($${parameters.length + 1} AS ${types.timestamp})`,
            `, "unverified_reasons" = $${parameters.length + 2}`,
            `, "verified" = ${end.verified ? dialect.true : dialect.false}, "holder" = NULL`,
          );
        }
        await lease.prove(begun!, set.join(""), parameters);
        return counts;
      });
      begun = end === undefined ? { ...begun!, counts } : undefined;
      staging.empty();
      return counts;
    });
  };

  /**
   * Leave an unfinished run to whoever goes on with it, and close the connection. What is under way goes on for as long as the
   * database answers.
   */
  const close = (): Promise<void> =>
    closeTurns(async () => {
      if (begun !== undefined) await connection.transaction(() => lease.prove(begun!, `, "holder" = NULL`));
    });

  /** Deal users to the shards of the run, which has none yet. */
  const plan = (planned: ReadonlyArray<ReadonlyArray<string>>, at: string): Promise<void> =>
    inTurn(() =>
      connection.transaction(async () => {
        await lease.prove(begun!);
        await shards.plan(begun!.run, at, planned);
      })
    );

  return {
    ...Questions.make({ dialect, connection, inTurn, shard: shard?.shard }),
    prepare,
    begin,
    beat,
    write,
    observe,
    bury,
    /** Tells whether a checkpoint is due, which is to have so many rows at the most or little more. */
    isDue: (rows: number): boolean => lot.size() >= rows || (isDirect && lot.isHeavy()),
    writeParquet,
    commit,
    /** For {@link Checkpoint.also}, as is the next. */
    getMeta: async (key: string): Promise<string | undefined> =>
      (await Meta.read(dialect, connection)).get(key),
    setMeta: (key: string, value: string) => Meta.set(dialect, connection, key, value),
    plan,
    shards: () => inTurn(() => connection.transaction(() => shards.list(begun!.run))),
    /** For {@link Checkpoint.also}. */
    removeShards: () => shards.removeAll(),
    clear: () => staging.clear(hasHistory),
    hurry,
    close,
  };
};
