/**
 * Tombstones: the sessions of a dataset that the tenant lists no more.
 *
 * **When it is said.** A run that reports them reads every user's list to its end, and notes which ids it came upon, in
 * parts that the journal names along with those of the sessions. Of a user whose walk is verified,
 * from its first page to its last within this one run, what the dataset holds and the walk did not come upon is gone. Of any
 * other user nothing is said: one whose walk broke off or is not verified, that goes on from an earlier run, or whose list
 * had a row without an id. A user whom the tenant no longer knows has no sessions, whatever the walk came upon before.
 *
 * **When it is taken back.** Nothing keeps a tenant from listing a session again. One that was said to be gone and is come
 * upon is delivered again, and gets a line that says so. Parts are numbered in the order of what they tell: what the last
 * part says of a session, as a row of it or as a line here, is what is known.
 */
import * as Schema from "effect/Schema";
import type { Batch, WalkEnd } from "../session/Batch.ts";
import * as Json from "../format/Json.ts";
import * as DigestTable from "./DigestTable.ts";
import type { Part, Run } from "./Manifest.ts";
import * as PartReader from "./PartReader.ts";
import { keyOf, spelled } from "../format/DecodedRow.ts";
import * as CheckedReader from "./CheckedReader.ts";

export const Line = Schema.Struct({
  user_id: Schema.String,
  session_id: Schema.String,
  /** True if the tenant lists it no more; false if it is listed again after that was said. */
  gone: Schema.Boolean,
  /** The number of this part. Rows of the session in later parts are not meant. */
  part: Schema.Int.pipe(Schema.nonNegative()),
  run: Schema.Int.pipe(Schema.positive()),
  /** When the run began that found it so: ISO 8601, UTC. */
  as_of: Schema.String,
});

export type Line = typeof Line.Type;

/** A line of a part of observed ids: what one answer brought. */
export const Observed = Schema.Struct({
  user_id: Schema.String,
  /** Null for a row without one. */
  ids: Schema.Array(Schema.NullOr(Schema.String)),
  /** The user's walk has ended and is verified: these and the ones before are all there are. */
  whole: Schema.optional(Schema.Literal(true)),
  /** The tenant does not know the user any more: these and the ones before are gone. */
  gone: Schema.optional(Schema.Literal(true)),
});

export type Observed = typeof Observed.Type;

export const decode = Json.lineDecoder(Line, "tombstone");

/** Reads a line of observed ids; says what is wrong with it if it is none. */
export const decodeObserved = Json.lineDecoder(Observed, "list of observed ids");

const ofGone: ReadonlySet<string> = new Set(["missing", "removed"]);

export const isUserGone = ({ status }: Pick<WalkEnd, "status">): boolean => ofGone.has(status);

/** Give the ids that a batch has come upon, as lines to keep. */
export const observedLines = ({ userId, observedIds = [], end }: Batch): ReadonlyArray<string> => {
  const isGone = end !== undefined && isUserGone(end);
  const isWhole = isGone || (end !== undefined && end.status !== "failed" && end.verified);
  if (observedIds.length === 0 && !isWhole) return [];
  const line: Observed = {
    user_id: userId,
    ids: observedIds.map((id) => id ?? null),
    ...(isWhole && { whole: true }),
    ...(isGone && { gone: true }),
  };
  return [`${JSON.stringify(line)}\n`];
};

/** Count the rows that {@link compare} reads of these parts. */
export const rowsOf = (parts: ReadonlyArray<Part>): number =>
  [
    ...PartReader.oneOfEach(parts),
    ...parts.filter(({ format }) => format === "observed" || format === "tombstones"),
  ]
    .reduce((sum, { rows }) => sum + rows, 0);

export interface CompareOptions {
  readonly reader: CheckedReader.Reader;
  readonly parts: ReadonlyArray<Part>;
  readonly runs: ReadonlyArray<Pick<Run, "run" | "options">>;
  /** Fields that say where a line stands. */
  readonly stamp: Pick<Line, "part" | "run" | "as_of">;
  /** Counts the users that something could be said of, in place. */
  readonly verified: { users: number };
}

/**
 * Compares what a run came upon with what the dataset holds: the lines to add, some at a time, often none.
 *
 * Memory: 12 to 24 bytes for each session of the dataset and as much for each that was come upon, and the users' ids.
 */
export async function* compare(
  { reader, parts, runs, stamp, verified }: CompareOptions,
): AsyncGenerator<ReadonlyArray<Line>> {
  const held = PartReader.oneOfEach(parts);
  const texts = new Set(held.map((part) => PartReader.writtenAs(part, runs).text));
  const spellings = (key: readonly [string, string]) => [...texts].flatMap((text) => spelled(key, text));

  const listed = DigestTable.set();
  const [whole, nameless, gone] = [new Set<string>(), new Set<string>(), new Set<string>()];
  for (const part of parts) {
    if (part.format !== "observed") continue;
    for await (const lines of CheckedReader.lines(reader, part, decodeObserved)) {
      for (const { line: { user_id, ids, whole: isWhole, gone: isGone } } of lines) {
        if (isWhole) whole.add(user_id);
        if (isGone) gone.add(user_id);
        for (const id of ids) {
          if (id === null) nameless.add(user_id);
          else for (const key of spellings([user_id, id])) listed.add(key);
        }
      }
    }
  }
  for (const userId of nameless) if (!gone.has(userId)) whole.delete(userId);
  verified.users = whole.size;
  const written = (ids: Iterable<string>) =>
    new Set([...ids].flatMap((userId) => spellings([userId, ""]).map(([id]) => id)));
  const [users, goneUsers] = [written(whole), written(gone)];
  const isListed = (key: readonly [string, string]) => !goneUsers.has(key[0]) && listed.has(key);

  // From the latest part to the earliest: what is said of a session first is the latest that is said of it.
  const [met, told] = [DigestTable.set(), DigestTable.set()];
  const lineFor = ([user_id, session_id]: readonly [string, string], gone: boolean): Line => ({
    user_id,
    session_id,
    gone,
    ...stamp,
  });
  const ofRow = (key: readonly [string, string]): ReadonlyArray<Line> =>
    users.has(key[0]) && met.add(key) && !isListed(key) ? [lineFor(key, true)] : [];
  const ofLine = ({ user_id, session_id, gone }: Line): ReadonlyArray<Line> => {
    const key = [user_id, session_id] as const;
    if (!users.has(user_id) || !told.add(key)) return [];
    // A row that is later than this line has had its say, unless it is listed again.
    const isLatest = met.add(key);
    if (gone) return isListed(key) ? [lineFor(key, false)] : [];
    return isLatest && !isListed(key) ? [lineFor(key, true)] : [];
  };
  const said = parts.filter(({ format }) => format === "tombstones");
  // Those of a run are written when all of its sessions are.
  for (const part of [...held, ...said].sort((one, other) => other.part - one.part)) {
    if (part.format === "tombstones") {
      for await (const lines of CheckedReader.lines(reader, part, decode)) {
        yield lines.flatMap(({ line }) => ofLine(line));
      }
    } else {
      const written = PartReader.writtenAs(part, runs);
      for await (const rows of CheckedReader.sessions(reader, part, written)) {
        yield rows.flatMap((row) => ofRow(keyOf(row)));
      }
    }
  }
}
