/** What is measured: the library, put together as the command does it. */
import { Export, File, Formats, HttpPolicy, SessionSource } from "monocloud-sessions";
import * as Undici from "monocloud-sessions/undici";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import type { Job } from "./contender.ts";

export const run = async ({ url, users, pageSize, concurrency, out }: Job): Promise<void> => {
  const tenant = Layer.provide(
    HttpPolicy.connect({ domain: url, apiKey: "sandbox-key", rate: 1e6 }),
    Undici.layer,
  );
  const report = await Effect.runPromise(Effect.provide(
    Export.run({
      source: SessionSource.batches(Stream.fromIterable(users), { pageSize, concurrency }),
      targets: Object.values(out).map((path) => ({
        format: Formats.ofPath(path)!.format,
        output: File.make(path),
      })),
    }),
    tenant,
  ));
  if (!report.verified || report.rejected > 0) throw new Error("The export is not verified");
};
