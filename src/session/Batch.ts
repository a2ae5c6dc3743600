/**
 * A batch: what one answer of the endpoint adds to an export. Work is done per batch, never per row, in Effect.
 *
 * @module
 */
import * as JsonRows from "../scan/JsonRows.ts";
import * as Lazy from "../scan/Lazy.ts";
import * as Session from "./Session.ts";

/**
 * The sessions of one user that one answer brought, already decoded, each exactly once in a walk.
 * Everything an encoder needs is in the first three fields.
 */
export interface Batch {
  /** The user the sessions belong to. The endpoint's rows do not carry it. */
  readonly userId: string;
  /** Most are made of the page's bytes when somebody first looks at them: {@link size} counts them without. */
  readonly sessions: ReadonlyArray<Session.Session>;
  /**
   * Each session as served, at the same index. Absent when sessions were made or changed by code, and of no account in a clone,
   * or in a copy that was given other sessions: encoders then write what the values say. Sessions are not to be changed in
   * place: {@link map} makes others of them.
   */
  readonly source?: JsonRows.JsonRows | undefined;
  /** Rows that failed the schema. */
  readonly rejected: ReadonlyArray<Rejected>;
  /**
   * The ids of all rows that the walk came upon in this answer, whether they are delivered or not; undefined for a row
   * without one. Only of a walk that was asked to read whole lists for changes.
   */
  readonly seen?: ReadonlyArray<string | undefined> | undefined;
  /**
   * The number of sessions that may be there from an earlier run, as they are. Only of a walk that looks for changes: of a time
   * before its mark, of a user or a session that came back, or where the mark does not know all that was delivered.
   */
  readonly redelivered?: number | undefined;
  /** How many sessions the tenant says the user has, as of this answer. */
  readonly total?: number | undefined;
  /** Set on the last batch of a user. */
  readonly end?: WalkEnd | undefined;
  /**
   * Where the user's walk stands after this batch, as a plain value that JSON can hold: a walk that starts from it
   * delivers what is left.
   */
  readonly state?: (() => unknown) | undefined;
}

/** A row that is not a session by the schema, whole, with where it was found and what is wrong with it. */
export interface Rejected {
  readonly userId: string;
  /** The page it was served on, from 1, and the size of that page. */
  readonly page: number;
  readonly size: number;
  /** Its place on that page, from 0. */
  readonly index: number;
  /** The fields that are wrong: `expires_at`, `client_ids.0`; the empty text for the row as a whole. */
  readonly paths: ReadonlyArray<string>;
  /** The schema's own words. */
  readonly message: string;
  /** The row's JSON text as served. */
  readonly source: string;
  /** Set where `source` is not the row but what redaction has left of it. */
  readonly redacted?: true | undefined;
}

/** How the walk of one user ended. */
export interface WalkEnd {
  /**
   * `missing`: the tenant knows no such user. `removed`: nor does it know this one any more, of whom sessions were
   * delivered. `failed`: the walk broke off.
   */
  readonly status: "complete" | "missing" | "removed" | "failed";
  /**
   * Whether the walk can vouch that every session listed from its beginning to its end was delivered exactly once.
   * If not, `doubts` says why.
   */
  readonly verified: boolean;
  readonly doubts: ReadonlyArray<string>;
  /** What the next run has to know to deliver only what has changed since, if the walk was one that looks for changes. */
  readonly mark?: unknown;
  /** Why the walk broke off. */
  readonly message?: string | undefined;
}

/**
 * A batch made by hand, for sessions that come from elsewhere.
 *
 * @example
 * ```ts
 * import { Batch, Csv } from "monocloud-sessions";
 *
 * const csv = Csv.make();
 * const bytes = csv.encode(Batch.make("alice", [
 *   { session_id: "S1", client_ids: ["app"], initiated_at: 1640975400, expires_at: 1640983490, last_updated: 1640975400 },
 * ]));
 * console.assert(new TextDecoder().decode(bytes).startsWith("user_id,session_id,"));
 * ```
 */
