/**
 * A program of a machine that takes part in a run in shards: `coordinate ROOT COUNT [prune]` deals users to shards, and walks
 * them itself; `attempt ROOT SHARD` walks one and prints its report. SIGINT and SIGTERM break it off, with exit code 75.
 */
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { type ApiError, Dataset, Formats, TenantClient, Transport, UserSource } from "../../src/mod.ts";

type Dispatch = Dataset.ShardsOptions<ApiError.ApiError, TenantClient.TenantClient>["dispatch"];

const [role, root = "", what = "", prune] = process.argv.slice(2);
const [domain = "", apiKey = ""] = [process.env["MONOCLOUD_DOMAIN"], process.env["MONOCLOUD_API_KEY"]];

const common = {
  root,
  formats: ["ndjson", "csv", "parquet"].map((name) => Formats.choose(name)!),
  tenant: domain,
  partRows: 30,
};

const attempt = (shard: string) => Dataset.runShard({ ...common, shard });

const dispatch: Dispatch = (shards, publish) =>
  Effect.as(
    Effect.forEach(
      shards,
      ({ shard, id }) => Effect.flatMap(attempt(id), (report) => publish(shard, report.attempt)),
      { concurrency: 2 },
    ),
    [],
  );

const work: Effect.Effect<unknown, unknown, TenantClient.TenantClient> = role === "attempt"
  ? attempt(what)
  : Dataset.run({
    ...common,
    users: { ids: Stream.mapConcat(UserSource.all(), ({ userIds }) => userIds), identity: "all", all: true },
    mode: "resume",
    ...(prune && { changes: "since-last", prune: true }),
    shards: { count: Number(what), dispatch },
  });

const tenant = TenantClient.layer({ domain, apiKey, rate: 5000 }).pipe(Layer.provide(Transport.fetch()));
const fiber = Effect.runFork(Effect.provide(work, tenant));
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => Effect.runFork(Fiber.interrupt(fiber)));
}
const exit = await Effect.runPromise(Fiber.await(fiber));
if (Exit.isSuccess(exit)) process.stdout.write(JSON.stringify(exit.value));
else {
  process.stderr.write(`${exit.cause}\n`);
  process.exitCode = Exit.isInterrupted(exit) ? 75 : 1;
}
