/** Messages to and from a thread. Each is defined by a schema, on both sides. */
import * as Transferable from "@effect/platform/Transferable";
import * as Either from "effect/Either";
import type * as Redacted from "effect/Redacted";
import * as Schema from "effect/Schema";
import { ApiError } from "../api/ApiError.ts";
import { TenantError } from "../api/Tenant.ts";
import * as TenantClient from "../api/TenantClient.ts";
import * as Export from "../export/Export.ts";
import * as Formats from "../format/Formats.ts";
import * as Options from "../options/Options.ts";
import type { Report } from "../plain/Report.ts";
import * as RedactionPolicy from "../session/RedactionPolicy.ts";
import { SinkError } from "../sink/Sink.ts";
import * as SessionSource from "../source/SessionSource.ts";

const { optional } = Schema;

/** A redaction in the thread. As for `Redaction.make`. */
export interface Redaction {
  readonly policy: RedactionPolicy.Policy;
  readonly secret?: string | Redacted.Redacted | undefined;
}

/** Options for what is done to sessions in the thread. */
export interface ContentOptions extends Formats.FormatOptions, Export.QuarantineOptions {
  readonly redact?: Redaction | undefined;
}

export const contentNames: Options.Names<ContentOptions> = {
  ...Formats.optionNames,
  ...Export.quarantineNames,
  redact: Options.object<Redaction>(
    { policy: RedactionPolicy.kind, secret: Options.secret },
    { required: ["policy"] },
  ),
};

export const tenantKind = Options.object(TenantClient.optionNames, { required: ["domain", "apiKey"] });

export const walkKind = Options.object(SessionSource.optionNames);

/** An error that quotes nothing: there are secrets among the options. */
const silent = {
  message: () => ({
    message: "options that this version does not know, or that lack what they need",
    override: true,
  }),
};

/** Options as both sides check them, by the same names. */
const of = <A>(kind: Options.Kind<A>): Schema.Schema<A> =>
  Schema.declare((value): value is A => Either.isRight(Options.read(kind, value)), silent);

const optionalOf = <A>(kind: Options.Kind<A>) =>
  Schema.optionalWith(Schema.UndefinedOr(of(kind)).annotations(silent), { exact: true });

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
  Schema.TaggedStruct("Progress", { progress: told<Export.Progress>() }),
  Schema.TaggedStruct("Done", { report: told<Report>() }),
);
export type Event = typeof Event.Type;

/**
 * Errors that an export can fail with, in whatever thread. They arrive as what they were: class, reason, fields and message.
 */
export const Failure = Schema.Union(ApiError, Export.ExportError, SinkError, TenantError);
export type Failure = typeof Failure.Type;

/** Runs an export. Interrupting it ends the walk, and undoes what was written. */
export class StartExport extends Schema.TaggedRequest<StartExport>()("StartExport", {
  failure: Failure,
  success: Event,
  payload: {
    exportId: Schema.Number,
    /** Times are in milliseconds. Secrets are texts for as long as the message is under way. */
    tenant: of(tenantKind),
    users: Schema.Union(Schema.Array(Schema.String), Schema.Literal("all")),
    walk: of(walkKind),
    redact: optionalOf(contentNames.redact),
    targets: Schema.Array(Target),
    quarantine: optional(Place),
    onInvalid: optionalOf(contentNames.onInvalid),
    maxQuarantined: optionalOf(contentNames.maxQuarantined),
    csv: optionalOf(contentNames.csv),
    parquet: optionalOf(contentNames.parquet),
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
