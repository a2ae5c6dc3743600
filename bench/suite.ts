import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inTurn, median, ratio, runJob, startTenant } from "./measure.ts";
const folder = await mkdtemp(join(tmpdir(), "bench-"));
const tenant = await startTenant();
await tenant.behave({});
const rounds = Number(process.argv[4] ?? 3);
const users = process.argv[2] === "small"
  ? Array.from({ length: 5000 }, (_, n) => `good-10-${n}`)
  : ["good-200000-0"];
const total = process.argv[2] === "small" ? 5000 : 200_000;
const job = { url: tenant.url, users, pageSize: Number(process.argv[3] ?? 1000), concurrency: 16 };
const file = (f: string) => ({ [f]: join(folder, `ours.${f}`) });
const all = { ...file("ndjson"), ...file("csv"), ...file("parquet") };
const contenders = {
  limit: () => runJob({ ...job, contender: "limit", out: {} }),
  sdkLoop: () => runJob({ ...job, contender: "sdkLoop", out: { ndjson: join(folder, "sdk.ndjson") } }),
  ndjson: () => runJob({ ...job, contender: "ours", out: file("ndjson") }),
  ...(process.argv[2] === "small" ? {} : {
    got: () => runJob({ ...job, contender: "gotPaginate", out: { csv: join(folder, "got.csv") } }),
    csv: () => runJob({ ...job, contender: "ours", out: file("csv") }),
    parquet: () => runJob({ ...job, contender: "ours", out: file("parquet") }),
    all: () => runJob({ ...job, contender: "ours", out: all }),
  }),
};
const taken = await inTurn(contenders, rounds);
console.log(await tenant.account());
console.table(Object.fromEntries(
  Object.keys(contenders).map((name) => [name, {
    "us": (median(taken.get(name)!.map((t) => t.workCpuSeconds)) / total * 1e6).toFixed(2),
    wallus: (median(taken.get(name)!.map((t) => t.workSeconds)) / total * 1e6).toFixed(2),
    whole: (median(taken.get(name)!.map((t) => t.cpuSeconds)) / total * 1e6).toFixed(2),
    ratio: ratio(taken, name, "limit", "workCpuSeconds").median.toFixed(2),
    wholeRatio: ratio(taken, name, "limit", "cpuSeconds").median.toFixed(2),
    MB: Math.round(median(taken.get(name)!.map((t) => t.peakMB))),
  }]),
));
tenant.stop();
await rm(folder, { recursive: true });
