/**
 * What a dataset says of itself: `manifest.json`, of its finished runs, and `journal.ndjson`, of the one that is not
 * finished. Both are for people and other programs to read as well.
 *
 * @module
 */
import * as Either from "effect/Either";
import * as Schema from "effect/Schema";
import { columns, sqlTypes } from "../session/Columns.ts";
import { noProgress as emptyProgress } from "../export/Export.ts";
import { version } from "../version.ts";
import * as Changes from "../source/incremental/Changes.ts";
import * as WalkCheckpoint from "../source/paging/WalkCheckpoint.ts";
import { damaged, DatasetError } from "./DatasetError.ts";
import * as Formats from "../format/Formats.ts";
import * as Json from "../format/Json.ts";

/** No count comes near that, nor do sums of a few of them to what a number can hold. */
const Count = Schema.Int.pipe(Schema.between(0, 2 ** 50));

/** No dataset comes to so many runs, or to parts of so many numbers. */
export const MOST = 1e9;

const RunNumber = Schema.Int.pipe(Schema.between(1, MOST));
const PartNumber = Schema.Int.pipe(Schema.between(0, MOST));

/** Parts that hold lines of another kind than sessions. */
export const lineKinds = ["quarantine", "removed", "state", "seen"] as const;

/** See {@link lineKinds}. */
export type LineKind = typeof lineKinds[number];

const isLineKind = (format: string): format is LineKind => lineKinds.some((kind) => kind === format);

/** A complete part. */
export const Part = Schema.Struct({
  /** From the folder of the dataset, with `/`: that of its format, its number and how such files end. */
  path: Schema.String.pipe(
    Schema.pattern(
      /^[a-z][a-z0-9_]*\/part-\d{5,10}\.[a-z0-9]+(\.gz)?$/,
      { message: () => "is no path of a part" },
    ),
  ),
  /** The name of a format, or one of {@link lineKinds}. */
  format: Schema.String.pipe(
    Schema.filter((format) => isLineKind(format) || Formats.find(format) !== undefined, {
      message: ({ actual }) =>
        `${
          Json.brief(JSON.stringify(actual))
        } is the name of no format: register it before (Formats.register)`,
    }),
  ),
  /** Parts of one number hold the same rows. */
  part: PartNumber,
  /** The run it was written by. */
  run: RunNumber,
  rows: Count,
  bytes: Count,
  sha256: Schema.String,
  /** The lowest and the highest `initiated_at`, in seconds since the epoch; absent where there are no sessions. */
  initiated_at: Schema.optional(Schema.Struct({ min: Schema.JsonNumber, max: Schema.JsonNumber })),
  /** The names of its columns, in their order, of a part of sessions. Version 0.1 did not say. */
  columns: Schema.optional(Schema.Array(Schema.String)),
});

/** See {@link Part}. */
export type Part = typeof Part.Type;

/** Whether it was written to be read by others, and not for the next run. */
export const isResult = ({ format }: Part): boolean => format !== "state" && format !== "seen";

/**
 * The names of the columns that this version writes; undefined for parts that hold no sessions.
 */
export const columnsOf = (format: string): Pick<Part, "columns"> => {
  const found = Formats.find(format);
  return found === undefined ? {} : { columns: found.columns };
};

const isWalk = Schema.is(
  Schema.Struct({ walk: WalkCheckpoint.WalkState, watch: Schema.optional(Changes.TrackerState) }),
);

/** Where a walk stands, as `SessionSource` has it. More spans than a cursor has would be more than can be compared at once. */
const State = Schema.Unknown.pipe(
  Schema.filter((state) => isWalk(state) && (state.watch?.before?.spans ?? []).length <= 1000, {
    message: () => "is no state of a walk",
  }),
);

/** A user whose walk broke off, and where it stood. */
const Failed = Schema.Struct({
  user_id: Schema.String,
  message: Schema.String,
  state: Schema.optional(State),
});

const UnverifiedUser = Schema.Struct({
  userId: Schema.String,
  unverifiedReasons: Schema.Array(Schema.String),
});

