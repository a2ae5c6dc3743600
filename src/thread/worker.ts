/**
 * The module that a thread loads, in every runtime: it serves exports to whoever started it.
 *
 * @module
 */
import type { ThreadPort } from "./AnyWorker.ts";
import * as Runner from "./Runner.ts";

// Asked for in this way, no bundler for browsers looks for the module.
const ofNode = () => globalThis.process?.getBuiltinModule?.("node:worker_threads").parentPort;

// Only a thread of the web has this function among its globals; a page has as well, and is none.
const isWebThread = "postMessage" in globalThis && !("document" in globalThis);

const port = isWebThread ? globalThis : ofNode();

if (port !== null && port !== undefined) void Runner.serve(port as unknown as ThreadPort);
