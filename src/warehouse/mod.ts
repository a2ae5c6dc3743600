/**
 * Tables that stay equal to the tenant, in Effect.
 *
 * @module
 */
import "../needsEffect3.ts";

export * as Warehouse from "./Warehouse.ts";