const some = <A, I>(schema: Schema.Schema<A, I>) =>
  Schema.Struct({ count: Count, first: Schema.Array(schema) });

/** Sessions that a run delivered though they may be there as they are, and the users they are of. */
const Redelivered = Schema.Struct({ sessions: Count, users: some(Schema.String) });

/** What it was asked for that must stay the same within a run. */
const Options = Schema.Record({
  // Of this name it would become the prototype of the others.
  key: Schema.String.pipe(Schema.filter((name) => name !== "__proto__")),
  value: Schema.Unknown,
});

/** What a run did. */
export const Run = Schema.Struct({
  run: RunNumber,
  /**
   * `full`: every session. `retry`: of the users that had failed before. `changes`: what had changed since the last run.
   * `replay`: of rows that had been quarantined.
   */
  kind: Schema.Literal("full", "retry", "changes", "replay"),
  began: Schema.String,
  ended: Schema.String,
  /** Time at work; what lay between an interruption and the next start does not count. */
  seconds: Schema.JsonNumber,
  options: Options,
  /** It was for all that changed at or after this time, in seconds since the epoch, whatever was there. */
  since: Schema.optional(Schema.JsonNumber),
  users: Count,
  sessions: Count,
  quarantined: Count,
  bytes: Count,
  requests: Count,
  retries: Count,
  /** Whether every walk, and the list of users if the tenant gave it, can vouch that nothing was missed. */
  verified: Schema.Boolean,
  missing: some(Schema.String),
  unverified: some(UnverifiedUser),
  user_list_unverified_reasons: Schema.Array(Schema.String),
  /**
   * What a run that reads whole lists found removed: of so many users it can be said, so many sessions are gone since the
   * last such run, and so many are listed again.
   */
  removed: Schema.optional(Schema.Struct({ users: Count, gone: Count, again: Count })),
  /** Only so many of its sessions may be in earlier runs as they are; absent if none may. */
  redelivered: Schema.optional(Redelivered),
});

/** See {@link Run}. */
export type Run = typeof Run.Type;

/** The version of the manifest and of the journal; it changes with the meaning of what is there, not with additions. */
export const manifestVersion = 1;

/** What a dataset says of itself. */
export const Manifest = Schema.Struct({
  manifest_version: Schema.Literal(manifestVersion),
  created_by: Schema.String,
  /** A random UUID, made with the first run. Version 0.1 made none: such a dataset gets one with its next run. */
  dataset_id: Schema.optional(Schema.String),
  tenant: Schema.String,
  columns: Schema.Array(Schema.Unknown),
  runs: Schema.Array(Run),
  parts: Schema.Array(Part),
  /** Parts that later ones have taken the place of. Their files are about to be removed, or are removed already. */
  superseded: Schema.optional(Schema.Array(Part)),
  /** The lowest number that no part has had, nor will any lower one be given again. Version 0.1 did not say. */
  next_part: Schema.optional(PartNumber),
  /** The users that are still to be tried again. */
  failed: Schema.Array(Failed),
});

/** See {@link Manifest}. */
export type Manifest = typeof Manifest.Type;

/** A dataset without a run. */
export const empty = (tenant: string): Manifest => ({
  manifest_version: manifestVersion,
  created_by: `monocloud-sessions ${version}`,
  dataset_id: crypto.randomUUID(),
  tenant,
  columns: columns.map(({ name, kind, nullable }) => ({ name, type: sqlTypes[kind], nullable })),
  runs: [],
  parts: [],
  failed: [],
});

/** The manifest as its file has it: on several lines, but for lists of names. */
export const textOf = (manifest: Manifest): string =>
  `${
    JSON.stringify(manifest, null, 2).replace(
      // Lists of more would take more stack than there is.
      /\[\n\s+("[^\n]*"(?:,\n\s+"[^\n]*"){0,9999})\n\s+\]/g,
      (_, names: string) => `[${names.replace(/,\n\s+/g, ", ")}]`,
    )
  }\n`;

