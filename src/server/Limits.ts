/**
 * Limits of a server, in one table: variables of the environment, help and options derive from it.
 *
 * @module
 */

/** Give a limit: its variable, its range, and what help says of it. */
const limit = (variable: string, least: number, most: number, byDefault: number, text: string) => ({
  variable,
  least,
  most,
  byDefault,
  text,
});

/** Limits of a server. */
export const limits = {
  /** Exports that run at once. @default {2} */
  exports: limit("WORKER_EXPORTS", 1, 100, 2, "Exports that run at once."),
  /** Exports that may wait besides. @default {100} */
  queue: limit("WORKER_QUEUE", 0, 10_000, 100, "Exports that wait for their turn."),
  /** Downloads at once. @default {256} */
  downloads: limit("WORKER_DOWNLOADS", 1, 10_000, 256, "Downloads at once."),
  /** Streams of events at once. @default {256} */
  streams: limit("WORKER_STREAMS", 1, 10_000, 256, "Event streams at once."),
  /** Seconds that an answer may wait for its reader. @default {120} */
  idleSeconds: limit("WORKER_IDLE_SECONDS", 1, 86_400, 120, "How long an answer waits for its reader."),
  /** Seconds that a request may take to arrive, its body included. @default {60} */
  requestSeconds: limit("WORKER_REQUEST_SECONDS", 1, 3600, 60, "How long a request may take to arrive."),
  /** Seconds that downloads may go on once the server is told to stop. @default {20} */
  graceSeconds: limit(
    "WORKER_GRACE_SECONDS",
    0,
    3600,
    20,
    "How long downloads may go on once serve is told to stop.",
  ),
};

type Limit = ReturnType<typeof limit>;

/** Limits of a server. */
export type Limits = { readonly [Name in keyof typeof limits]: number };

/** Limits of which any may be left out. */
export type SomeLimits = { readonly [Name in keyof typeof limits]?: number | undefined };

/** Derive something for each limit. */
export const mapLimits = <A>(make: (limit: Limit) => A): { readonly [Name in keyof Limits]: A } =>
  Object.fromEntries(Object.entries(limits).map(([name, limit]) => [name, make(limit)])) as {
    readonly [Name in keyof Limits]: A;
  };
