/** Messages to and from a thread. Each is defined by a schema, on both sides. */
import * as Transferable from "@effect/platform/Transferable";
import * as Schema from "effect/Schema";
import * as SessionFilters from "../api/SessionFilters.ts";
import { ApiError } from "../api/ApiError.ts";
import { TenantError } from "../api/Tenant.ts";
import { ExportError, type Progress } from "../export/Export.ts";
import { SinkError } from "../sink/Sink.ts";
import { sortKeys } from "../api/Sort.ts";
import * as Formats from "../format/Formats.ts";
import type { Report } from "../plain/Report.ts";

const { optional } = Schema;
const number = optional(Schema.Number);

/** The tenant and how to ask it. Times are in milliseconds. The key is a text for as long as the message is under way. */
const Tenant = Schema.Struct({
  domain: Schema.String,
  apiKey: Schema.Redacted(Schema.String),
  rate: optional(Schema.Union(Schema.Number, Schema.Literal("auto"))),
  burst: number,
  timeout: number,
  maxAttempts: number,
  maxElapsed: number,
  baseDelay: number,
  maxDelay: number,
  maxBodyBytes: number,
});

const Walk = Schema.Struct({
  ...SessionFilters.mapFilters(() => optional(Schema.String)),
  sort: optional(Schema.TemplateLiteral(Schema.Literal(...sortKeys), ":", Schema.Literal(1, -1))),
  pageSize: optional(Schema.Union(Schema.Number, Schema.Literal("auto"))),
  concurrency: optional(Schema.Union(Schema.Number, Schema.Literal("auto"))),
  onFailure: optional(Schema.Literal("stop", "continue")),
});

const Redaction = Schema.Struct({
  policy: Schema.Record({ key: Schema.String, value: Schema.Unknown }),
  secret: optional(Schema.Redacted(Schema.String)),
});

/**
 * The place that bytes go to: a file that the thread writes, by way of a partial one that the caller removes if the thread
 * can't, or back to the caller, who knows the place by this name.
 */
const Place = Schema.Union(
  Schema.Struct({ file: Schema.String, partial: Schema.String }),
  Schema.Struct({ caller: Schema.String }),
);

export type Place = typeof Place.Type;

const Target = Schema.Struct({
  format: Schema.Literal(...Formats.builtInNames),
  gzip: Schema.Boolean,
  to: Place,
});

/** Messages of a thread, whose tag says that it is of this version. */
const told = <A>(): Schema.Schema<A> => Schema.Any;

/** Bytes of one output, in order; their buffers are transferred, not copied. They count until they are acknowledged. */
const Bytes = Schema.TaggedStruct("Bytes", {
  /** The place of the target, or the number of targets for the quarantined rows. */
  output: Schema.Number,
  chunks: Schema.Array(Transferable.Uint8Array),
});

/** Events of an export, in this order: progress and bytes, then the report. */
export const Event = Schema.Union(
  Bytes,
  Schema.TaggedStruct("Progress", { progress: told<Progress>() }),
  Schema.TaggedStruct("Done", { report: told<Report>() }),
);
export type Event = typeof Event.Type;

/**
 * Errors that an export can fail with, in whatever thread. They arrive as what they were: class, reason, fields and message.
 */
export const Failure = Schema.Union(ApiError, ExportError, SinkError, TenantError);
export type Failure = typeof Failure.Type;

/** Runs an export. Interrupting it ends the walk, and undoes what was written. */
export class StartExport extends Schema.TaggedRequest<StartExport>()("StartExport", {
  failure: Failure,
  success: Event,
  payload: {
    exportId: Schema.Number,
    tenant: Tenant,
    users: Schema.Union(Schema.Array(Schema.String), Schema.Literal("all")),
    walk: Walk,
    redact: optional(Redaction),
    targets: Schema.Array(Target),
    quarantine: optional(Place),
    onInvalid: optional(Schema.Literal("quarantine", "fail")),
    maxQuarantined: optional(Schema.Union(
      Schema.Struct({ count: Schema.Number }),
      Schema.Struct({ percent: Schema.Number }),
    )),
    csv: optional(Schema.Struct({ escapeFormulas: Schema.optionalWith(Schema.Boolean, { exact: true }) })),
    parquet: optional(Schema.Struct({
      rowGroupRows: Schema.optionalWith(Schema.Number, { exact: true }),
      codec: Schema.optionalWith(Schema.Literal("snappy", "uncompressed"), { exact: true }),
      version: Schema.optionalWith(Schema.Literal(1, 2), { exact: true }),
    })),
    /** The most bytes under way to the caller. */
    windowBytes: Schema.Number,
    /** The time between two events of progress, in milliseconds. */
    progressEvery: Schema.Number,
  },
}) {}

/** So many bytes have been taken over by their output: as many more may come. */
export class Acknowledge extends Schema.TaggedRequest<Acknowledge>()("Acknowledge", {
  failure: Schema.Never,
  success: Schema.Void,
  payload: { exportId: Schema.Number, bytes: Schema.Number },
}) {}

/** Answered once nothing is left of an export: no request under way, no unfinished file. */
export class AwaitEnd extends Schema.TaggedRequest<AwaitEnd>()("AwaitEnd", {
  failure: Schema.Never,
  success: Schema.Void,
  payload: { exportId: Schema.Number },
}) {}

export const Request = Schema.Union(StartExport, Acknowledge, AwaitEnd).annotations({
  // What a thread does not know it must not leave out: it may be of another version, or a redaction under a wrong name.
  parseOptions: { onExcessProperty: "error" },
});
export type Request = typeof Request.Type;
