/** The main job on an embedded tenant: `npm run demo`. */
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import process from "node:process";
import { DuckDBInstance } from "@duckdb/node-api";
import { runCommand, startSandbox } from "./processes.ts";

const folder = "demo-export";
const warehouse = "demo.duckdb";
const say = (text: string) => process.stderr.write(`${text}\n`);

if (existsSync(`${folder}/manifest.json`)) await rm(folder, { recursive: true });

say(
  "A tenant of 2,000 users with some 100,000 sessions, of whose answers one in twenty fails, is slow or is cut off.",
);
const size = ["--users", "2000", "--sessions", "50"];
const sandbox = await startSandbox([
  ...size,
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
const ask = async (question: string, file = ":memory:") => {
  const instance = await DuckDBInstance.create(file);
  const connection = await instance.connect();
  const rows = (await connection.runAndReadAll(question)).getRowObjectsJson();
  connection.closeSync();
  instance.closeSync();
  console.table(rows);
};
await ask(question);

say(
  "The same tenant on a better day, straight into a table. Every hour, this command would bring what has changed.",
);
const calm = await startSandbox(size);
for (const end of ["", "-wal"]) await rm(`${warehouse}${end}`, { force: true });
const syncing = ["sync", "--all-users", "--to", warehouse, "--rate", "2000/s", "--page-size", "1000"];
say(`$ monocloud-sessions ${syncing.join(" ")}`);
const synced = await runCommand(syncing, calm.environment);
calm.stop();
if (synced.code !== 0) process.exit(synced.code ?? 1);

const questions = [
  [
    "Which clients are in use?",
    `SELECT client, count(*) AS sessions, count(DISTINCT user_id) AS users
FROM (SELECT user_id, unnest(client_ids) AS client FROM monocloud.sessions_live)
GROUP BY client ORDER BY sessions DESC LIMIT 5`,
  ],
  [
    "Who signs in from the most countries?",
    `SELECT user_id, count(DISTINCT country) AS countries, count(*) AS sessions, max(last_updated)::DATE AS last_seen
FROM monocloud.sessions_live GROUP BY user_id ORDER BY countries DESC, sessions DESC, user_id LIMIT 5`,
  ],
  [
    "Can I rely on it?",
    "SELECT run, kind, users, sessions, requests, retries, round(seconds, 1) AS seconds, verified FROM monocloud._runs",
  ],
] as const;
for (const [title, question] of questions) {
  say(`\n${title}\n${question}\n`);
  await ask(question, warehouse);
}
say(`Look at the files:
  less ${folder}/manifest.json
  head -n 1 ${folder}/ndjson/part-00000.ndjson
  head -n 2 ${folder}/csv/part-00000.csv
  duckdb -c "FROM '${parquet}' LIMIT 5"
  duckdb -readonly ${warehouse} -c "FROM monocloud.sessions_live LIMIT 5"`);
