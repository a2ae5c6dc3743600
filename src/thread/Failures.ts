/**
 * Errors as plain values, so that they arrive in another thread as what they were: class, reason, fields and message.
 *
 * @module
 */
import * as Schema from "effect/Schema";
import { ExportError } from "../export/Export.ts";
import { SinkError } from "../sink/Sink.ts";
import { ApiError, type ApiErrorReason } from "../api/ApiError.ts";
import { TenantError } from "../api/Tenant.ts";

/** A field that may be absent. */
export const maybe = <A, I>(schema: Schema.Schema<A, I>) => Schema.optional(schema);

const Problem = Schema.Struct({
  type: Schema.UndefinedOr(Schema.String),
  title: Schema.UndefinedOr(Schema.String),
  detail: Schema.UndefinedOr(Schema.String),
  instance: Schema.UndefinedOr(Schema.String),
  errors: Schema.Array(Schema.String),
});

const Api = Schema.transform(
  Schema.TaggedStruct("ApiError", {
    // Its message is made of it, and whoever sends it is of the same version.
    reason: Schema.String as unknown as Schema.Schema<ApiErrorReason>,
    url: Schema.String,
    userId: maybe(Schema.String),
    page: maybe(Schema.Number),
    status: maybe(Schema.Number),
    problem: maybe(Problem),
    detail: maybe(Schema.String),
    retryAfter: maybe(Schema.Number),
    attempts: Schema.Number,
  }),
  Schema.instanceOf(ApiError),
  { strict: true, decode: ({ _tag, ...fields }) => new ApiError(fields), encode: (error) => error },
);

const Row = Schema.Struct({
  userId: Schema.String,
  page: Schema.Number,
  size: Schema.Number,
  index: Schema.Number,
  paths: Schema.Array(Schema.String),
  message: Schema.String,
  source: Schema.String,
  redacted: maybe(Schema.Literal(true)),
});

const Exported = Schema.transform(
  Schema.TaggedStruct("ExportError", {
    reason: Schema.Literal("InvalidRow", "TooManyQuarantined", "NoSuchUsers", "Unverified"),
    message: Schema.String,
    row: maybe(Row),
  }),
  Schema.instanceOf(ExportError),
  { strict: true, decode: ({ _tag, ...fields }) => new ExportError(fields), encode: (error) => error },
);

/** What an output failed of, as far as its message needs it: a code of the system, and words. */
const Cause = Schema.Struct({ code: maybe(Schema.String), message: Schema.String });

const causeOf = (cause: unknown): typeof Cause.Type => {
  const { code } = (cause ?? {}) as { readonly code?: unknown };
  return {
    ...(typeof code === "string" && { code }),
    message: cause instanceof Error ? cause.message : String(cause),
  };
};

const Written = Schema.transform(
  Schema.TaggedStruct("SinkError", {
    reason: Schema.Literal("Open", "Write", "Commit", "Closed"),
    path: Schema.String,
    cause: Cause,
  }),
  Schema.instanceOf(SinkError),
  {
    strict: true,
    decode: ({ reason, path, cause: { code, message } }) =>
      new SinkError({
        reason,
        path,
        cause: Object.assign(new Error(message), code === undefined ? {} : { code }),
      }),
    encode: ({ _tag, reason, path, cause }) => ({ _tag, reason, path, cause: causeOf(cause) }),
  },
);

const Address = Schema.transform(
  Schema.TaggedStruct("TenantError", {
    reason: Schema.Literal("Domain", "InsecureTransport", "ApiKey"),
    message: Schema.String,
  }),
  Schema.instanceOf(TenantError),
  { strict: true, decode: ({ _tag, ...fields }) => new TenantError(fields), encode: (error) => error },
);

/** What an export can fail with, in whatever thread. */
export type Failure = ApiError | ExportError | SinkError | TenantError;

/** The same, for messages. */
export const Failure = Schema.Union(Api, Exported, Written, Address);
