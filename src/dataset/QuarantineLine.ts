/** The lines of a quarantine part: a row that is not a session, where it was served, and what is wrong with it. */
import * as Schema from "effect/Schema";
import * as Json from "../format/Json.ts";

const Count = Schema.Int.pipe(Schema.nonNegative());

export const Line = Schema.Struct({
  user_id: Schema.String,
  page: Count,
  size: Count,
  index: Count,
  /** The fields that are wrong: `expires_at`, `client_ids.0`; the empty text for the row as a whole. */
  paths: Schema.optional(Schema.Array(Schema.String)),
  message: Schema.String,
  /** The version of the program that found it so. */
  version: Schema.optional(Schema.String),
  /** True if the row that follows is what redaction has left of it. */
  redacted: Schema.optional(Schema.Literal(true)),
  /** The row's JSON text, byte for byte. */
  row: Schema.String,
});

export type Line = typeof Line.Type;

/** Reads a line; says what is wrong with it if it is none. */
export const decode = Json.lineDecoder(Line, "quarantined row");
