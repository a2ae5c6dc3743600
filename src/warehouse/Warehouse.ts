/**
 * A table that equals the tenant: {@link sync} brings it up to date, {@link load} brings an exported folder into it. Any
 * {@link Target} that passes {@link contract} can hold it.
 *
 * @example
 * ```ts
 * import { TenantClient, Transport } from "monocloud-sessions";
 * import { make as makeTarget } from "monocloud-sessions/duckdb";
 * import { Warehouse } from "monocloud-sessions/effect/warehouse";
 * import { make } from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = make({ users: 3, sessionsPerUser: 5 });
 * const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const folder = await mkdtemp(join(tmpdir(), "example-"));
 * const syncing = Warehouse.sync({
 *   target: makeTarget({ path: join(folder, "sessions.duckdb") }),
 *   tenant: "https://sandbox.example",
 *   users: Warehouse.allUsers(),
 *   prune: true,
 * });
 * const { inserted, verified } = await Effect.runPromise(Effect.provide(syncing, tenant));
 * console.assert(inserted === 15 && verified);
 * await rm(folder, { recursive: true });
 * ```
 *
 * @module
 */
export { type Check, contract } from "./contract.ts";
export { load, type LoadOptions, type LoadProgress } from "./Load.ts";
export type { Report } from "./Report.ts";
export { sync, type SyncOptions } from "./Sync.ts";
export { isTargetError, TargetError } from "./Target.ts";
export type {
  Column,
  Connection,
  ConnectOptions,
  Described,
  Dialect,
  Found,
  Kind,
  Parameter,
  Rows,
  Target,
  TargetErrorReason,
  TargetFailure,
  Value,
} from "./Target.ts";
export type { WarehouseOptions } from "./WarehouseOptions.ts";
export { all as allUsers, of as theseUsers, type UserList } from "../source/UserList.ts";
