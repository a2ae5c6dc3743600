/** The export into a folder, by this process or in shards by others. */
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Dataset from "../../dataset/Dataset.ts";
import type { OpenShard, Publish } from "../../dataset/DatasetOptions.ts";
import * as Formats from "../../format/Formats.ts";
import type * as ShardJob from "../../queue/ShardJob.ts";
import type * as Destination from "../options/Destination.ts";
import type * as Summary from "../ui/Summary.ts";
import * as Terminal from "../ui/Terminal.ts";
import type { Plan } from "./exportPlan.ts";
import * as Inputs from "./inputs.ts";
import type { Queue } from "./queueing.ts";

/** Have workers do the shards of an export. */
const inShards = (
  { args, users, redactSecret }: Plan,
  queue: Queue,
  formats: ReadonlyArray<Formats.Choice>,
) => ({
  count: args.shards ?? Inputs.SHARDS,
  dispatch: (open: ReadonlyArray<OpenShard>, publish: Publish) => {
    const run = open[0]!.id.split("/")[0]!;
    return Effect.flatMap(
      Effect.promise(() => import("./queueing.ts")),
      ({ dispatch }) =>
        dispatch(queue, args, redactSecret, {
          job: run,
          target: args.target,
          into: {
            kind: "folder",
            run,
            formats: formats.map(Formats.nameOf) as unknown as ShardJob.Folder["formats"],
            on_invalid: args.onInvalid,
            part_rows: args.partRows,
            part_bytes: args.partBytes,
            keep_formulas: args.keepFormulas,
            parquet_version: args.parquetVersion,
            row_group_rows: args.rowGroupRows,
            sort: args.sort,
          },
          users_listed: users.all === true,
        }, {
          shards: open,
          // A failure to write ends the run by itself.
          publish: (shard, attempt) =>
            publish(shard, attempt ?? "").pipe(
              Effect.as(undefined),
              Effect.catchTag("DatasetError", ({ message }) => Effect.succeed(message)),
            ),
        }),
    );
  },
});

export const toFolder = (
  plan: Plan,
  { root, formats }: Extract<Destination.Destination, { readonly kind: "dataset" }>,
) => {
  const { args, users, tenant, queue, walk, redact, progress } = plan;
  return Effect.map(
    Dataset.run({
      ...args,
      root,
      formats,
      users,
      tenant: tenant.origin,
      mode: args.resume ? "resume" : "new",
      walk,
      options: { keepFormulas: args.keepFormulas, redact: args.redact },
      changes: args.sinceLast ? "since-last" : args.since,
      byActivity: args.byActivity ? { sweepEvery: args.sweepEvery / 1000 } : undefined,
      change: redact,
      progress,
      shards: queue && inShards(plan, queue, formats),
    }),
    ({ user_list_unverified_reasons, wasFinished, options: _, files, ...report }) => ({
      ...report,
      userListUnverifiedReasons: user_list_unverified_reasons,
      wasFinished,
      folder: root,
      files: files.map(({ path, ...file }) => ({ name: join(root, path), ...file })),
    } satisfies Summary.Told),
  ).pipe(Effect.provide(Terminal.logger));
};
