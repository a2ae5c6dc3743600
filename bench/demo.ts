/** The main job on an embedded tenant: `npm run demo`. */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import process from "node:process";
import { DuckDBInstance } from "@duckdb/node-api";
import { runCommand, startSandbox } from "./processes.ts";

const folder = "demo-export";
const say = (text: string) => process.stderr.write(`${text}\n`);

if (existsSync(`${folder}/manifest.json`)) await rm(folder, { recursive: true });

say(
  "A tenant of 2,000 users with some 100,000 sessions, of whose answers one in twenty fails, is slow or is cut off.",
);
const sandbox = await startSandbox([
  ...["--users", "2000", "--sessions", "50"],
  ...["--faults", "429=0.1%,500=2%,reset=1%,cut=1%,slow=2%,latency=5ms"],
]);
const args = ["export", "--all-users", "--out", folder, "--format", "ndjson,csv,parquet", "--rate", "400/s"];
say(`$ monocloud-sessions ${args.join(" ")}`);
const { code } = await runCommand(args, sandbox.environment);
sandbox.stop();
if (code !== 0) process.exit(code ?? 1);

const parquet = `${folder}/parquet/part-00000.parquet`;
const question =
  `SELECT country, count(*) AS sessions, count(DISTINCT user_id) AS users, max(initiated_at)::DATE AS latest
FROM '${parquet}' GROUP BY country ORDER BY sessions DESC LIMIT 5`;
say(`\nAsked of the Parquet file, with DuckDB:\n${question}\n`);
const connection = await (await DuckDBInstance.create(":memory:")).connect();
const rows = (await connection.runAndReadAll(question)).getRowObjectsJson();
connection.closeSync();
console.table(rows);
say(`Look at the files:
  less ${folder}/manifest.json
  head -n 1 ${folder}/ndjson/part-00000.ndjson
  head -n 2 ${folder}/csv/part-00000.csv
  duckdb -c "FROM '${parquet}' LIMIT 5"`);
