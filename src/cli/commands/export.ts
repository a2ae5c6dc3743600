/**
 * `monocloud-sessions export`.
 *
 * @module
 */
import * as Command from "@effect/cli/Command";
import * as Effect from "effect/Effect";
import { options } from "../options/ExportFlags.ts";

/** The command. What it runs is loaded once it runs: help has no need of it. */
export const command = Command.make(
  "export",
  options,
  (args) => Effect.flatMap(Effect.promise(() => import("./exporting.ts")), ({ run }) => run(args)),
).pipe(Command.withDescription(
  "Export the active sessions of users to NDJSON, CSV and Parquet. For example: " +
    "monocloud-sessions export --all-users --out sessions.csv",
));
