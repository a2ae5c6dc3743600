/** Records that machines leave for each other at the queue's server: workers, runs, and shards that are worked on. */
import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import type { Entry, Values } from "./Values.ts";

const Count = Schema.Int.pipe(Schema.nonNegative());

/** Progress of a shard or a run, by the names of `Export.Progress`. */
const Progress = Schema.Struct({
  users: Count,
  missing: Count,
  failed: Count,
  sessions: Count,
  quarantined: Count,
  unverified: Count,
  encodedBytes: Schema.Number,
  listed: Schema.Number,
  walking: Schema.optional(Count),
  usersTotal: Schema.optional(Count),
});

const Traffic = Schema.Struct({ requests: Count, retries: Count });

/** A worker that lives. */
export const Worker = Schema.Struct({
  id: Schema.String,
  version: Schema.String,
  job_version: Count,
  host: Schema.String,
  pid: Count,
  runtime: Schema.String,
  since: Schema.String,
  tenants: Schema.Array(Schema.String),
  targets: Schema.Array(Schema.String),
  /** Shards of one tenant that it works on at once, at the most. */
  at_once: Count,
  /** Shards that it works on now. */
  shards: Schema.Array(Schema.String),
});

export type Worker = typeof Worker.Type;

/** A run in shards that has not ended. */
export const Run = Schema.Struct({
  job: Schema.String,
  tenant: Schema.String,
  target: Schema.String,
  kind: Schema.Literal("table", "folder"),
  began: Schema.String,
  shards: Count,
  done: Count,
  failed: Count,
  progress: Progress,
  /** Requests for all of its shards that have begun. */
  traffic: Schema.optional(Traffic),
});

export type Run = typeof Run.Type;

/** A shard that a worker has begun. */
export const Shard = Schema.Struct({
  shard: Count,
  /** `refused`: of a newer version than the worker knows, so that it waits for another one. */
  status: Schema.Literal("running", "done", "refused"),
  worker: Schema.String,
  /** Times that it was begun, this one included. */
  attempt: Count,
  progress: Schema.optional(Progress),
  traffic: Schema.optional(Traffic),
  /** The name of the attempt that is to be published. */
  result: Schema.optional(Schema.String),
  message: Schema.optional(Schema.String),
});

export type Shard = typeof Shard.Type;

const schemas = { worker: Worker, run: Run, shard: Shard } as const;

export type Kind = keyof typeof schemas;

export type Record<K extends Kind> = (typeof schemas)[K]["Type"];

/** A record, and how long ago it was left, in milliseconds. */
export type Aged<K extends Kind> = Record<K> & { readonly age: number };

/** A worker says every so often that it lives, in milliseconds; it counts as dead after three times as long. */
export const BEAT = 2000;

export const isAlive = ({ age }: { readonly age: number }): boolean => age < 3 * BEAT;

/** Give the key of a record. */
export const keyOf = (kind: Kind, ...names: ReadonlyArray<string | number>): string =>
  [kind, ...names].join(":");

export const leave = <K extends Kind>(
  values: Values,
  kind: K,
  key: string,
  record: Record<K>,
): Promise<void> =>
  values.set(
    key,
    JSON.stringify(Schema.encodeSync(schemas[kind] as unknown as Schema.Schema<Record<K>, unknown>)(record)),
  );

/** Read the records whose keys begin so. Those of another version of this program that it can't read are left out. */
export const list = async <K extends Kind>(
  values: Values,
  kind: K,
  ...names: ReadonlyArray<string>
): Promise<ReadonlyArray<Aged<K>>> => {
  const decode = Schema.decodeUnknownOption(
    Schema.parseJson(schemas[kind] as unknown as Schema.Schema<Record<K>, unknown>),
  );
  const entries: ReadonlyArray<Entry> = await values.list(`${keyOf(kind, ...names)}:`);
  return entries.flatMap(({ value, age }) =>
    Option.match(decode(value), { onNone: () => [], onSome: (record) => [{ ...record, age }] })
  );
};

/** The age from which on a record is of nobody any more, in milliseconds. */
const OLD = 7 * 86_400_000;

/** Remove records that nobody has touched for a week, of whatever was broken off and never gone on with. */
export const sweep = async (values: Values): Promise<void> => {
  for (const kind of Object.keys(schemas)) {
    for (const { key, age } of await values.list(`${kind}:`)) if (age > OLD) await values.remove(key);
  }
};
