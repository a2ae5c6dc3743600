/** Why an export can't go on. */
import * as Schema from "effect/Schema";
import type * as Batch from "../session/Batch.ts";

/** See {@link Batch.QuarantinedRow}. */
const Row = Schema.Struct({
  userId: Schema.String,
  page: Schema.Number,
  size: Schema.Number,
  index: Schema.Number,
  paths: Schema.Array(Schema.String),
  message: Schema.String,
  source: Schema.String,
  redacted: Schema.optional(Schema.Literal(true)),
});

/** An export can't go on, or what it found can't be what was wanted. Nothing of it was kept, but where the reason says so. */
export class ExportError extends Schema.TaggedError<ExportError>()("ExportError", {
  /**
   * `InvalidRow`: a row failed the schema and `onInvalid` is `fail`. `TooManyQuarantined`: more did than `maxQuarantined` allows.
   * `NoSuchUsers`: the tenant knows none of the users. `Unverified`: something may be missing; what was found was delivered.
   */
  reason: Schema.Literal("InvalidRow", "TooManyQuarantined", "NoSuchUsers", "Unverified"),
  message: Schema.String,
  row: Schema.optional(Row),
}) {}

/** Say where a quarantined row was found, and what is wrong with it. */
export const wordsOf = ({ userId, page, size, index, message }: Batch.QuarantinedRow): string =>
  `User ${userId}, page ${page} (of size ${size}), row ${index} is not a session: ${message}`;

/** The error for a row that is not a session. */
export const invalidRow = (row: Batch.QuarantinedRow): ExportError =>
  new ExportError({ reason: "InvalidRow", row, message: wordsOf(row) });

/** The error for users of whom the tenant knows none, such as this one. */
export const noSuchUsers = (count: number, userId: string | undefined): ExportError =>
  new ExportError({
    reason: "NoSuchUsers",
    message:
      `The tenant knows ${count === 1 ? "no user" : `none of the ${count} users asked for, such as`} ` +
      `${JSON.stringify(userId)}: check the id and the domain`,
  });
