/** Rows of `_runs` and `_shards`, which have the same columns, as values. */
import * as Writer from "../dataset/Writer.ts";
import { type Begun, type Counts, noCounts } from "./Checkpoint.ts";
import type { Connection, Dialect, Found } from "./Target.ts";

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

const text = (value: unknown): string | null => value === null || value === undefined ? null : String(value);

/** The expressions that a query of a row `r` needs besides its columns. */
export const columns = ({ now, epoch }: Dialect): string =>
  `r.*, ${epoch(`r."began"`)} AS began_at, CASE WHEN r."ended" IS NULL THEN 0 ELSE 1 END AS is_ended, ` +
  `${epoch(now)} - ${epoch(`r."beat_at"`)} AS age`;

/** Read a row as a query of {@link columns} gives it. */
export const of = (values: Found): Row => ({
  run: number(values["run"]),
  epoch: number(values["epoch"]),
  beat: number(values["beat"]),
  isEnded: number(values["is_ended"]) === 1,
  holder: text(values["holder"]),
  age: number(values["age"]),
  values,
});

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

export const begunOf = ({ run, epoch, values }: Row, isEnded: boolean): Begun => ({
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
