/** What is measured: the library, put together as the command does it. */
import { Export, Formats, SessionSource, Sinks, TenantClient, Transport } from "monocloud-sessions";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import type { Job } from "./job.ts";

const transport = "Deno" in globalThis
  ? Transport.fetch()
  : (await import("monocloud-sessions/undici")).layer;

export const run = async (
  { url, users, pageSize, concurrency, isUnverified, out, rate = 1e6 }: Job,
): Promise<void> => {
  const tenant = Layer.provide(
    TenantClient.layer({ domain: url, apiKey: "sandbox-key", rate }),
    transport,
  );
  const report = await Effect.runPromise(Effect.provide(
    Export.run({
      source: SessionSource.batches(Stream.fromIterable(users), { pageSize, concurrency }),
      targets: Object.values(out).map((path) => ({
        format: Formats.ofPath(path)!.format,
        output: Sinks.file(path),
      })),
    }),
    tenant,
  ));
  if (!report.verified && isUnverified !== true) throw new Error("The export is not verified");
};
