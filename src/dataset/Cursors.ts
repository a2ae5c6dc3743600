/**
 * The cursors that runs leave for the next one, a line for each user, in parts of their own. They are completed by the same
 * line of the journal as the sessions they speak of: neither is ever there without the other.
 */
import type * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import * as Changes from "../source/incremental/Changes.ts";
import type { DatasetError } from "./DatasetError.ts";
import * as Json from "../format/Json.ts";
import type { Part, Version } from "./Manifest.ts";
import * as CheckedReader from "./CheckedReader.ts";

/** The cursors by user, each as JSON. About 300 bytes a user; up to 170 kB for one that can't be verified. */
export type ByUser = Map<string, string>;

/** More spans than a cursor has would be more than can be compared at once. */
const Cursor = Changes.Cursor.pipe(Schema.filter(({ spans = [] }) => spans.length <= 1000));

const Line = Schema.Struct({ user_id: Schema.String, cursor: Cursor });

/** A line of a dataset of version 1. */
const Line1 = Schema.Struct({
  user_id: Schema.String,
  cursor: Schema.propertySignature(Cursor).pipe(Schema.fromKey("mark")),
});

/** Reads a line; says what is wrong with it if it is none. */
export const decode = Json.lineDecoder(Schema.Union(Line, Line1), "cursor");

/** Give the line for a user, as a dataset of that version has it. */
export const lineOf = (userId: string, cursor: string, version: Version): string =>
  `{"user_id":${JSON.stringify(userId)},"${version === 1 ? "mark" : "cursor"}":${cursor}}\n`;

/** Tell whether the run that left the cursor, or one before, had come upon a session. */
export const hasSession = (cursor: string): boolean => Changes.hasSession(JSON.parse(cursor));

/** Gives the cursor of a user that has gone, by which everything is delivered should it come back. */
export const forget = (cursor: string, until?: number): string =>
  JSON.stringify(Changes.forget(JSON.parse(cursor), until));

/**
 * Read the cursors in these parts; later ones take the place of earlier ones. A part whose bytes or sha256 are not those
 * recorded fails as `Corrupt`: a cursor that was changed would make the next run skip sessions.
 */
export const load = (root: string, parts: ReadonlyArray<Part>): Effect.Effect<ByUser, DatasetError> =>
  CheckedReader.attempt(async () => {
    const cursors: ByUser = new Map();
    const reader = { root, purpose: "tell what has changed since the last run", progress: { rows: 0 } };
    for (const part of parts) {
      if (part.format !== "cursors") continue;
      for await (const lines of CheckedReader.lines(reader, part, decode)) {
        for (const { line: { user_id, cursor } } of lines) cursors.set(user_id, JSON.stringify(cursor));
      }
    }
    return cursors;
  });
