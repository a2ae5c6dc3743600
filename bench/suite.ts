/**
 * The benchmark suite: `npm run bench` writes `bench/report.md`, a section after the other, `npm run bench cpu rate` some of
 * it; `npm run bench:quick` only prints, in under a minute.
 */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Case } from "./case.ts";
import { startTenant } from "./measure.ts";
import { write } from "./report.ts";

const cases: Readonly<Record<string, () => Promise<{ readonly run: Case }>>> = {
  cpu: () => import("./cases/cpu.ts"),
  small: () => import("./cases/small.ts"),
  requests: () => import("./cases/requests.ts"),
  latency: () => import("./cases/latency.ts"),
  rate: () => import("./cases/rate.ts"),
  stages: () => import("./cases/stages.ts"),
  scale: () => import("./cases/scale.ts"),
  machines: () => import("./cases/machines.ts"),
  parquet: () => import("./cases/parquet.ts"),
  startup: () => import("./cases/startup.ts"),
};

const quickly = ["cpu", "small", "startup"];

const isQuick = process.argv.includes("--quick");
const named = process.argv.slice(2).filter((arg) => !arg.startsWith("--"));
const unknown = named.find((name) => !(name in cases));
if (unknown !== undefined) {
  throw new Error(`There is no case ${unknown}: there are ${Object.keys(cases).join(", ")}`);
}
const names = named.length > 0 ? named : isQuick ? quickly : Object.keys(cases);

/** From the file itself: not every package lets it be imported. */
const versionOf = async (name: string): Promise<string> =>
  JSON.parse(await readFile(new URL(`../../node_modules/${name}/package.json`, import.meta.url), "utf8"))
    .version;

// Looked up first: whatever is wrong with them is not to be learnt after half an hour.
const versions = {
  Node: process.version.slice(1),
  Deno: await versionOf("deno"),
  effect: await versionOf("effect"),
  undici: await versionOf("undici"),
  got: await versionOf("got"),
  DuckDB: await versionOf("@duckdb/node-api"),
};

const tenant = await startTenant();
const folder = await mkdtemp(join(tmpdir(), "monocloud-sessions-bench-"));
const bench = fileURLToPath(new URL("../../bench", import.meta.url));
try {
  for (const name of names) {
    process.stderr.write(`${new Date().toLocaleTimeString("en-GB")} ${name} …\n`);
    const section = await (await cases[name]!()).run({ tenant, folder, isQuick });
    // At once: the next one may take a quarter of an hour.
    if (!isQuick) await write(bench, section, versions);
    console.log(`\n${section.title}\n${section.words}`);
    for (const { title, rows } of section.tables) {
      console.log(title);
      console.table(rows);
    }
  }
} finally {
  tenant.stop();
  await rm(folder, { recursive: true, force: true });
}
