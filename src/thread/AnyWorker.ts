/** The two ends of a thread as the runtimes know them, in types alone. */

// deno-lint-ignore no-explicit-any
type Post = (message: any, transfer: Array<any>) => void;

/** A thread of the web: what `new Worker(…)` gives in Deno, Bun and browsers. */
export interface WebWorker {
  readonly postMessage: Post;
  // deno-lint-ignore no-explicit-any
  readonly addEventListener: (type: string, listener: (event: any) => void) => void;
  readonly terminate: () => unknown;
}

/** A thread of `node:worker_threads`. */
export interface NodeWorker {
  // deno-lint-ignore no-explicit-any
  readonly postMessage: (message: any, transfer?: ReadonlyArray<any>) => void;
  // deno-lint-ignore no-explicit-any
  readonly on: (event: any, listener: (value: any) => void) => unknown;
  readonly terminate: () => unknown;
}

/** A thread, as whoever started it sees it. */
export type AnyWorker = WebWorker | NodeWorker;

/** The thread's own end: `self` in a thread of the web, `parentPort` in one of Node. */
export interface ThreadPort {
  readonly postMessage: Post;
  // deno-lint-ignore no-explicit-any
  readonly addEventListener: (type: "message", listener: (event: any) => void) => void;
  /** Begins the messages of a `MessagePort`. */
  readonly start?: () => void;
  readonly close: () => void;
}

/** Options of the start of threads. */
export interface ThreadOptions {
  /**
   * Starts one: for a bundler that puts modules elsewhere, limits of your own (`resourceLimits` in Node), or a module of
   * your own that calls `serve`. What it loads by default is `monocloud-sessions/thread/worker`.
   *
   * @default {`Worker` with this package's module, or `node:worker_threads` in Node}
   */
  readonly spawn?: (() => AnyWorker) | undefined;
}

/** Options of a thread's own end. */
export interface RunnerOptions {
  /** Makes the requests. @default {globalThis.fetch} */
  readonly fetch?: typeof globalThis.fetch | undefined;
}
