/** The program of `monocloud-sessions work`. */
import process from "node:process";
import * as Headers from "@effect/platform/Headers";
import * as Effect from "effect/Effect";
import * as Worker from "../../queue/Worker.ts";
import * as Trace from "../../server/telemetry/Trace.ts";
import { exitCodes } from "../ExitCode.ts";
import type { WorkArgs } from "../options/QueueFlags.ts";
import * as Terminal from "../ui/Terminal.ts";
import * as Queueing from "./queueing.ts";
import { run as shardWork } from "./shardWork.ts";
import * as Tracing from "./tracing.ts";

const tell = (line: string) =>
  Terminal.say([process.stderr.isTTY ? line : `${new Date().toISOString().slice(0, 19)}Z ${line}`]);

/** Trace the work on a shard, as a part of its run. */
const tracedWork: typeof shardWork = (job, context) =>
  shardWork(job, context).pipe(
    Trace.span("shard", { job: job.job, shard: job.shard, tenant: job.tenant, attempt: context.attempt }),
    Trace.within(Headers.fromInput({ traceparent: job.trace })),
  );

export const run = ({ queue, tenants, targets, atOnce, rate, lease }: WorkArgs) =>
  Effect.flatMap(Tracing.destination, (to) =>
    Effect.scoped(Effect.gen(function* () {
      const server = yield* Queueing.connect(queue);
      // It ends by a signal, and then all is well.
      yield* Effect.addFinalizer(() => Effect.sync(() => void (process.exitCode = exitCodes.done)));
      const places = { tenants, targets };
      yield* Worker.start({ work: tracedWork, server, places, atOnce, rate, lease, tell });
      yield* Effect.never;
    })).pipe(
      Effect.provide(Tracing.transport(to)),
      Tracing.sending(to),
      Effect.provide(Terminal.logger),
    ));
