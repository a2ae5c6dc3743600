/** `monocloud-sessions load`. */
import * as Effect from "effect/Effect";
import * as Command from "../options/Command.ts";
import type { CommandSpec } from "../options/CommandSpec.ts";
import { load } from "../options/WarehouseFlags.ts";
import { argument } from "./onFolder.ts";

export const spec: CommandSpec = {
  name: "load",
  summary: "Bring an exported folder into a table in PostgreSQL or DuckDB, each part once.",
  argument,
  interrupted: "what was committed stays, and the next load goes on from there",
  groups: load.groups,
  examples: [
    ["load export/ --to sessions.duckdb", "What the folder has and the table lacks"],
    ["load export/ --to postgres://loader@db/warehouse --replace", "This folder in place of another"],
  ],
};

/** The command. What it runs is loaded once it runs: help has no need of it. */
export const command = Command.make(
  spec,
  load.flags,
  (args, folder) =>
    Effect.flatMap(Effect.promise(() => import("./loading.ts")), ({ run }) => run(args, folder)),
);
