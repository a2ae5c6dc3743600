/**
 * Limits of a server, as the environment and callers set them alike.
 *
 * @module
 */

/** Limits of a server. */
export interface Limits {
  /** Exports that run at once. @default {2} */
  readonly exports: number;
  /** Exports that may wait besides. @default {100} */
  readonly queue: number;
  /** Downloads at once. @default {256} */
  readonly downloads: number;
  /** Streams of events at once. @default {256} */
  readonly streams: number;
  /** Seconds that an answer may wait for its reader. @default {120} */
  readonly idleSeconds: number;
  /** Seconds that a request may take to arrive, its body included. @default {60} */
  readonly requestSeconds: number;
  /** Seconds that downloads may go on once the server is told to stop. @default {20} */
  readonly graceSeconds: number;
}

/** Limits of which any may be left out. */
export type SomeLimits = { readonly [Name in keyof Limits]?: Limits[Name] | undefined };
