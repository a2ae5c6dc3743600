/**
 * Errors as plain values, so that they arrive in another thread as what they were: class, reason, fields and message.
 *
 * @module
 */
import * as Schema from "effect/Schema";
import { ExportError } from "../export/Export.ts";
import { SinkError } from "../sink/Sink.ts";
import { ApiError } from "../api/ApiError.ts";
import { TenantError } from "../api/Tenant.ts";

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

const Exported = Schema.transform(
  Schema.TaggedStruct("ExportError", {
    reason: Schema.Literal("InvalidRow", "TooManyQuarantined", "NoSuchUsers", "Unverified"),
    message: Schema.String,
    row: Schema.optional(Row),
  }),
  Schema.instanceOf(ExportError),
  { strict: true, decode: ({ _tag, ...fields }) => new ExportError(fields), encode: (error) => error },
);

/** Errors that an export can fail with, in whatever thread. */
export type Failure = ApiError | ExportError | SinkError | TenantError;

/** The same, for messages. */
export const Failure = Schema.Union(ApiError, Exported, SinkError, TenantError);
