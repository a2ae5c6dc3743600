/**
 * Exports off the thread that asks for them: as promises and streams, and in Effect.
 *
 * @module
 */
export type { Unverified, UnverifiedOptions } from "../export/Verdict.ts";
export { exportSessions, type ExportSessionsOptions, type OffThreadOptions, stream } from "./offThread.ts";
export * as Runner from "./Runner.ts";
export * as Thread from "./Thread.ts";
export { ThreadError } from "./ThreadError.ts";
