/**
 * Requests by undici, as an entry of the package.
 *
 * @module
 */
import "../../needsEffect3.ts";

export * from "./Undici.ts";
