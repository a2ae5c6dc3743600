/** Rows of `_runs` and `_shards`, which have the same columns, as values. */
import * as Writer from "../dataset/Writer.ts";
import { type Begun, type Counts, noCounts } from "./Checkpoint.ts";
import type { Table } from "./Tables.ts";
import type { Connection, Dialect, Found, Parameter } from "./Target.ts";

/** The process that works on a run or a shard. */
export interface Holder {
  readonly id: string;
  readonly place: Writer.Place;
  /** {@link Connection.session} */
  readonly session?: string;
  /** {@link RunsOptions.leaseSeconds} */
  readonly lease?: number;
}

export interface RunsOptions {
  /** A random id of this process's work, whatever connection it has. */
  readonly id: string;
  /** Seconds without a heartbeat after which a process is taken to be dead. */
  readonly leaseSeconds: number;
}

/** A row, and what is told of it by the clock of the target. */
export interface Row {
  readonly run: number;
  readonly epoch: number;
  readonly beat: number;
  readonly isEnded: boolean;
  readonly holder: string | null;
  /** Seconds since the last heartbeat. */
  readonly age: number;
  readonly values: Found;
}

export const number = (value: unknown): number => Number(value ?? 0);

export const text = (value: unknown): string | null =>
  value === null || value === undefined ? null : String(value);

const rowOf = (values: Found): Row => ({
  run: number(values["run"]),
  epoch: number(values["epoch"]),
  beat: number(values["beat"]),
  isEnded: number(values["is_ended"]) === 1,
  holder: text(values["holder"]),
  age: number(values["age"]),
  values,
});

/** Give what is done with the rows of a table, within a transaction. */
export const make = ({ table, types, now, epoch }: Dialect, connection: Connection, its: Table) => {
  const name = table(its.name);
  return {
    /** Reads those rows `r` that the rest of a statement tells of. */
    select: async (
      rest: string,
      parameters: ReadonlyArray<Parameter> = [],
    ): Promise<ReadonlyArray<Row>> => {
      const rows = await connection.query(
        `SELECT r.*, ${
          epoch(`r."began"`)
        } AS began_at, CASE WHEN r."ended" IS NULL THEN 0 ELSE 1 END AS is_ended, ` +
          `${epoch(now)} - ${epoch(`r."beat_at"`)} AS age FROM ${name} r ${rest}`,
        parameters,
      );
      return rows.map(rowOf);
    },
    /** Adds a row of these values: all other counts are 0. */
    insert: async (given: Readonly<Record<string, Parameter>>): Promise<void> => {
      const zeros = its.columns.filter(({ name, nullable }) =>
        !nullable && name !== "beat_at" && !(name in given)
      );
      const names = [...Object.keys(given), "beat_at", ...zeros.map(({ name }) => name)];
      const values = Object.keys(given).map((name, i) =>
        name === "began" ? `CAST($${i + 1} AS ${types.timestamp})` : `$${i + 1}`
      );
      await connection.run(
        `INSERT INTO ${name} (${names.map((name) => `"${name}"`).join(", ")}) ` +
          `VALUES (${[...values, now, ...zeros.map(() => "0")].join(", ")})`,
        Object.values(given),
      );
    },
    /** Changes a row that a process holds, of this run and epoch, and says that it lives. Tells whether there is one. */
    prove: async (
      { run, epoch }: Pick<Begun, "run" | "epoch">,
      set: string,
      parameters: ReadonlyArray<Parameter>,
      condition = "",
    ): Promise<boolean> => {
      const changed = await connection.run(
        `UPDATE ${name} SET "beat" = "beat" + 1, "beat_at" = ${now}${set} ` +
          `WHERE "run" = $1 AND "epoch" = $2 AND "holder" IS NOT NULL${condition}`,
        [run, epoch, ...parameters],
      );
      return changed === 1;
    },
  };
};

/** Give the text that says who holds a row now. */
export const holderOf = async ({ id, leaseSeconds }: RunsOptions, { session }: Connection): Promise<string> =>
  JSON.stringify(
    {
      id,
      place: await Writer.self(),
      ...(session !== undefined && { session }),
      lease: leaseSeconds,
    } satisfies Holder,
  );

/** Tell whether a row is as this process left it, whatever became of its last commit. */
export const isAsLeft = (row: Row, { id }: RunsOptions, own: Pick<Begun, "run" | "epoch">): boolean =>
  row.run === own.run &&
  (row.holder === null ? row.epoch === own.epoch : (JSON.parse(row.holder) as Holder).id === id);

export const countsOf = (row: Found): Counts =>
  Object.fromEntries(Object.keys(noCounts).map((key) => [key, number(row[key])])) as unknown as Counts;

export const begunOf = ({ run, epoch, isEnded, values }: Row): Begun => ({
  run,
  epoch,
  isEnded,
  began: new Date(Math.round(number(values["began_at"]) * 1000)).toISOString(),
  counts: countsOf(values),
  standing: {
    users: number(values["users"]),
    sessions: number(values["sessions"]),
    requests: number(values["requests"]),
    retries: number(values["retries"]),
    seconds: number(values["seconds"]),
    progress: values["progress"] === null ? undefined : JSON.parse(String(values["progress"])),
  },
});
