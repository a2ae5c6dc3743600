/**
 * Limits of a server, as the environment and callers set them alike.
 *
 * @module
 */

/** How much a server does at once, and for how long. */
export interface Limits {
  /** How many exports run at once. @default {2} */
  readonly exports: number;
  /** How many more may wait. @default {100} */
  readonly queue: number;
  /** How many downloads there may be at once. @default {256} */
  readonly downloads: number;
  /** How many exports may be watched at once, each by a stream of events. @default {256} */
  readonly streams: number;
  /** How long an answer may wait for its reader. @default {120} */
  readonly idleSeconds: number;
  /** How long a request may take to arrive, its body included. @default {60} */
  readonly requestSeconds: number;
  /** How long downloads may go on once the server is told to stop. @default {20} */
  readonly graceSeconds: number;
}

/** Limits of which any may be left out. */
export type SomeLimits = { readonly [Name in keyof Limits]?: Limits[Name] | undefined };
