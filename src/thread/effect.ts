/**
 * Exports off the thread that asks for them, in Effect.
 *
 * @module
 */
import "../needsEffect3.ts";

export * as Runner from "./Runner.ts";
export * as Thread from "./Thread.ts";
export { ThreadError } from "./ThreadError.ts";
