/** The program of `monocloud-sessions work`. */
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Platform from "../../api/transport/Platform.ts";
import * as Worker from "../../queue/Worker.ts";
import { exitCodes } from "../ExitCode.ts";
import * as Terminal from "../ui/Terminal.ts";
import * as Queueing from "./queueing.ts";
import { run as shardWork } from "./shardWork.ts";

export interface WorkArgs {
  readonly queue: string | undefined;
  readonly tenants: string | undefined;
  readonly targets: string | undefined;
  readonly atOnce: number;
  readonly rate: number | "auto";
  readonly lease: number;
}

const tell = (line: string) =>
  Terminal.say([process.stderr.isTTY ? line : `${new Date().toISOString().slice(0, 19)}Z ${line}`]);

export const run = ({ queue, tenants, targets, atOnce, rate, lease }: WorkArgs) =>
  Effect.scoped(Effect.gen(function* () {
    const server = yield* Queueing.connect(queue);
    // It ends by a signal, and then all is well.
    yield* Effect.addFinalizer(() => Effect.sync(() => void (process.exitCode = exitCodes.done)));
    yield* Worker.start({ work: shardWork, server, places: { tenants, targets }, atOnce, rate, lease, tell });
    yield* Effect.never;
  })).pipe(Effect.provide(Platform.transport), Effect.provide(Terminal.logger));
