/**
 * Metrics of the runs on many machines: those of all of them together, whichever server is asked.
 *
 * @module
 */
import * as Records from "../../queue/Records.ts";
import * as Metrics from "../telemetry/Metrics.ts";
import type { Found } from "./Machines.ts";
import * as View from "./View.ts";

const upOf = (value: number) =>
  Metrics.family("gauge", "monocloud_queue_up", "Reachability of the queue's server: 1 or 0.", value);

/** Metrics where the queue's server can't be reached. */
export const unreachable: ReadonlyArray<Metrics.Family> = [upOf(0)];

/** Add up by a label. */
const summed = <A>(
  all: ReadonlyArray<A>,
  name: string,
  labelOf: (one: A) => string,
  valueOf: (one: A) => number,
): Metrics.Family["values"] => {
  const sums = new Map<string, number>();
  for (const one of all) sums.set(labelOf(one), (sums.get(labelOf(one)) ?? 0) + valueOf(one));
  return [...sums].map(([value, sum]) => [Metrics.label(name, value), sum]);
};

/** Give the metrics of what was found. */
export const of = ({ workers, runs, rates }: Found): ReadonlyArray<Metrics.Family> => {
  const { runs: told } = View.of(workers, runs);
  const alive = workers.filter(Records.isAlive);
  // One that was handed on may be named by two workers for a moment.
  const under = new Set(alive.flatMap(({ shards }) => shards));
  const shards = { waiting: 0, running: 0, done: 0, failed: 0 };
  for (const { job, shards: all, done, failed } of told) {
    const left = Math.max(0, all - done - failed);
    const running = Math.min(left, [...under].filter((shard) => shard.startsWith(`${job}.`)).length);
    shards.running += running;
    shards.waiting += left - running;
    shards.done += done;
    shards.failed += failed;
  }
  const byTenant = (name: string, help: string, valueOf: (run: typeof runs[number]) => number) =>
    Metrics.family("gauge", name, help, summed(runs, "tenant", ({ tenant }) => tenant, valueOf));
  const rateOf = (name: string, help: string, valueOf: (rate: typeof rates[number]) => number) =>
    Metrics.family("gauge", name, help, summed(rates, "tenant", ({ tenant }) => tenant, valueOf));
  return [
    upOf(1),
    Metrics.family("gauge", "monocloud_queue_workers", "Workers that live, on all machines.", alive.length),
    Metrics.family(
      "gauge",
      "monocloud_queue_shards",
      "Shards of runs that have not ended, by status.",
      Object.entries(shards).map(([status, count]) => [Metrics.label("status", status), count]),
    ),
    byTenant(
      "monocloud_queue_sessions",
      "Sessions of runs that have not ended, by tenant.",
      (run) => run.progress.sessions,
    ),
    byTenant(
      "monocloud_queue_users",
      "Users done of runs that have not ended, by tenant.",
      (run) => run.progress.users,
    ),
    byTenant(
      "monocloud_queue_requests",
      "Requests for shards of runs that have not ended, by tenant.",
      (run) => run.traffic?.requests ?? 0,
    ),
    rateOf(
      "monocloud_tenant_shared_rate",
      "Requests a second that all machines share, by tenant.",
      ({ rate }) => rate,
    ),
    rateOf(
      "monocloud_tenant_shared_held_seconds",
      "Seconds left of the pause that the tenant asked all machines for.",
      ({ heldFor }) => heldFor,
    ),
  ];
};
