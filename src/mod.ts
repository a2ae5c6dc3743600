/**
 * Every user session out of MonoCloud: a walk that loses and repeats nothing while the list changes, and encoders that
 * bring it to NDJSON, CSV and Parquet. One namespace for each module.
 *
 * @module
 */
import "./needsEffect3.ts";

export * as ApiError from "./api/ApiError.ts";
export * as Batch from "./session/Batch.ts";
export * as Columns from "./session/Columns.ts";
export * as Csv from "./format/csv/Csv.ts";
export * as Dataset from "./dataset/Dataset.ts";
export * as Encoder from "./format/Encoder.ts";
export * as Export from "./export/Export.ts";
export * as File from "./sink/File.ts";
export * as Formats from "./format/Formats.ts";
export * as Gzip from "./sink/Gzip.ts";
export * as Guard from "./scan/Guard.ts";
export * as HttpPolicy from "./api/HttpPolicy.ts";
export * as JsonRows from "./scan/JsonRows.ts";
export * as JsonText from "./scan/JsonText.ts";
export * as Ndjson from "./format/ndjson/Ndjson.ts";
export * as Output from "./sink/Output.ts";
export * as PageFacts from "./api/PageFacts.ts";
export * as PageWalk from "./source/paging/PageWalk.ts";
export * as Parquet from "./format/parquet/Parquet.ts";
export * as RateLimit from "./api/rate/RateLimit.ts";
export * as Redact from "./session/Redact.ts";
export * as Replay from "./dataset/quarantine/Replay.ts";
export * as Room from "./sink/Room.ts";
export * as Session from "./session/Session.ts";
export * as SessionsApi from "./api/SessionsApi.ts";
export * as SessionSource from "./source/SessionSource.ts";
export * as StateFile from "./dataset/StateFile.ts";
export * as StateStore from "./source/incremental/StateStore.ts";
export * as Tenant from "./api/Tenant.ts";
export * as Transport from "./api/transport/Transport.ts";
export * as UsersApi from "./api/UsersApi.ts";
export * as UserSource from "./source/UserSource.ts";
export * as Verify from "./dataset/verify/Verify.ts";
export * as Web from "./sink/Web.ts";
