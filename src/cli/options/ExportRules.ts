/** Rules of flags of an export that do not go together. */
import type { Destination } from "./Destination.ts";
import type { Args } from "./ExportFlags.ts";

type Rule = (args: Args, destination: Destination) => boolean;

/** Tell whether an output is Parquet. */
const hasParquet = (destination: Destination): boolean =>
  (destination.kind === "files" ? destination.targets : destination.formats)
    .some(({ format }) => format.name === "parquet");

/** Refusals, each with its message. */
const refused: ReadonlyArray<readonly [Rule, string]> = [
  [
    ({ json }, destination) => json && destination.kind === "files" && destination.usesStdout,
    "--json and --out - both want standard output: write the export to a file",
  ],
  [
    ({ sinceLast, since }) => sinceLast && since !== undefined,
    "--since-last and --since can't be combined: the one goes by what the folder knows",
  ],
  [
    ({ sinceLast, since, sort }) => (sinceLast || since !== undefined) && sort !== undefined,
    "--since-last and --since read newest change first: leave out --sort",
  ],
  [
    ({ sinceLast }, { kind }) => sinceLast && kind === "files",
    "--since-last goes with a folder, which knows what was exported last: or use --since TIME",
  ],
  [
    ({ prune, sinceLast }) => prune && !sinceLast,
    "--prune goes with --since-last: it compares the folder with what the tenant lists now",
  ],
  [
    ({ byActivity, sinceLast, allUsers }) => byActivity && !(sinceLast && allUsers),
    "--by-activity goes with --since-last and --all-users: it asks those whom the list of users tells of",
  ],
  [
    ({ resume }, { kind }) => resume && kind === "files",
    "--resume goes with a folder: files are all complete, or none of them is there",
  ],
  [
    ({ limit }, { kind }) => limit !== undefined && kind === "dataset",
    "--limit goes with files: a folder is to hold all, so that later runs can add to it",
  ],
  [
    ({ queue, shards }, { kind }) => (queue !== undefined || shards !== undefined) && kind === "files",
    "--queue and --shards go with a folder, which all workers share: give --out FOLDER",
  ],
  [
    ({ queue, shards, byActivity }) => (queue !== undefined || shards !== undefined) && byActivity,
    "--by-activity asks few users, in this process: leave out --queue and --shards",
  ],
  [
    ({ parquetVersion }, destination) => parquetVersion !== undefined && !hasParquet(destination),
    "--parquet-version goes with Parquet, and no output is: leave it out",
  ],
  [
    ({ rowGroupRows }, destination) => rowGroupRows !== undefined && !hasParquet(destination),
    "--row-group-rows goes with Parquet, and no output is: leave it out",
  ],
];

/** Say what is wrong with the flags taken together, if anything. */
export const flawIn = (args: Args, destination: Destination): string | undefined =>
  refused.find(([isRefused]) => isRefused(args, destination))?.[1];
