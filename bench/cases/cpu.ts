/** CPU time a session: one user with 200,000 sessions, to each format and to all, beside what people would use instead. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Job } from "../job.ts";
import { inTurn, median, ratio, runJob, runProgram, type Taken } from "../measure.ts";
import type { Section } from "../report.ts";
import { sameRows } from "../outputs.ts";
import type { Bench } from "../case.ts";

const CONCURRENCY = 16;
const curl = fileURLToPath(new URL("../peers/curl.sh", import.meta.url));

/** `kind` of rows, `sessions` of them. */
const contendersFor = (
  { tenant, folder, isQuick }: Bench,
  sessions: number,
  pageSize: number,
): Readonly<Record<string, () => Promise<Taken>>> => {
  const file = (name: string) => join(folder, name);
  const job = (contender: Job["contender"], kind: string, out: Job["out"], runtime?: "deno") => () =>
    runJob({
      contender,
      url: tenant.url,
      users: [`${kind}-${sessions}-0`],
      pageSize,
      concurrency: CONCURRENCY,
      isUnverified: kind === "bad",
      out,
      runtime,
    });
  const all = (name: string) => ({
    ndjson: file(`${name}.ndjson`),
    csv: file(`${name}.csv`),
    parquet: file(`${name}.parquet`),
  });
  return {
    limit: job("limit", "good", {}),
    "SDK loop, NDJSON": job("sdkLoop", "good", { ndjson: file("sdk.ndjson") }),
    NDJSON: job("ours", "good", { ndjson: file("ours.ndjson") }),
    CSV: job("ours", "good", { csv: file("ours.csv") }),
    Parquet: job("ours", "good", { parquet: file("ours.parquet") }),
    "all three": job("ours", "good", all("all")),
    ...(!isQuick && {
      "got and csv-stringify, CSV": job("gotPaginate", "good", { csv: file("got.csv") }),
      "curl and jq, NDJSON": async () => {
        const taken = await runProgram("bash", [
          ...["-c", 'rm -f "$3"; exec bash "$0" "$@"', curl, tenant.url, String(pageSize)],
          ...[file("curl.ndjson"), `good-${sessions}-0`],
        ]);
        if (taken.code !== 0) throw new Error(taken.err);
        return taken;
      },
      "NDJSON, 1 in 50 rows no session": job("ours", "bad", { ndjson: file("bad.ndjson") }),
      "all three, unknown fields": job("ours", "odd", all("odd")),
      "SDK loop, unknown fields": job("sdkLoop", "odd", { ndjson: file("sdk-odd.ndjson") }),
      "NDJSON on Deno": job("ours", "good", { ndjson: file("deno.ndjson") }, "deno"),
    }),
  };
};

const atSize = async (bench: Bench, pageSize: number) => {
  const sessions = bench.isQuick ? 50_000 : 200_000;
  const file = (name: string) => join(bench.folder, name);
  await bench.tenant.behave({});
  const contenders = contendersFor(bench, sessions, pageSize);
  const taken = await inTurn(contenders, bench.isQuick ? 3 : 5, async () => {
    await sameRows([file("ours.ndjson"), file("sdk.ndjson"), file("all.ndjson")]);
    await sameRows([file("ours.csv"), file("all.csv")]);
    await sameRows([file("ours.ndjson"), file("ours.parquet"), file("all.parquet")]);
    if (bench.isQuick) return;
    await sameRows([file("ours.ndjson"), file("curl.ndjson"), file("deno.ndjson")]);
    await sameRows([file("ours.csv"), file("got.csv")]);
  });
  const rows = Object.keys(contenders).map((name) => {
    const all = taken.get(name)!;
    const against = (other: string) => ratio(taken, name, other, "workCpuSeconds");
    const { median: times, least, most } = against("limit");
    return {
      what: name,
      "CPU µs a session": median(all.map(({ workCpuSeconds }) => workCpuSeconds)) / sessions * 1e6,
      "wall µs": median(all.map(({ workSeconds }) => workSeconds)) / sessions * 1e6,
      "times the limit": times,
      "least to most": `${least.toFixed(2)} to ${most.toFixed(2)}`,
      "of the SDK loop": against("SDK loop, NDJSON").median,
      "with start-up, CPU s": median(all.map(({ cpuSeconds }) => cpuSeconds)),
      "peak MB": median(all.map(({ peakMB }) => peakMB)),
    };
  });
  await bench.tenant.behave({});
  const limit = await contenders["limit"]!();
  const { cpuSeconds } = await bench.tenant.account();
  return { pageSize, sessions, rows, busy: cpuSeconds / limit.wallSeconds };
};

export const run = async (bench: Bench): Promise<Section> => {
  const sizes = [];
  for (const pageSize of bench.isQuick ? [1000] : [1000, 100]) sizes.push(await atSize(bench, pageSize));
  return {
    title: "CPU time a session",
    words:
      `One user, ${CONCURRENCY} requests at once, to files. The limit is undici and \`JSON.parse\` alone, nothing kept: what ` +
      "parsing alone takes. Files were compared first: those of one format hold the same rows. While the limit ran, " +
      `the tenant was busy ${
        sizes.map(({ busy }) => `${Math.round(busy * 100)} %`).join(" and ")
      } of the time on a core of ` +
      "its own, so it held nobody back.",
    tables: sizes.map(({ pageSize, sessions, rows }) => ({
      title: `${sessions.toLocaleString("en")} sessions, ${pageSize} a page`,
      rows,
    })),
    plots: sizes.map(({ pageSize, rows }) => ({
      name: `cpu-${pageSize}`,
      title: `CPU µs a session, ${pageSize} sessions a page`,
      bars: rows
        .filter(({ what }) => !/unknown|no session|Deno/.test(what))
        .map((row) => ({
          label: row.what,
          value: row["CPU µs a session"],
          isOurs: /^(NDJSON|CSV|Parquet|all three)$/.test(row.what),
        })),
    })),
  };
};
