/** The commands, in the order of help. The program of each is in a module of its name. */
import * as CheckFlags from "../options/CheckFlags.ts";
import * as Command from "../options/Command.ts";
import * as ExportFlags from "../options/ExportFlags.ts";
import * as FolderFlags from "../options/FolderFlags.ts";
import * as QueueFlags from "../options/QueueFlags.ts";
import * as SandboxFlags from "../options/SandboxFlags.ts";
import * as ServeFlags from "../options/ServeFlags.ts";
import * as UsersFlags from "../options/UsersFlags.ts";
import * as WarehouseFlags from "../options/WarehouseFlags.ts";

export const commands: ReadonlyArray<Command.Command> = [
  Command.make({
    name: "export",
    summary: "Export the active sessions of users to NDJSON, CSV and Parquet.",
    groups: ExportFlags.groups,
    examples: [
      ["export --all-users --out sessions.csv", "Every session of every user, as CSV"],
      ["export --users-file ids.txt --out s.parquet", "Those of some users, as Parquet"],
      ["export --all-users --out data/ --format csv --resume", "A folder that survives being interrupted"],
      ["export --user ID --out - --format ndjson | jq .", "Straight into another program"],
    ],
  }, () => import("./export.ts")),

  Command.make({
    name: "sync",
    summary: "Keep a table in PostgreSQL or DuckDB equal to the tenant's active sessions.",
    interrupted: "what was committed stays, and the next run goes on from there",
    groups: WarehouseFlags.syncGroups,
    examples: [
      ["sync --all-users --to sessions.duckdb", "All sessions at first, then what has changed"],
      [
        "sync --all-users --to postgres://loader@db/warehouse",
        "Every hour, from a container without a volume",
      ],
      ["sync --all-users --to sessions.duckdb --prune", "Once a day: what has ended as well"],
    ],
  }, () => import("./sync.ts")),

  Command.make({
    name: "load",
    summary: "Bring an exported folder into a table in PostgreSQL or DuckDB, each part once.",
    argument: FolderFlags.argument,
    interrupted: "what was committed stays, and the next load goes on from there",
    groups: WarehouseFlags.loadGroups,
    examples: [
      ["load export/ --to sessions.duckdb", "What the folder has and the table lacks"],
      ["load export/ --to postgres://loader@db/warehouse --replace", "This folder in place of another"],
    ],
  }, () => import("./load.ts")),

  Command.make({
    name: "check",
    summary: "Ask the tenant: are domain and key good, how much is there, how long would runs take?",
    interrupted: "the tenant has not answered to the end",
    groups: CheckFlags.groups,
    examples: [
      ["check", "How many users are there?"],
      ["check --user ID", "How many sessions does this user have?"],
      ["check --activity", "Does the list of users tell who has changed?"],
    ],
  }, () => import("./check.ts")),

  Command.make({
    name: "users",
    summary: "List the users of the tenant on stdout: ids with their times, as lines of JSON.",
    interrupted: "the list is incomplete",
    groups: UsersFlags.groups,
    examples: [["users --ids > ids.txt", "A list to choose from, for export --users-file ids.txt"]],
  }, () => import("./users.ts")),

  Command.make({
    name: "verify",
    summary:
      "Read an exported folder back: are all files, bytes and rows there, and is no session there twice?",
    argument: FolderFlags.argument,
    interrupted: "the folder was not read to its end",
    groups: FolderFlags.groups,
    examples: [["verify data/", "Is all of it as it was written?"]],
  }, () => import("./verify.ts")),

  Command.make({
    name: "replay",
    summary:
      "Run the rows that an export into a folder has quarantined through this version's schema: what passes becomes a new part.",
    argument: FolderFlags.argument,
    interrupted: "the next replay finishes what this one began",
    groups: FolderFlags.groups,
    examples: [["replay data/", "After an update that knows more kinds of rows"]],
  }, () => import("./replay.ts")),

  Command.make({
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
  }, () => import("./work.ts")),

  Command.make({
    name: "serve",
    summary:
      "Serve exports over HTTP, with a page and an API. The environment sets it up: see help environment.",
    groups: ServeFlags.groups,
    examples: [["serve --port 8080", "With MONOCLOUD_DOMAIN, MONOCLOUD_API_KEY and WORKER_FOLDER set"]],
  }, () => import("./serve.ts")),

  Command.make({
    name: "sandbox",
    summary: "Run a tenant of made-up users to try things on.",
    groups: SandboxFlags.groups,
    examples: [["sandbox --users 1000 --faults 429=5%,reset=1%", "A tenant that is large and not well"]],
  }, () => import("./sandbox.ts")),
];
