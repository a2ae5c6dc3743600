/** Latency: a tenant whose every answer takes 50 ms. */
import { join } from "node:path";
import type { Job } from "../job.ts";
import { inTurn, median, ratio, runJob } from "../measure.ts";
import { sameRows } from "../outputs.ts";
import type { Section } from "../report.ts";
import type { Bench } from "../case.ts";

const LATENCY = 50;

export const run = async ({ tenant, folder }: Bench): Promise<Section> => {
  const file = (name: string) => join(folder, name);
  await tenant.behave({ latencyMs: LATENCY });

  const measure = (users: ReadonlyArray<string>) => {
    const job = (contender: Job["contender"], concurrency: number | undefined, out: Job["out"]) => () =>
      runJob({ contender, url: tenant.url, users, pageSize: 100, concurrency, out });
    return inTurn(
      {
        "SDK loop": job("sdkLoop", 1, { ndjson: file("late-sdk.ndjson") }),
        "8 at once": job("ours", 8, { ndjson: file("late.ndjson") }),
        "32 at once": job("ours", 32, { ndjson: file("late.ndjson") }),
        "as many as it finds": job("ours", undefined, { ndjson: file("late.ndjson") }),
        "limit, 32 at once": job("limit", 32, {}),
      },
      2,
      () => sameRows([file("late.ndjson"), file("late-sdk.ndjson")]),
    );
  };
  const takenMany = await measure(Array.from({ length: 1_000 }, (_, n) => `good-10-${n}`));
  const takenOne = await measure(["good-40000-0"]);
  const rowsOf = (taken: typeof takenMany) =>
    [...taken.keys()].map((name) => ({
      what: name,
      "seconds, with start-up": median(taken.get(name)!.map(({ wallSeconds }) => wallSeconds)),
      "times the SDK loop's speed": 1 / ratio(taken, name, "SDK loop", "wallSeconds").median,
      "of the work alone": 1 / ratio(taken, name, "SDK loop", "workSeconds").median,
    }));
  const rows = rowsOf(takenMany);
  return {
    title: "Latency",
    words: `Each answer takes ${LATENCY} ms; NDJSON.`,
    tables: [
      { title: "1,000 users with 10 sessions each", rows },
      { title: "One user with 40,000 sessions, 100 a page", rows: rowsOf(takenOne) },
    ],
    plots: [{
      name: "latency",
      title: `Seconds for 1,000 users at ${LATENCY} ms a request`,
      bars: rows.map((row) => ({
        label: row.what,
        value: row["seconds, with start-up"],
        isOurs: /^(\d|as many)/.test(row.what),
      })),
    }],
  };
};
