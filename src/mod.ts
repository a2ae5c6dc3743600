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
export * as Csv from "./format/csv/encode.ts";
export * as Dataset from "./dataset/Dataset.ts";
export * as DecodedRow from "./format/DecodedRow.ts";
export * as Format from "./format/Format.ts";
export * as Export from "./export/Export.ts";
export * as File from "./sink/FileSink.ts";
export * as Formats from "./format/Formats.ts";
export * as Gzip from "./sink/GzipSink.ts";
export * as SchemaPredicate from "./scan/SchemaPredicate.ts";
export * as HttpPolicy from "./api/HttpPolicy.ts";
export * as RowSlices from "./scan/RowSlices.ts";
export * as JsonMembers from "./scan/JsonMembers.ts";
export * as Ndjson from "./format/ndjson/encode.ts";
export * as Output from "./sink/Output.ts";
export * as PageFacts from "./api/PaginationHeader.ts";
export * as PageWalk from "./source/paging/PageWalk.ts";
export * as Parquet from "./format/parquet/encode.ts";
export * as RateLimit from "./api/rate/RateLimiter.ts";
export * as Redact from "./session/Redaction.ts";
export * as Replay from "./dataset/quarantine/Replay.ts";
export * as Session from "./session/Session.ts";
export * as SessionsApi from "./api/SessionsApi.ts";
export * as SessionSource from "./source/SessionSource.ts";
export * as StateFile from "./dataset/CursorFile.ts";
export * as StateStore from "./source/incremental/CursorStore.ts";
export * as Tenant from "./api/Tenant.ts";
export * as Transport from "./api/transport/Transport.ts";
export * as UsersApi from "./api/UsersApi.ts";
export * as UserSource from "./source/UserSource.ts";
export * as Verify from "./dataset/verify/Verify.ts";
export * as Web from "./sink/WebSink.ts";
