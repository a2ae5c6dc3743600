/**
 * How a thread is started where nobody says otherwise.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import { ThreadError } from "./ThreadError.ts";
import type { AnyWorker } from "./WorkerPort.ts";

const ofWeb = (): AnyWorker =>
  import.meta.url.endsWith(".ts")
    ? new Worker(import.meta.url.replace(/[^/]*$/, "webEntry.ts"), { type: "module" })
    // In this form bundlers find the module.
    : new Worker(new URL("./webEntry.js", import.meta.url), { type: "module" });

/** By `Worker` where there is one (Deno, Bun, browsers), else by `node:worker_threads`. */
export const byDefault: Effect.Effect<() => AnyWorker, ThreadError> = Effect.suspend(() =>
  typeof Worker === "undefined"
    ? Effect.tryPromise({
      try: async (): Promise<() => AnyWorker> => (await import("./NodeWorker.ts")).spawn,
      catch: (cause) => new ThreadError({ reason: "Spawn", detail: String(cause) }),
    })
    : Effect.succeed(ofWeb)
);
