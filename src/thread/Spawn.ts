/** The start of a thread where nobody says otherwise. */
import type { AnyWorker } from "./AnyWorker.ts";

const ofWeb = (): AnyWorker =>
  import.meta.url.endsWith(".ts")
    ? new Worker(import.meta.url.replace(/[^/]*$/, "worker.ts"), { type: "module" })
    // In this form bundlers find the module.
    : new Worker(new URL("./worker.js", import.meta.url), { type: "module" });

/** Starts a thread of Node, which shares nothing with this one: no environment, no arguments, but standard output and error. */
const ofNode = (): AnyWorker => {
  // Asked for in this way, no bundler for browsers looks for the module.
  const threads = globalThis.process?.getBuiltinModule?.("node:worker_threads");
  if (threads === undefined) throw new Error("this runtime has no threads");
  // Built, the module beside this one has its name. From source Node can't load it as a thread.
  const module = import.meta.url.replace(/[^/]*$/, "worker.js");
  // But for how modules are found, which Yarn's PnP says there.
  const { versions, env } = globalThis.process;
  const shared = versions["pnp"] === undefined ? {} : { NODE_OPTIONS: env["NODE_OPTIONS"] ?? "" };
  return new threads.Worker(new URL(module), { env: shared, argv: [], execArgv: [] });
};

/** Starts a thread by `Worker` where there is one (Deno, Bun, browsers), else by `node:worker_threads`. */
export const byDefault = (): AnyWorker => typeof Worker === "undefined" ? ofNode() : ofWeb();