/** How far an unfinished run has come. */
export const RunProgress = Schema.Struct({
  /** How many users of the list have been begun. */
  position: Count,
  /** Of these, the ones whose walk has not ended, and where it stands. */
  open: Schema.Array(Schema.Struct({ user_id: Schema.String, state: Schema.optional(State) })),
  failed: Schema.Array(Failed),
  progress: Schema.Struct({
    users: Count,
    missing: Count,
    failed: Count,
    sessions: Count,
    quarantined: Count,
    unverified: Count,
    encodedBytes: Count,
    listed: Count,
  }),
  missing: Schema.Array(Schema.String),
  unverified: Schema.Array(UnverifiedUser),
  /** Absent if there are none. */
  redelivered: Schema.optional(Redelivered),
  seconds: Schema.JsonNumber,
  requests: Count,
  retries: Count,
});

/** See {@link RunProgress}. */
export type RunProgress = typeof RunProgress.Type;

/** A run that has not begun. */
export const noProgress = (): RunProgress => ({
  position: 0,
  open: [],
  failed: [],
  progress: emptyProgress(),
  missing: [],
  unverified: [],
  seconds: 0,
  requests: 0,
  retries: 0,
});

/** The first line of a journal. */
export const Header = Schema.Struct({
  journal_version: Schema.Literal(manifestVersion),
  created_by: Schema.String,
  dataset_id: Schema.optional(Schema.String),
  run: RunNumber,
  kind: Run.fields.kind,
  began: Schema.String,
  tenant: Schema.String,
  options: Options,
  /** Only what changed at or after this time, in seconds since the epoch; absent where each user's cursor says. */
  since: Schema.optional(Schema.JsonNumber),
  /** Whether whole lists are read, to tell what was removed. */
  prune_report: Schema.optional(Schema.Literal(true)),
  users: Count,
  /** Whether these, and the ones that had failed before, are all users of the tenant beyond doubt: others have gone. */
  all_users: Schema.optional(Schema.Literal(true)),
  /** What tells the choice of users from another one. */
  users_identity: Schema.optional(Schema.String),
  /** The list of them. Version 0.1 had it in `users.txt`, and did not say what it holds. */
  users_file: Schema.optional(
    Schema.Struct({
      path: Schema.String.pipe(Schema.pattern(/^users-[0-9a-f]{8}\.txt$/)),
      bytes: Count,
      sha256: Schema.String,
    }),
  ),
  /**
   * The number that the next parts get. It is taken: whoever goes on from here takes a higher one, whether there are such parts
   * or not. Absent in journals of version 0.1, which took the number after the highest.
   */
  claims: Schema.optional(PartNumber),
  user_list_unverified_reasons: Schema.Array(Schema.String),
  standing: RunProgress,
});

/** See {@link Header}. */
export type Header = typeof Header.Type;

/** Every further line: the parts that are complete since the line before, and how far the run had come with them. */
export const Checkpoint = Schema.Struct({
  cut: Count,
  at: Schema.String,
  parts: Schema.Array(Part),
  /** As for {@link Header}; absent where the number has not changed, or nothing follows. */
  claims: Schema.optional(PartNumber),
  standing: RunProgress,
});

/** See {@link Checkpoint}. */
export type Checkpoint = typeof Checkpoint.Type;

const versionOf = (value: unknown): unknown => {
  const { manifest_version, journal_version } = (value ?? {}) as Readonly<Record<string, unknown>>;
  return manifest_version ?? journal_version;
};

/** Reads JSON of one of these shapes; throws an error that says what is wrong with it, and what to do. */
export const decode = <A, I>(schema: Schema.Schema<A, I>, path: string, text: string): A => {
  let value: unknown;
  try {
    value = Json.parse(text);
  } catch (error) {
    throw damaged(path, (error as Error).message);
  }
  const found = versionOf(value);
  if (typeof found === "number" && found > manifestVersion) {
    throw new DatasetError({
      reason: "Version",
      path,
      message:
        `${path} has version ${found} and this program knows ${manifestVersion}: use the newer monocloud-sessions that wrote it`,
    });
  }
  return Either.getOrThrowWith(
    Schema.decodeUnknownEither(schema)(value),
    (error) => damaged(path, Json.flawOf(error)),
  );
};
