/** `monocloud-sessions export`. */
import * as Effect from "effect/Effect";
import * as Command from "../options/Command.ts";
import type { CommandSpec } from "../options/CommandSpec.ts";
import { flags, groups } from "../options/ExportFlags.ts";

export const spec: CommandSpec = {
  name: "export",
  summary: "Export the active sessions of users to NDJSON, CSV and Parquet.",
  groups,
  examples: [
    ["export --all-users --out sessions.csv", "Every session of every user, as CSV"],
    ["export --users-file ids.txt --out s.parquet", "Those of some users, as Parquet"],
    ["export --all-users --out data/ --format csv --resume", "A folder that survives being interrupted"],
    ["export --user ID --out - --format ndjson | jq .", "Straight into another program"],
  ],
};

/** The command. What it runs is loaded once it runs: help has no need of it. */
export const command = Command.make(
  spec,
  flags,
  (args) => Effect.flatMap(Effect.promise(() => import("./exporting.ts")), ({ run }) => run(args)),
);
