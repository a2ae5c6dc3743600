/** `monocloud-sessions sync`. */
import * as Effect from "effect/Effect";
import * as Command from "../options/Command.ts";
import type { CommandSpec } from "../options/CommandSpec.ts";
import { sync } from "../options/WarehouseFlags.ts";

export const spec: CommandSpec = {
  name: "sync",
  summary: "Keep a table in PostgreSQL or DuckDB equal to the tenant's active sessions.",
  interrupted: "what was committed stays, and the next run goes on from there",
  groups: sync.groups,
  examples: [
    ["sync --all-users --to sessions.duckdb", "All sessions at first, then what has changed"],
    ["sync --all-users --to postgres://loader@db/warehouse", "Every hour, from a container without a volume"],
    ["sync --all-users --to sessions.duckdb --prune", "Once a day: what has ended as well"],
  ],
};

/** The command. What it runs is loaded once it runs: help has no need of it. */
export const command = Command.make(
  spec,
  sync.flags,
  (args) => Effect.flatMap(Effect.promise(() => import("./syncing.ts")), ({ run }) => run(args)),
);
