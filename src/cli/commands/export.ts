/** The program of `monocloud-sessions export`. */
import { join } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import * as TenantClient from "../../api/TenantClient.ts";
import * as Layout from "../../dataset/Layout.ts";
import * as Export from "../../export/Export.ts";
import * as SessionSource from "../../source/SessionSource.ts";
import * as Destination from "../options/Destination.ts";
import type { Args } from "../options/ExportFlags.ts";
import * as Limited from "../options/Limited.ts";
import * as Interruption from "../ui/Interruption.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Summary from "../ui/Summary.ts";
import * as Terminal from "../ui/Terminal.ts";
import { type Plan, planOf } from "./exportPlan.ts";
import * as Inputs from "./inputs.ts";
import { tenantLayer } from "./tenantLayer.ts";
import * as Tracing from "./tracing.ts";

const conclude = (args: Args, told: Summary.Told) =>
  Summary.conclude(told, { ...args, isComplete: Summary.isComplete(told, args) });

/** Run the export into files, which are all of them complete or none. */
const toFiles = (
  { args, users, walk, redact, progress }: Plan,
  { targets, quarantine, usesPipe }: Extract<Destination.Destination, { readonly kind: "files" }>,
) =>
  Effect.gen(function* () {
    const { traffic } = yield* TenantClient.TenantClient;
    const { since } = args;
    const all = since === undefined
      ? SessionSource.batches(users.ids, walk)
      : SessionSource.changes(users.ids, { ...walk, ...since });
    const { batches, isCut } = Limited.to(all, args.limit);
    // What is said of complete files is said whoever interrupts: from then on there is nothing left to stop.
    const onComplete = (report: Export.Report) => {
      const { requests, retries } = traffic();
      const told = { ...Export.withUserList(report, users.unverifiedReasons?.() ?? []), requests, retries };
      return conclude(args, isCut() ? { ...told, verified: false, isLimited: true } : told);
    };
    yield* Export.run({
      source: Stream.map(batches, redact),
      targets,
      quarantine,
      onInvalid: args.onInvalid,
      maxQuarantined: args.maxQuarantined,
      progress,
      onComplete,
    });
  }).pipe(
    Effect.onInterrupt(() =>
      process.exitCode === undefined ? Terminal.say(Interruption.ofFiles(usesPipe)) : Effect.void
    ),
  );

/** Run the export into a folder. An interruption is told of while its program loads, too. */
const toFolder = (
  plan: Plan,
  destination: Extract<Destination.Destination, { readonly kind: "dataset" }>,
) => {
  const { root } = destination;
  return Effect.promise(() => import("./exportFolder.ts")).pipe(
    Effect.flatMap(({ toFolder }) => toFolder(plan, destination)),
    Effect.onError((cause) =>
      Terminal.say(Interruption.ofDataset(root, Destination.isThere(join(root, Layout.names.journal)), cause))
    ),
    Effect.flatMap((told) => conclude(plan.args, told)),
  );
};

type ExportFailure = Effect.Effect.Error<ReturnType<typeof toFiles> | ReturnType<typeof toFolder>>;

type Exporting = Effect.Effect<void, ExportFailure, TenantClient.TenantClient>;

/** Show how far an export has come, and say what there is to say of it beforehand. */
const shown = ({ args, rate, destination, queue, users, progress }: Plan, exporting: Exporting) =>
  Effect.gen(function* () {
    if (args.quiet) return yield* exporting;
    const { traffic } = yield* TenantClient.TenantClient;
    const isFiles = destination.kind === "files";
    if (!isFiles && args.sinceLast && !Destination.isThere(join(destination.root, Layout.names.manifest))) {
      yield* Terminal.say([`There is no earlier run in ${destination.root}: this one exports everything`]);
    }
    if (isFiles) {
      yield* Terminal.say(destination.replaced.map((path) => `The export replaces ${path}, which exists`));
    }
    const usersTotal = () => progress.usersTotal ?? users.total?.();
    const size = () => ({
      users: usersTotal(),
      sessions: progress.listed,
      pageSize: args.pageSize,
      rate,
    });
    return yield* ProgressBar.during(
      isFiles && !destination.usesPipe ? Interruption.advising(exporting, size) : exporting,
      () => ({
        ...(queue === undefined ? progress : Export.sumOfProgress([progress, ...queue.view.under])),
        ...Inputs.withWorkers(traffic(), queue),
        usersTotal: usersTotal(),
        limit: rate,
      }),
    );
  });

export const run = (args: Args) =>
  Effect.scoped(Effect.gen(function* () {
    const plan = yield* planOf(args);
    const { destination, tenant, rate, queue } = plan;
    const exporting: Exporting = destination.kind === "files"
      ? toFiles(plan, destination)
      : toFolder(plan, destination);
    const { maxElapsed, verbose } = args;
    const limits = { rate, maxElapsed, maxBodyBytes: args.maxBodyBytes };
    yield* Effect.provide(shown(plan, exporting), tenantLayer(tenant, limits, verbose, queue)).pipe(
      Tracing.ofRun(queue, { tenant: args.tenant, target: args.target, kind: "folder" }),
    );
  }));
