/** The commands, in the order of help. */
import * as Command from "../options/Command.ts";
import * as ExportFlags from "../options/ExportFlags.ts";
import * as QueueFlags from "../options/QueueFlags.ts";
import * as WarehouseFlags from "../options/WarehouseFlags.ts";
import * as check from "./check.ts";
import { argument, replay, verify } from "./folders.ts";
import * as sandbox from "./sandbox.ts";
import * as serve from "./serve.ts";
import * as users from "./users.ts";

export const exporting = Command.lazy({
  name: "export",
  summary: "Export the active sessions of users to NDJSON, CSV and Parquet.",
  groups: ExportFlags.groups,
  examples: [
    ["export --all-users --out sessions.csv", "Every session of every user, as CSV"],
    ["export --users-file ids.txt --out s.parquet", "Those of some users, as Parquet"],
    ["export --all-users --out data/ --format csv --resume", "A folder that survives being interrupted"],
    ["export --user ID --out - --format ndjson | jq .", "Straight into another program"],
  ],
}, () => import("./exporting.ts"));

const syncing = Command.lazy({
  name: "sync",
  summary: "Keep a table in PostgreSQL or DuckDB equal to the tenant's active sessions.",
  interrupted: "what was committed stays, and the next run goes on from there",
  groups: WarehouseFlags.syncGroups,
  examples: [
    ["sync --all-users --to sessions.duckdb", "All sessions at first, then what has changed"],
    ["sync --all-users --to postgres://loader@db/warehouse", "Every hour, from a container without a volume"],
    ["sync --all-users --to sessions.duckdb --prune", "Once a day: what has ended as well"],
  ],
}, () => import("./syncing.ts"));

const loading = Command.lazy({
  name: "load",
  summary: "Bring an exported folder into a table in PostgreSQL or DuckDB, each part once.",
  argument,
  interrupted: "what was committed stays, and the next load goes on from there",
  groups: WarehouseFlags.loadGroups,
  examples: [
    ["load export/ --to sessions.duckdb", "What the folder has and the table lacks"],
    ["load export/ --to postgres://loader@db/warehouse --replace", "This folder in place of another"],
  ],
}, () => import("./loading.ts"));

const working = Command.lazy({
  name: "work",
  summary: "Do the shards of runs on many machines, until told to stop: then hand back what is under way.",
  groups: QueueFlags.workGroups,
  examples: [
    [
      "work --queue postgres://queue@db/jobs",
      "With MONOCLOUD_DOMAIN, MONOCLOUD_API_KEY and MONOCLOUD_TO set",
    ],
    [
      "work --queue redis://queue --tenants tenants --targets targets",
      "Many tenants, each in a file of its own",
    ],
  ],
}, () => import("./working.ts"));

export const commands = [
  exporting,
  syncing,
  loading,
  check.command,
  users.command,
  verify,
  replay,
  working,
  serve.command,
  sandbox.command,
];
