/**
 * The table `_runs`: a row for each run, of which the last is the lease of whoever writes. Its functions are called within a
 * transaction.
 *
 * **Who may take over.** A process of which its system says that it runs no more, or whose connection the database no longer
 * has; and any that has given no sign of life for the time of its lease, by the clock of the database. Whoever takes over
 * raises the epoch of the run, so that a process that was only stopped finds its own gone, and writes nothing more.
 */
import * as Writer from "../dataset/Writer.ts";
import { type Asked, type Begun, type Counts, noCounts } from "./Checkpoint.ts";
import * as Tables from "./Tables.ts";
import { type Connection, type Parameter, type Target, TargetError } from "./Target.ts";

/** The process that works on a run. */
interface Holder {
  readonly id: string;
  readonly place: Writer.Place;
  /** {@link Connection.session} */
  readonly session?: string;
  /** {@link OpenOptions.leaseSeconds} */
  readonly lease?: number;
}

export interface RunsOptions {
  /** A random id of this process's work, whatever connection it has. */
  readonly id: string;
  /** Seconds without a heartbeat after which a process is taken to be dead. */
  readonly leaseSeconds: number;
}

/** The last run, as the table has it. */
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

const number = (value: unknown): number => Number(value ?? 0);
const text = (value: unknown): string | null => value === null || value === undefined ? null : String(value);

export type Runs = ReturnType<typeof make>;

export const make = (
  { dialect, name }: Target,
  connection: Connection,
  { id, leaseSeconds }: RunsOptions,
) => {
  const { table, types } = dialect;
  const refuse = (reason: TargetError["reason"], message: string) =>
    new TargetError({ reason, target: name, message });
  const time = (parameter: string) => `CAST(${parameter} AS ${types.timestamp})`;

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
  const begin = async (asked: Asked, at: string, own?: Pick<Begun, "run" | "epoch">): Promise<Begun> => {
    const holder = JSON.stringify(
      {
        id,
        place: await Writer.self(),
        ...(connection.session !== undefined && { session: connection.session }),
        lease: leaseSeconds,
      } satisfies Holder,
    );
    const options = JSON.stringify(asked.options);
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
  };

  /** Change the record of the run, if it is still this process's. Everything else in the transaction rests on that. */
  const prove = async (
    { run, epoch }: Pick<Begun, "run" | "epoch">,
    set = "",
    parameters: ReadonlyArray<Parameter> = [],
  ): Promise<void> => {
    const changed = await connection.run(
      `UPDATE ${table("_runs")} SET "beat" = "beat" + 1, "beat_at" = ${dialect.now}${set} ` +
        `WHERE "run" = $1 AND "epoch" = $2 AND "holder" IS NOT NULL`,
      [run, epoch, ...parameters],
    );
    if (changed !== 1) throw lost();
  };

  return { begin, prove };
};