export const make = (userId: string, sessions: ReadonlyArray<Session.Session>): Batch => ({
  userId,
  sessions,
  rejected: [],
});

/** Where rows, and batches, hold the sessions that go with them. No WeakMap: what it holds is not collected young. */
const sessionsOf = Symbol("sessions");

/** How sessions are made, and those that were, once somebody has looked. */
interface Made {
  readonly make: () => ReadonlyArray<Session.Session>;
  made?: ReadonlyArray<Session.Session>;
}

interface Served extends JsonRows.JsonRows {
  [sessionsOf]?: Made;
}

const lazySessions = Lazy.property("sessions", (batch: { readonly [sessionsOf]: Made }) => {
  const its = batch[sessionsOf];
  return (its.made ??= its.make());
});

/** Sessions as served, which are made when somebody first looks at them. */
export const served = (
  source: JsonRows.JsonRows,
  make: () => ReadonlyArray<Session.Session>,
): Pick<Batch, "sessions" | "source"> => {
  const its: Made = { make };
  (source as Served)[sessionsOf] = its;
  const batch = Object.defineProperty({ source }, sessionsOf, { value: its });
  return Object.defineProperty(batch, "sessions", lazySessions) as Pick<Batch, "sessions" | "source">;
};

/**
 * The text as served, if it says what the batch's sessions say. `{ ...batch, sessions: others }` has it still, and is not to
 * be written by it; nor is a clone.
 */
export const sourceOf = (batch: Pick<Batch, "sessions" | "source">): JsonRows.JsonRows | undefined => {
  const { source } = batch;
  if (source === undefined || !JsonRows.isMade(source)) return undefined;
  const its = (source as Served)[sessionsOf];
  // Sessions that nobody has looked at are the ones that were served; to ask for them would be to look.
  const isAsServed = its === undefined ||
    Object.getOwnPropertyDescriptor(batch, "sessions")?.get === lazySessions.get ||
    batch.sessions === its.made;
  return isAsServed ? source : undefined;
};

/** How many sessions a batch has, without making any of them that need not be made. */
export const size = (batch: Pick<Batch, "sessions" | "source">): number => {
  const source = sourceOf(batch);
  return source?.fields === undefined ? batch.sessions.length : source.from.length;
};

const initiatedAt = Session.place("numbers", "initiated_at");

/** When the earliest and the latest of the sessions were initiated, likewise. From Infinity to -Infinity where there are none. */
export const initiated = (
  batch: Pick<Batch, "sessions" | "source">,
): { readonly min: number; readonly max: number } => {
  let [min, max] = [Infinity, -Infinity];
  const take = (time: number) => {
    if (time < min) min = time;
    if (time > max) max = time;
  };
  const source = sourceOf(batch);
  if (source?.fields === undefined) batch.sessions.forEach(({ initiated_at }) => take(initiated_at));
  else {
    const { numbers, numberCount } = source.fields;
    for (let i = 0; i < source.from.length; i++) take(numbers[i * numberCount + initiatedAt]!);
  }
  return { min, max };
};

/** Keeps the sessions that pass the test; the rest of the batch stays as it is. */
export const filter = (batch: Batch, keep: (session: Session.Session, userId: string) => boolean): Batch => {
  const kept: Array<number> = [];
  batch.sessions.forEach((session, index) => keep(session, batch.userId) && kept.push(index));
  if (kept.length === batch.sessions.length) return batch;
  const sessions = kept.map((index) => batch.sessions[index]!);
  const source = sourceOf(batch);
  return {
    ...batch,
    ...(source === undefined ? { sessions, source } : served(JsonRows.pick(source, kept), () => sessions)),
  };
};

/** Replaces each session; NDJSON then writes the new value instead of the text as served. */
export const map = (
  batch: Batch,
  change: (session: Session.Session, userId: string) => Session.Session,
): Batch => ({
  ...batch,
  sessions: batch.sessions.map((session) => change(session, batch.userId)),
  source: undefined,
});
