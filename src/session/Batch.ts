/**
 * A batch: what one answer of the endpoint adds to an export. Work is done per batch, never per row, in Effect.
 *
 * @module
 */
import * as Either from "effect/Either";
import * as RowSlices from "../scan/RowSlices.ts";
import * as Session from "./Session.ts";
import type { QuarantinedRow, WalkEnd } from "./WalkResult.ts";

/** Sessions as served: slices of the answer's bytes, each a session by the schema. */
export interface Bytes {
  readonly _tag: "Bytes";
  readonly slices: RowSlices.RowSlices;
}

/** Sessions as values: made or changed by code. */
export interface Values {
  readonly _tag: "Values";
  readonly sessions: ReadonlyArray<Session.Session>;
}

/**
 * The sessions of one user that one answer brought, each exactly once in a walk. Everything an encoder needs is in the first
 * two fields.
 */
export interface Batch {
  /** The user the sessions belong to. The endpoint's rows do not carry it. */
  readonly userId: string;
  /** The sessions. {@link sessions} gives them as values, whichever they are. */
  readonly rows: Bytes | Values;
  /** Rows that failed the schema. */
  readonly quarantined: ReadonlyArray<QuarantinedRow>;
  /**
   * The ids of all rows that the walk came upon in this answer, whether they are delivered or not; undefined for a row
   * without one. Only of a walk that was asked to read whole lists for changes.
   */
  readonly observedIds?: ReadonlyArray<string | undefined> | undefined;
  /**
   * The number of sessions that may be there from an earlier run, as they are. Only of a walk that looks for changes: of a time
   * before its cursor, of a user or a session that came back, or where the cursor does not know all that was delivered.
   */
  readonly redelivered?: number | undefined;
  /** Sessions that the tenant says the user has, as of this answer. */
  readonly total?: number | undefined;
  /** Set on the last batch of a user. */
  readonly end?: WalkEnd | undefined;
  /**
   * State of the user's walk after this batch, as a plain value that JSON can hold: a walk that starts from it
   * delivers what is left.
   */
  readonly state?: (() => unknown) | undefined;
}

export type { QuarantinedRow, WalkEnd } from "./WalkResult.ts";

/**
 * A batch made by hand, for sessions that come from elsewhere.
 *
 * @example
 * ```ts
 * import { Batch, Formats } from "monocloud-sessions";
 *
 * const csv = Formats.make("csv").make();
 * const bytes = csv.encode(Batch.make("alice", [
 *   { session_id: "S1", client_ids: ["app"], initiated_at: 1640975400, expires_at: 1640983490, last_updated: 1640975400 },
 * ]));
 * console.assert(new TextDecoder().decode(bytes).startsWith("user_id,session_id,"));
 * ```
 */
export const make = (userId: string, sessions: ReadonlyArray<Session.Session>): Batch => ({
  userId,
  rows: { _tag: "Values", sessions },
  quarantined: [],
});

/** The rows of a batch that has none. */
export const noRows: Values = { _tag: "Values", sessions: [] };

/** Give the sessions of a batch as values. Those that are bytes are parsed anew each time. */
export const sessions = ({ rows }: Pick<Batch, "rows">): ReadonlyArray<Session.Session> =>
  rows._tag === "Values"
    ? rows.sessions
    : rows.slices.from.map((_, index) => JSON.parse(RowSlices.text(rows.slices, index)));

/** Count the sessions of a batch. */
export const size = ({ rows }: Pick<Batch, "rows">): number =>
  rows._tag === "Values" ? rows.sessions.length : rows.slices.from.length;

const initiatedAt = Session.place("numbers", "initiated_at");

/** Give when the earliest and the latest of the sessions were initiated; from Infinity to -Infinity where there are none. */
export const initiated = ({ rows }: Pick<Batch, "rows">): { readonly min: number; readonly max: number } => {
  let [min, max] = [Infinity, -Infinity];
  const take = (time: number) => {
    if (time < min) min = time;
    if (time > max) max = time;
  };
  if (rows._tag === "Values") rows.sessions.forEach(({ initiated_at }) => take(initiated_at));
  else {
    const { from, fields: { numbers, numberCount } } = rows.slices;
    for (let i = 0; i < from.length; i++) take(numbers[i * numberCount + initiatedAt]!);
  }
  return { min, max };
};

const utf8 = new TextEncoder();

const bytesOf = (userId: string, list: string): Bytes => {
  const found = Session.scan(utf8.encode(list));
  if (found === undefined || found === "more") {
    throw new TypeError(
      `Cannot write the sessions of ${userId}: they hold more values than can be read back`,
    );
  }
  const { slices, invalid: [invalid] } = found;
  if (invalid === undefined) return { _tag: "Bytes", slices };
  const flaw = Either.flip(Session.decode(JSON.parse(RowSlices.text(slices, invalid))));
  const why = Either.match(flaw, { onLeft: () => "it is too large", onRight: ({ message }) => message });
  throw new TypeError(
    `Cannot write what is no session: number ${invalid + 1} of ${slices.from.length} of ${userId}: ${why}`,
  );
};

/**
 * Give the same batch with its sessions as bytes, which is what encoders take: values are written as JSON once, however many
 * encoders there are.
 *
 * @throws {TypeError} on a value that is no session.
 */
export const toBytes = <A extends Pick<Batch, "userId" | "rows">>(batch: A): A & { readonly rows: Bytes } => {
  const { rows, userId } = batch;
  return rows._tag === "Bytes"
    ? batch as A & { readonly rows: Bytes }
    : { ...batch, rows: bytesOf(userId, JSON.stringify(rows.sessions)) };
};

/**
 * Make a batch of sessions as served, from the JSON text of each.
 *
 * @throws {TypeError} on a text that is no session's.
 */
export const ofTexts = (userId: string, texts: ReadonlyArray<string>): Batch => ({
  userId,
  rows: bytesOf(userId, `[${texts.join(",")}]`),
  quarantined: [],
});

/** Keep the sessions that pass the test, as bytes if they were; the rest of the batch stays as it is. */
export const filter = (batch: Batch, keep: (session: Session.Session, userId: string) => boolean): Batch => {
  const all = sessions(batch);
  const kept: Array<number> = [];
  all.forEach((session, index) => keep(session, batch.userId) && kept.push(index));
  if (kept.length === all.length) return batch;
  const { rows } = batch;
  return {
    ...batch,
    rows: rows._tag === "Bytes"
      ? { _tag: "Bytes", slices: RowSlices.pick(rows.slices, kept) }
      : { _tag: "Values", sessions: kept.map((index) => all[index]!) },
  };
};

/** Replace each session. What an encoder writes is then the value's own JSON, no more the text as served. */
export const map = (
  batch: Batch,
  change: (session: Session.Session, userId: string) => Session.Session,
): Batch => ({
  ...batch,
  rows: { _tag: "Values", sessions: sessions(batch).map((session) => change(session, batch.userId)) },
});
