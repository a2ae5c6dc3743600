/** One contender, one job, in a process of its own: told on standard input, what it took told on standard output. */
import { readFileSync } from "node:fs";
import type { Job } from "./job.ts";

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
