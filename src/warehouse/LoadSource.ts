/** An exported folder, as a load reads it: parts in the order of what they tell, users, and how far it can be relied on. */
import * as Effect from "effect/Effect";
import * as CheckedReader from "../dataset/CheckedReader.ts";
import * as Cursors from "../dataset/Cursors.ts";
import { DatasetError } from "../dataset/DatasetError.ts";
import * as Inspect from "../dataset/Inspect.ts";
import * as Layout from "../dataset/Layout.ts";
import type * as Manifest from "../dataset/Manifest.ts";
import * as PartReader from "../dataset/PartReader.ts";
import * as QuarantineLine from "../dataset/QuarantineLine.ts";
import * as Tombstones from "../dataset/Tombstones.ts";
import type * as DecodedRow from "../format/DecodedRow.ts";
import * as Columns from "../session/Columns.ts";
import type { SinkError } from "../sink/Sink.ts";
import * as Preparation from "./Preparation.ts";
import type * as Report from "./Report.ts";
import type * as Store from "./Store.ts";

/** The manifest of a folder that can be loaded. */
export interface Loadable extends Manifest.Manifest {
  readonly dataset_id: string;
}

/** Read the manifest. Refuses a folder without one, and one that has no id. */
export const readManifest = (root: string): Effect.Effect<Loadable, DatasetError | SinkError> =>
  Effect.flatMap(Inspect.read(root), ({ manifest }) => {
    if (manifest === undefined) {
      return new DatasetError({
        reason: "Absent",
        path: root,
        message:
          `Cannot load ${root} as it has no ${Layout.names.manifest}: name the folder of an export that has ended`,
      });
    }
    const { dataset_id } = manifest;
    return dataset_id !== undefined ? Effect.succeed({ ...manifest, dataset_id }) : new DatasetError({
      reason: "Version",
      path: root,
      message:
        `Cannot load ${root} as version 0.1 gave it no id: add to it with --since-last first, which makes one`,
    });
  });

/** Give what a run of the folder was given, which a schema keeps fixed. */
export const identityOf = ({ tenant, runs }: Manifest.Manifest): Store.Identity => {
  const options = (runs.findLast(({ kind }) => kind !== "replay") ?? runs.at(-1))?.options ?? {};
  return Preparation.identityOf(
    tenant,
    options,
    options["redact"] as Store.Identity["redaction"] | undefined,
  );
};

const kinds = ["sessions", "quarantine", "tombstones"] as const;

/** A part to load. */
export interface Item {
  readonly part: Manifest.Part;
  readonly kind: (typeof kinds)[number];
  /** Names it, in the order in which items are loaded. */
  readonly name: string;
}

/** List what is to be loaded, in the order of what it tells. */
export const itemsOf = ({ parts }: Manifest.Manifest): ReadonlyArray<Item> => {
  const item = (kind: Item["kind"]) => (part: Manifest.Part): Item => ({
    part,
    kind,
    // Tombstones tell of rows of the same number.
    name: `${String(part.part).padStart(10, "0")}/${kinds.indexOf(kind)}`,
  });
  return [
    ...PartReader.oneOfEach(parts).map(item("sessions")),
    ...parts.filter(({ format }) => format === "quarantine").map(item("quarantine")),
    ...parts.filter(({ format }) => format === "tombstones").map(item("tombstones")),
  ].sort((one, other) => one.name < other.name ? -1 : 1);
};

/** Tell whether a part has all columns, and a format that a database may read by itself. */
export const canReadWhole = ({ kind, part: { format, columns = [] } }: Item): boolean =>
  kind === "sessions" && format === "parquet" &&
  columns.join() === Columns.columns.map(({ name }) => name).join();

export type Rows =
  | { readonly kind: "sessions"; readonly rows: ReadonlyArray<DecodedRow.Row> }
  | { readonly kind: "quarantine"; readonly rows: ReadonlyArray<QuarantineLine.Line> }
  | { readonly kind: "tombstones"; readonly rows: ReadonlyArray<Tombstones.Line> };

/** Read a part, some rows at a time. Its sum is checked before any of it is used. */
export async function* read(
  reader: CheckedReader.Reader,
  { part, kind }: Item,
  { runs }: Manifest.Manifest,
): AsyncGenerator<Rows> {
  if (kind === "sessions") {
    for await (const rows of CheckedReader.sessions(reader, part, PartReader.writtenAs(part, runs))) {
      yield { kind, rows };
    }
  } else if (kind === "quarantine") {
    for await (const lines of CheckedReader.lines(reader, part, QuarantineLine.decode)) {
      yield { kind, rows: lines.map(({ line }) => line) };
    }
  } else {
    for await (const lines of CheckedReader.lines(reader, part, Tombstones.decode)) {
      yield { kind, rows: lines.map(({ line }) => line) };
    }
  }
}

/** Read where each user stands: its cursor, and the state of a walk that failed. */
export const readUsers = (
  root: string,
  { parts, failed }: Manifest.Manifest,
): Effect.Effect<ReadonlyArray<Store.StagedUser>, DatasetError> =>
  Effect.map(Cursors.load(root, parts), (cursors) => {
    const states = new Map(failed.map(({ user_id, state }) => [user_id, state]));
    return [...new Set([...cursors.keys(), ...states.keys()])].map((userId) => {
      const state = states.get(userId);
      return {
        userId,
        cursor: cursors.get(userId) ?? null,
        state: state === undefined ? null : JSON.stringify(state),
        run: 0,
        listed: "",
      };
    });
  });

/** Tell what came of the run that wrote the folder last. */
export const outcomeOf = ({ runs, failed }: Manifest.Manifest): Report.Outcome => {
  const last = runs.at(-1);
  return {
    verified: last?.verified === true && failed.length === 0,
    missing: last?.missing ?? { count: 0, first: [] },
    unverified: last?.unverified ?? { count: 0, first: [] },
    failed: {
      count: failed.length,
      first: failed.slice(0, 100).map(({ user_id, message }) => ({ userId: user_id, message })),
    },
    userListUnverifiedReasons: last?.user_list_unverified_reasons ?? [],
  };
};
