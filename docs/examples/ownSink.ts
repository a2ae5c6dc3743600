/**
 * A sink of your own: bytes go to a store in pieces, and appear there once the export is complete.
 *
 * Run: `deno run -A docs/examples/ownSink.ts`. With Node 22.18 or later: `npm run build`, then
 * `node docs/examples/ownSink.ts`.
 */
import { Export, Formats, SessionSource, Sinks, TenantClient, Transport } from "monocloud-sessions";
import { make } from "monocloud-sessions/sandbox";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";

/** Stands for an object store with multipart uploads. */
const store = new Map<string, Blob>();

const sink = (name: string): Sinks.Sink => ({
  name,
  // Acquired in the scope of the export: the release runs if it fails, is interrupted, or is complete.
  open: Effect.gen(function* () {
    const pieces: Array<Uint8Array<ArrayBuffer>> = [];
    let bytes = 0;
    yield* Effect.addFinalizer(() => Effect.sync(() => pieces.splice(0)));
    return {
      // Returns once the bytes are taken over. That holds back a source that is faster.
      write: (chunk) =>
        Effect.sync(() => {
          pieces.push(chunk);
          bytes += chunk.length;
        }),
      commit: Effect.sync(() => {
        store.set(name, new Blob(pieces));
        return { bytes };
      }),
    };
  }),
});

const sandbox = make({ users: 3, sessionsPerUser: 4 });
const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key }).pipe(
  Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
);
const report = await Effect.runPromise(
  Export.run({
    source: SessionSource.batches(Stream.fromIterable(sandbox.userIds())),
    targets: [{ format: Formats.make("ndjson"), output: Sinks.gzip(sink("sessions.ndjson.gz")) }],
  }).pipe(Effect.provide(tenant)),
);
const stored = store.get("sessions.ndjson.gz")!;
console.log(
  `${report.sessions} sessions, ${stored.size === report.files[0]?.bytes ? "all bytes" : "not all"} stored`,
);
const text = await new Response(stored.stream().pipeThrough(new DecompressionStream("gzip"))).text();
console.log(`${text.trim().split("\n").length} lines`);
