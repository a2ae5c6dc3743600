/** Small requests: many users with ten sessions each, where what a request costs is all that counts. */
import { join } from "node:path";
import type { Job } from "../job.ts";
import { inTurn, median, ratio, runJob } from "../measure.ts";
import { sameRows } from "../outputs.ts";
import type { Section } from "../report.ts";
import type { Bench } from "../case.ts";

const CONCURRENCY = 16;

export const run = async ({ tenant, folder, isQuick }: Bench): Promise<Section> => {
  const count = isQuick ? 2_000 : 5_000;
  const users = Array.from({ length: count }, (_, n) => `good-10-${n}`);
  const file = (name: string) => join(folder, name);
  const job = (contender: Job["contender"], out: Job["out"]) => () =>
    runJob({ contender, url: tenant.url, users, pageSize: 100, concurrency: CONCURRENCY, out });
  const contenders = {
    limit: job("limit", {}),
    "SDK loop, NDJSON": job("sdkLoop", { ndjson: file("small-sdk.ndjson") }),
    NDJSON: job("ours", { ndjson: file("small.ndjson") }),
    CSV: job("ours", { csv: file("small.csv") }),
    Parquet: job("ours", { parquet: file("small.parquet") }),
  };
  await tenant.behave({});
  const taken = await inTurn(
    contenders,
    isQuick ? 3 : 7,
    () => sameRows([file("small.ndjson"), file("small-sdk.ndjson"), file("small.parquet")]),
  );
  const rows = Object.keys(contenders).map((name) => {
    const all = taken.get(name)!;
    const { median: times, least, most } = ratio(taken, name, "limit", "workSeconds");
    return {
      what: name,
      "requests a second": count / median(all.map(({ workSeconds }) => workSeconds)),
      "of the limit's": 1 / times,
      "least to most": `${(1 / most).toFixed(2)} to ${(1 / least).toFixed(2)}`,
      "CPU µs a request": median(all.map(({ workCpuSeconds }) => workCpuSeconds)) / count * 1e6,
      "times the SDK loop's speed": 1 / ratio(taken, name, "SDK loop, NDJSON", "workSeconds").median,
      "peak MB": median(all.map(({ peakMB }) => peakMB)),
    };
  });
  return {
    title: "Small requests",
    words: `${
      count.toLocaleString("en")
    } users with 10 sessions each, ${CONCURRENCY} requests at once (the SDK loop makes one at a time).`,
    tables: [{ title: "No latency", rows }],
    plots: [{
      name: "small",
      title: `Requests a second, ${count.toLocaleString("en")} users with 10 sessions`,
      bars: rows.map((row) => ({
        label: row.what,
        value: row["requests a second"],
        isOurs: !/limit|SDK/.test(row.what),
      })),
    }],
  };
};
