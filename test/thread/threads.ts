/** Real threads of Node over a real tenant on loopback. */
import { Worker, type WorkerOptions } from "node:worker_threads";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import type * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import { onTestFinished } from "vitest";
import * as Export from "../../src/export/Export.ts";
import * as Formats from "../../src/format/Formats.ts";
import * as GzipSink from "../../src/sink/GzipSink.ts";
import type { Sink } from "../../src/sink/Sink.ts";
import { make, type SandboxOptions, serve } from "../../src/sandbox/mod.ts";
import * as TenantClient from "../../src/api/TenantClient.ts";
import { type Thread, ThreadError } from "../../src/thread/effect.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import * as SessionSource from "../../src/source/SessionSource.ts";

export { ThreadError };

/** What a thread loads, built: Node can't load it from source. */
export const entry = new URL("../../dist/thread/worker.js", import.meta.url);

/** Starts threads, and keeps them to be looked at. */
export const spawner = (options: WorkerOptions = {}, module: string | URL = entry) => {
  const started: Array<Worker> = [];
  const spawn = () => {
    const worker = new Worker(module, options);
    started.push(worker);
    return worker;
  };
  return { spawn, started, options: { spawn } };
};

/** A script in place of this package's module. Files are named in full: it has no place of its own. */
export const scripted = (script: string) => spawner({ eval: true }, script);

/** A tenant on a port. */
export const tenantOf = async (options: SandboxOptions = {}) => {
  const sandbox = make({ users: 5, sessionsPerUser: 120, seed: 3, ...options });
  const server = await serve(sandbox);
  onTestFinished(() => server.close());
  return {
    sandbox,
    users: [...sandbox.userIds()],
    tenant: { domain: server.url, apiKey: sandbox.key, rate: 100_000, baseDelay: 1, maxDelay: 5 },
  };
};

export const run = <A, E>(work: Effect.Effect<A, E, Scope.Scope>): Promise<A> =>
  Effect.runPromise(Effect.scoped(work));

/** What work fails with. */
export const failure = <A, E>(work: Effect.Effect<A, E, Scope.Scope>): Promise<E> => run(Effect.flip(work));

/** An output that keeps its bytes. */
export const memory = (name: string) => {
  const chunks: Array<Uint8Array> = [];
  let state: "closed" | "open" | "committed" | "undone" = "closed";
  const size = () => chunks.reduce((sum, { length }) => sum + length, 0);
  const output: Sink = {
    name,
    open: Effect.acquireRelease(
      Effect.sync(() => {
        state = "open";
        return {
          write: (bytes: Uint8Array<ArrayBuffer>) => Effect.sync(() => void chunks.push(bytes)),
          commit: Effect.sync(() => {
            state = "committed";
            return { bytes: size() };
          }),
        };
      }),
      () =>
        Effect.sync(() => {
          if (state === "open") state = "undone";
        }),
    ),
  };
  return { output, bytes: () => Buffer.concat(chunks), size, state: () => state };
};

/** The same export in this thread. */
export const inThread = (options: Thread.ExportOptions) => {
  const http = TenantClient.layer(options.tenant).pipe(Layer.provide(Transport.fetch()));
  const work = Effect.suspend(() =>
    Export.run({
      source: SessionSource.batches(Stream.fromIterable(options.users), options.walk),
      targets: options.targets.map(({ format, gzip, to }) => ({
        format: Formats.make(format, options),
        output: gzip ? GzipSink.make(to as Sink) : to as Sink,
      })),
      quarantine: options.quarantine as Sink | undefined,
      onInvalid: options.onInvalid,
      maxQuarantined: options.maxQuarantined,
    })
  );
  return Effect.provide(work, http);
};
