/**
 * The tables `_shards` and `_shard_users`: the users of a run, dealt to shards that processes anywhere work on. Its functions are
 * called within a transaction.
 *
 * **Why a shard is done once.** Whoever takes a shard raises its epoch, without asking who had it: a queue has decided that. Each
 * checkpoint of a shard changes the row of the shard, where the epoch is still the same, in the transaction that holds its rows.
 * So a process that is late, was stopped, or works on a shard that another one works on as well can write to its own temporary
 * tables, and nothing else. A run that ends, or that another takes the place of, removes the rows of its shards first.
 */
import type { Asked, Begun } from "./Checkpoint.ts";
import * as RunRows from "./RunRows.ts";
import * as Tables from "./Tables.ts";
import { type Connection, type Parameter, type Target, TargetError } from "./Target.ts";

/** A shard of a run, by numbers. */
export interface ShardKey {
  readonly run: number;
  readonly shard: number;
  /** Tells by the time when a run began whether it is the one: numbers come again in a schema that is made anew or restored. */
  readonly isIts?: ((began: string) => boolean) | undefined;
}

/** A shard as its row has it. */
export interface ShardRow extends Begun {
  readonly shard: number;
  readonly usersTotal: number;
}

export const OVER = "The run of this shard is over, or of another database";

const STAGED = "monocloud_staged_shard_users";

export type Shards = ReturnType<typeof make>;

/** Give what a coordinator does with the shards of its run. */
export const make = ({ dialect }: Target, connection: Connection) => {
  const { table } = dialect;
  const [shards, users] = [table(Tables.shards.name), table(Tables.shardUsers.name)];
  const rows = RunRows.make(dialect, connection, Tables.shards);

  /** Tell whether there are shards: others may have made their tables since this process began. */
  const areThere = async (): Promise<boolean> => await connection.describe(Tables.shards.name) !== undefined;

  /** Tell whether a process that works on a shard has given a sign of life within the time of its lease. */
  const isAnyAlive = async (run: number): Promise<boolean> => {
    if (!await areThere()) return false;
    const held = await rows.select(
      `WHERE r."run" = $1 AND r."ended" IS NULL AND r."holder" IS NOT NULL`,
      [run],
    );
    return held.some(({ holder, age }) => age <= ((JSON.parse(holder!) as RunRows.Holder).lease ?? 0));
  };

  const removeAll = async (): Promise<void> => {
    if (!await areThere()) return;
    await connection.run(`DELETE FROM ${shards}`);
    await connection.run(`DELETE FROM ${users}`);
  };

  const list = async (run: number): Promise<ReadonlyArray<ShardRow>> => {
    const found = await rows.select(`WHERE r."run" = $1 ORDER BY r."shard"`, [run]);
    return found.map((row) => ({
      ...RunRows.begunOf(row),
      shard: RunRows.number(row.values["shard"]),
      usersTotal: RunRows.number(row.values["users_total"]),
    }));
  };

  /** Deal users to the shards of a run that has none yet. */
  const plan = async (
    run: number,
    at: string,
    planned: ReadonlyArray<ReadonlyArray<string>>,
  ): Promise<void> => {
    await removeAll();
    for (const [shard, { length }] of planned.entries()) {
      await rows.insert({ run, shard, users_total: length, began: at });
    }
    const dealt = planned.flatMap((users, shard) => users.map((userId) => [userId, shard] as const));
    const { columns } = Tables.shardUsers;
    await connection.run(`DROP TABLE IF EXISTS "${STAGED}"`);
    await connection.run(Tables.createStaging(dialect, STAGED, columns));
    await connection.append(STAGED, columns, {
      count: dealt.length,
      at: (row, column) => dealt[row]![column]!,
    });
    await connection.run(
      `INSERT INTO ${users} ("user_id", "shard") SELECT "user_id", "shard" FROM "${STAGED}"`,
    );
  };

  return { isAnyAlive, removeAll, list, plan };
};

/** Give the lease of one shard, as `Runs.make` gives that of a run. */
export const lease = (
  { dialect, name }: Target,
  connection: Connection,
  options: RunRows.RunsOptions,
  { run, shard, isIts = () => true }: ShardKey,
) => {
  const its = dialect.table(Tables.shards.name);
  const rows = RunRows.make(dialect, connection, Tables.shards);
  const lost = (why: string) =>
    new TargetError({
      reason: "LeaseLost",
      target: name,
      message: `${why} (shard ${shard} of run ${run} in ${name}): this process wrote nothing more`,
    });
  const taken = () => lost("Another process has taken this shard over");

  const rowThere = async (): Promise<RunRows.Row> => {
    const isThere = await connection.describe(Tables.shards.name) !== undefined;
    const [row] = isThere ? await rows.select(`WHERE r."run" = $1 AND r."shard" = $2`, [run, shard]) : [];
    if (row === undefined || !isIts(RunRows.begunOf(row).began)) throw lost(OVER);
    return row;
  };

  /** Take the shard, whoever had it. Rejects where this process had it, and another has taken it since. */
  const begin = async (_: Asked, __: string, own?: Pick<Begun, "run" | "epoch">): Promise<Begun> => {
    const row = await rowThere();
    if (own !== undefined && !RunRows.isAsLeft(row, options, own)) throw taken();
    if (row.isEnded) return RunRows.begunOf(row);
    const changed = await connection.run(
      `UPDATE ${its} SET "epoch" = "epoch" + 1, "beat" = "beat" + 1, "beat_at" = ${dialect.now}, "holder" = $1 ` +
        `WHERE "run" = $2 AND "shard" = $3 AND "epoch" = $4 AND "ended" IS NULL`,
      [await RunRows.holderOf(options, connection), run, shard, row.epoch],
    );
    if (changed !== 1) throw taken();
    return RunRows.begunOf({ ...row, epoch: row.epoch + 1 });
  };

  /** Change the record of the shard, if it is still this process's. */
  const prove = async (
    { epoch }: Pick<Begun, "run" | "epoch">,
    set = "",
    parameters: ReadonlyArray<Parameter> = [],
  ): Promise<void> => {
    if (!await rows.prove({ run, epoch }, set, parameters, ` AND "shard" = ${shard}`)) throw taken();
  };

  return { begin, prove };
};
