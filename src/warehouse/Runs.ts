/**
 * The table `_runs`: a row for each run, of which the last is the lease of whoever writes. Its functions are called within a
 * transaction.
 *
 * **Who may take over.** A process of which its system says that it runs no more, or whose connection the database no longer
 * has; and any that has given no sign of life for the time of its lease, by the clock of the database. Whoever takes over
 * raises the epoch of the run, so that a process that was only stopped finds its own gone, and writes nothing more.
 */
import * as Writer from "../dataset/Writer.ts";
import type { Asked, Begun } from "./Checkpoint.ts";
import * as RunRows from "./RunRows.ts";
import type * as Shards from "./Shards.ts";
import * as Tables from "./Tables.ts";
import { type Connection, type Parameter, type Target, TargetError } from "./Target.ts";

export const make = (
  { dialect, name }: Target,
  connection: Connection,
  options: RunRows.RunsOptions,
  shards: Pick<Shards.Shards, "isAnyAlive" | "removeAll">,
) => {
  const { id, leaseSeconds } = options;
  const { table, types } = dialect;
  const refuse = (reason: TargetError["reason"], message: string) =>
    new TargetError({ reason, target: name, message });

  const rows = RunRows.make(dialect, connection, Tables.runs);

  const latestRun = async (): Promise<RunRows.Row | undefined> =>
    (await rows.select(`ORDER BY r."run" DESC LIMIT 1`))[0];

  /** Tell whether the process that holds the lease is certainly gone, or has been silent for too long. */
  const isDead = async ({ holder, age }: RunRows.Row): Promise<boolean> => {
    if (holder === null) return true;
    const { place, session, id: its, lease = leaseSeconds } = JSON.parse(holder) as RunRows.Holder;
    if (its === id || age > lease) return true;
    if (await Writer.isRunning(place, await Writer.self()) === false) return true;
    return session !== undefined && await connection.isOpen?.(session) === false;
  };

  const lost = () =>
    refuse("LeaseLost", `Another run has taken over ${name}: this one has ended, and wrote nothing more`);

  /**
   * Begin a run, or go on with the last one if it was broken off and was asked for the same. Rejects as `Locked` where another
   * process works on it; given the run that this process worked on by an earlier connection, as `LeaseLost` where another has
   * taken it over.
   */
  const begin = async (asked: Asked, at: string, own?: Pick<Begun, "run" | "epoch">): Promise<Begun> => {
    const holder = await RunRows.holderOf(options, connection);
    const its = JSON.stringify(asked.options);
    if (dialect.alone !== undefined) await connection.run(dialect.alone);
    const latest = await latestRun();
    if (own !== undefined) {
      if (latest === undefined || !RunRows.isAsLeft(latest, options, own)) throw lost();
      if (latest.isEnded) return RunRows.begunOf(latest);
    }
    if (latest !== undefined && !latest.isEnded && !await isDead(latest)) {
      throw refuse(
        "Locked",
        `Another run writes to ${name} (run ${latest.run}, alive ${Math.round(latest.age)} s ago): ` +
          "wait for its end (--wait), or end it",
      );
    }
    const left = latest?.isEnded === false ? latest : undefined;
    if (left !== undefined) {
      const isSame = left.values["kind"] === asked.kind && left.values["options"] === its;
      if (!isSame && await shards.isAnyAlive(left.run)) {
        throw refuse(
          "Locked",
          `Shards of another run write to ${name} (run ${left.run}): wait for their end (--wait), or end them`,
        );
      }
      const changed = await connection.run(
        `UPDATE ${
          table("_runs")
        } SET "epoch" = "epoch" + 1, "beat" = "beat" + 1, "beat_at" = ${dialect.now}, ` +
          `"holder" = $1 ${
            isSame ? "" : `, "ended" = CAST($4 AS ${types.timestamp}), "verified" = ${dialect.false}`
          } ` +
          `WHERE "run" = $2 AND "beat" = $3`,
        [holder, left.run, left.beat, ...(isSame ? [] : [at])],
      );
      if (changed !== 1) {
        throw refuse("Locked", `Another run has just begun to write to ${name}: wait for its end (--wait)`);
      }
      if (isSame) return RunRows.begunOf({ ...left, epoch: left.epoch + 1 });
      // First, so that none of them writes what is forgotten here.
      await shards.removeAll();
    }
    // Walks that were to tell what has ended would tell it of another time.
    const isPruned = left?.values["kind"] === "prune";
    if (isPruned) await connection.run(`DELETE FROM ${table("_observed")}`);
    if (isPruned || asked.kind === "prune") {
      await connection.run(`UPDATE ${table("_cursors")} SET "state" = NULL WHERE "state" IS NOT NULL`);
    }
    const run = (latest?.run ?? 0) + 1;
    await rows.insert({ run, kind: asked.kind, options: its, began: at, holder, epoch: 1 });
    return RunRows.begunOf((await latestRun())!);
  };

  /** Change the record of the run, if it is still this process's. Everything else in the transaction rests on that. */
  const prove = async (
    own: Pick<Begun, "run" | "epoch">,
    set = "",
    parameters: ReadonlyArray<Parameter> = [],
  ): Promise<void> => {
    if (!await rows.prove(own, set, parameters)) throw lost();
  };

  return { begin, prove };
};
