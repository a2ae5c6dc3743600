/**
 * The marks that runs leave for the next one, a line for each user, in parts of their own. They are completed by the same
 * line of the journal as the sessions they speak of: neither is ever there without the other.
 *
 * @module
 */
import type * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Schema from "effect/Schema";
import * as Changes from "../source/incremental/Changes.ts";
import type { DatasetError } from "./DatasetError.ts";
import * as Json from "../format/Json.ts";
import type { Part } from "./Manifest.ts";
import * as CheckedReader from "./CheckedReader.ts";

/** The marks by user, each as JSON. About 300 bytes a user; up to 170 kB for one that can't be verified. */
export type Marks = Map<string, string>;

/** More spans than a mark has would be more than can be compared at once. */
const Mark = Changes.Mark.pipe(Schema.filter(({ spans = [] }) => spans.length <= 1000));

const Line = Schema.Struct({ user_id: Schema.String, mark: Mark });

/** Reads a line; says what is wrong with it if it is none. */
export const decode = Json.lineDecoder(Line, "mark");

/** The line for a user. */
export const lineOf = (userId: string, mark: string): string =>
  `{"user_id":${JSON.stringify(userId)},"mark":${mark}}\n`;

/** What a line says; throws where it is none. */
export const read = (line: string): { readonly userId: string; readonly mark: string } => {
  const { user_id, mark } = Either.getOrThrow(decode(line));
  return { userId: user_id, mark: JSON.stringify(mark) };
};

/** Whether the run that left the mark, or one before, had come upon a session. */
export const hasSession = (mark: string): boolean => Changes.hasSession(JSON.parse(mark));

/** Gives the mark of a user that has gone, by which everything is delivered should it come back. */
export const forget = (mark: string, until?: number): string =>
  JSON.stringify(Changes.forget(JSON.parse(mark), until));

/**
 * Read the marks in these parts; later ones take the place of earlier ones. A part whose bytes or sha256 are not those
 * recorded fails as `Corrupt`: a mark that was changed would make the next run skip sessions.
 */
export const load = (root: string, parts: ReadonlyArray<Part>): Effect.Effect<Marks, DatasetError> =>
  CheckedReader.attempt(async () => {
    const marks: Marks = new Map();
    const reader = { root, purpose: "tell what has changed since the last run", progress: { rows: 0 } };
    for (const part of parts) {
      if (part.format !== "state") continue;
      for await (const lines of CheckedReader.lines(reader, part, decode)) {
        for (const { line: { user_id, mark } } of lines) marks.set(user_id, JSON.stringify(mark));
      }
    }
    return marks;
  });
