/**
 * Every user session out of MonoCloud: a walk that loses and repeats nothing while the list changes, and encoders that
 * bring it to NDJSON, CSV and Parquet. One namespace for each module.
 *
 * @module
 */
export * as ApiError from "./tenant/ApiError.ts";
export * as Batch from "./Batch.ts";
export * as Columns from "./Columns.ts";
export * as Csv from "./format/Csv.ts";
export * as Dataset from "./dataset/Dataset.ts";
export * as Encoder from "./format/Encoder.ts";
export * as Export from "./export/Export.ts";
export * as File from "./output/File.ts";
export * as Formats from "./format/Formats.ts";
export * as Gzip from "./output/Gzip.ts";
export * as Guard from "./Guard.ts";
export * as HttpPolicy from "./tenant/HttpPolicy.ts";
export * as JsonRows from "./JsonRows.ts";
export * as JsonText from "./JsonText.ts";
export * as Ndjson from "./format/Ndjson.ts";
export * as Output from "./output/Output.ts";
export * as PageFacts from "./tenant/PageFacts.ts";
export * as PageWalk from "./walk/PageWalk.ts";
export * as Parquet from "./format/Parquet.ts";
export * as RateLimit from "./tenant/RateLimit.ts";
export * as Redact from "./Redact.ts";
export * as Replay from "./dataset/Replay.ts";
export * as Room from "./Room.ts";
export * as Session from "./Session.ts";
export * as SessionsApi from "./tenant/SessionsApi.ts";
export * as SessionSource from "./walk/SessionSource.ts";
export * as StateFile from "./dataset/StateFile.ts";
export * as StateStore from "./walk/StateStore.ts";
export * as Tenant from "./tenant/Tenant.ts";
export * as Transport from "./tenant/Transport.ts";
export * as UsersApi from "./tenant/UsersApi.ts";
export * as UserSource from "./walk/UserSource.ts";
export * as Verify from "./dataset/Verify.ts";
export * as Web from "./output/Web.ts";
