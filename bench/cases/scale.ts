/** As work grows: the command over 100 thousand, a million and five million sessions. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { runProgram, type Taken } from "../measure.ts";
import type { Section } from "../report.ts";
import type { Bench } from "../case.ts";

const SESSIONS_A_USER = 10_000;
const sizes = [100_000, 1_000_000, 5_000_000] as const;
const cli = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

export const run = async ({ tenant, folder }: Bench): Promise<Section> => {
  await tenant.behave({});
  const exported = async (sessions: number, formats: ReadonlyArray<string>): Promise<Taken> => {
    const ids = join(folder, "ids.txt");
    const users = Array.from(
      { length: sessions / SESSIONS_A_USER },
      (_, n) => `good-${SESSIONS_A_USER}-${n}`,
    );
    await writeFile(ids, users.join("\n"));
    const files = formats.map((format) => join(folder, `scale.${format}`));
    const { code, err, ...taken } = await runProgram("node", [
      ...[cli, "export", "--users-file", ids, "--page-size", "1000", "--rate", "1000000/s", "--quiet"],
      ...files.flatMap((file) => ["--out", file]),
    ], { env: { MONOCLOUD_DOMAIN: tenant.url, MONOCLOUD_API_KEY: "sandbox-key" } });
    if (code !== 0) throw new Error(`The command ended with ${code}: ${err}`);
    await Promise.all(files.map((file) => rm(file)));
    return taken;
  };
  const tables = [];
  for (const formats of [["ndjson"], ["csv"], ["parquet"], ["ndjson", "csv", "parquet"]]) {
    // A first one that does not count: the tenant is warm from then on.
    const least = await exported(sizes[0], formats);
    const rows = [];
    let first: { readonly microseconds: number; readonly peakMB: number } | undefined;
    for (const sessions of sizes) {
      const taken = await exported(sessions, formats);
      const microseconds = taken.wallSeconds / sessions * 1e6;
      // The smallest is over so soon that it is run twice, and the better one taken.
      first ??= {
        microseconds: Math.min(microseconds, least.wallSeconds / sessions * 1e6),
        peakMB: Math.max(taken.peakMB, least.peakMB),
      };
      rows.push({
        sessions,
        seconds: taken.wallSeconds,
        "µs a session": microseconds,
        "times that of the fewest": microseconds / first.microseconds,
        "peak MB": taken.peakMB,
        "times its memory": taken.peakMB / first.peakMB,
      });
    }
    tables.push({ title: formats.length > 1 ? "All three formats" : formats[0]!, rows });
  }
  return {
    title: "As work grows",
    words: `The command, start-up included, over users of ${
      SESSIONS_A_USER.toLocaleString("en")
    } sessions, 1,000 a page, as many requests at once as it finds.`,
    tables,
    plots: [{
      name: "memory",
      title: "Peak memory in MB, as work grows",
      bars: tables.flatMap(({ title, rows }) =>
        rows.map((row) => ({
          label: `${title}, ${row.sessions / 1000} k`,
          value: row["peak MB"],
          isOurs: true,
        }))
      ),
    }],
  };
};
