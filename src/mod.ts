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
export * as Dataset from "./dataset/Dataset.ts";
export * as Export from "./export/Export.ts";
export * as Format from "./format/Format.ts";
export * as Formats from "./format/Formats.ts";
export * as Redaction from "./session/Redaction.ts";
export * as Session from "./session/Session.ts";
export * as SessionSource from "./source/SessionSource.ts";
export * as Sinks from "./sink/Sinks.ts";
export * as Tenant from "./api/Tenant.ts";
export * as TenantClient from "./api/TenantClient.ts";
export * as Transport from "./api/transport/Transport.ts";
export * as UserSource from "./source/UserSource.ts";
