/**
 * Threads of Node. The one module here, beside what such a thread loads, that needs Node.
 *
 * @module
 */
import { Worker } from "node:worker_threads";

/** Starts a thread. It shares nothing with this one: no environment, no arguments, but standard output and error. */
export const spawn = (): Worker =>
  // Built, the module beside this one has its name. From source Node can't load it as a thread.
  new Worker(new URL("./nodeEntry.js", import.meta.url), { env: {}, argv: [], execArgv: [] });
