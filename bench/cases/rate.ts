/** A tenant with a limit of 50 requests a second: how much of it is used, and how often it has to refuse. */
import { join } from "node:path";
import { runJob } from "../measure.ts";
import type { Section } from "../report.ts";
import type { Bench } from "../case.ts";

const LIMIT = 50;
const SECONDS = 60;
/** What is used of the limit counts from here on. */
const SETTLED = 10;

export const run = async ({ tenant, folder }: Bench): Promise<Section> => {
  const rows = [];
  for (const rate of ["auto", LIMIT] as const) {
    for (const retryAfter of rate === "auto" ? [0, 1] : [0]) {
      for (const latencyMs of [0, 50]) {
        await tenant.behave({ perSecond: LIMIT, retryAfter, latencyMs });
        await runJob({
          contender: "ours",
          url: tenant.url,
          users: Array.from({ length: LIMIT * SECONDS }, (_, n) => `good-10-${n}`),
          pageSize: 100,
          concurrency: 32,
          rate,
          out: { ndjson: join(folder, "rate.ndjson") },
        });
        const { requests, refused, accepted } = await tenant.account();
        const last = accepted.at(-1)! / 1000;
        const settled = accepted.filter((at) => at >= SETTLED * 1000).length;
        rows.push({
          rate: rate === "auto" ? "`auto`: unknown to us" : `\`${LIMIT}/s\`: known to us`,
          "Retry-After": retryAfter === 0 ? "none" : `${retryAfter} s`,
          "latency ms": latencyMs,
          seconds: last,
          [`% used after ${SETTLED} s`]: settled / (last - SETTLED) / LIMIT * 100,
          "% refused": refused / requests * 100,
        });
      }
    }
  }
  return {
    title: "A limited rate",
    words:
      `The tenant answers ${LIMIT} requests a second, and 429 beyond; ${
        LIMIT * SECONDS
      } users with 10 sessions each, ` +
      "32 requests at once.",
    tables: [{ title: `${LIMIT} requests a second`, rows }],
  };
};
