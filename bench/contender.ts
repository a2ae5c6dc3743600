/** One contender, one job, in a process of its own: told on standard input, what it took told on standard output. */
import { readFileSync } from "node:fs";
import type { HttpPolicy } from "monocloud-sessions";

/** Something to get out of the tenant. */
export interface Job {
  readonly contender: "limit" | "sdkLoop" | "gotPaginate" | "ours";
  readonly url: string;
  readonly users: ReadonlyArray<string>;
  readonly pageSize: number;
  /** Requests at once. @default {of ours alone: as many as it finds} */
  readonly concurrency?: number | undefined;
  /** Requests a second: of ours alone. @default {more than can be made} */
  readonly rate?: HttpPolicy.HttpPolicyOptions["rate"];
  /** @default {"node"} */
  readonly runtime?: "node" | "deno" | undefined;
  /** Whether rows are such that no walk can vouch for them. */
  readonly isDoubtful?: boolean | undefined;
  /** Where to: by format. Those that write one format take the first. */
  readonly out: Readonly<Record<string, string>>;
}

const modules = {
  limit: () => import("./peers/limit.ts"),
  sdkLoop: () => import("./peers/sdkLoop.ts"),
  gotPaginate: () => import("./peers/gotPaginate.ts"),
  ours: () => import("./ours.ts"),
} as const;

const job: Job = JSON.parse(readFileSync(0, "utf8"));
const { run } = await modules[job.contender]();
const cpuBefore = process.cpuUsage();
const began = performance.now();
await run(job);
const workSeconds = (performance.now() - began) / 1000;
const { user, system } = process.cpuUsage(cpuBefore);
process.stdout.write(JSON.stringify({ workSeconds, workCpuSeconds: (user + system) / 1e6 }));
