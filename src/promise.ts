/**
 * Everything an application needs, for people who do not write Effect: promises, async iterables and web streams.
 *
 * Its types name nothing of Effect. It loads Node's modules only when files are asked for, so it bundles for browsers.
 *
 * @module
 */
export { response, stream } from "./promise/bytes.ts";
export { type Change, changes, type ChangesOptions, type CursorStore } from "./promise/changes.ts";
export { dataset, type DatasetOptions } from "./promise/dataset.ts";
export { exportSessions, type ExportSessionsOptions } from "./promise/exportSessions.ts";
export { type SessionCallbacks, sessions } from "./promise/sessions.ts";
export {
  load,
  type LoadOptions,
  sync,
  type SyncOptions,
  type WarehouseOptions,
} from "./promise/warehouse.ts";
export { replay, type ReplayOptions, verify, type VerifyOptions } from "./promise/verify.ts";
export * from "./promise/Errors.ts";
export type * from "./plain/Report.ts";
export type * from "./plain/Session.ts";
export type * from "./plain/SessionsOptions.ts";
export type { Target } from "./plain/Target.ts";
