/**
 * Exports off the thread that asks for them, as promises and streams.
 *
 * @module
 */
export type * from "./AnyWorker.ts";
export { exportSessions, serve, stream } from "./offThread.ts";
export type * from "./PlainOptions.ts";
