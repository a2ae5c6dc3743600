/**
 * The shapes of what a manifest and a journal say. Those of version 1 are the same by other names, on the disk alone. What a
 * report says as well is described in `plain/Report.ts`.
 */
import * as Schema from "effect/Schema";
import * as Formats from "../format/Formats.ts";
import * as Json from "../format/Json.ts";
import { ActivityState } from "../source/activity/ActivityState.ts";
import * as Changes from "../source/incremental/Changes.ts";
import * as WalkCheckpoint from "../source/paging/WalkCheckpoint.ts";
import { Count, PartNumber, RunNumber } from "./Counts.ts";
import { PublishedShard, Shard, shardKey } from "./ShardShapes.ts";

export { MOST } from "./Counts.ts";

/** The versions of manifests and journals. A version changes with the meaning of what is there, not with additions. */
export type Version = 1 | 2;

/** Kinds of parts that hold lines of something else than sessions, each with its name in version 1. */
const lineKinds = {
  quarantine: "rejected",
  tombstones: "removed",
  cursors: "state",
  observed: "seen",
} as const;

/**
 * `quarantine`: rows that are no sessions. `tombstones`: which sessions the tenant lists no more. `cursors`: what the next run has
 * to know. `observed`: the ids that an unfinished run came upon.
 */
export type LineKind = keyof typeof lineKinds;

const kinds = Object.keys(lineKinds) as ReadonlyArray<LineKind>;

/** The folders of these parts, of all versions. */
export const lineFolders: ReadonlyArray<string> = [...kinds, ...Object.values(lineKinds)];

export const folderOf = (format: string, version: Version): string =>
  version === 1 && Object.hasOwn(lineKinds, format) ? lineKinds[format as LineKind] : format;

const FormatName = Schema.String.pipe(
  Schema.filter((format) => Object.hasOwn(lineKinds, format) || Formats.find(format) !== undefined, {
    message: ({ actual }) =>
      `${Json.brief(JSON.stringify(actual))} is the name of no format: register it before (Formats.register)`,
  }),
);

/** The name of a format as version 1 has it. */
const FormatName1 = Schema.transform(Schema.String, FormatName, {
  decode: (name) => kinds.find((kind) => lineKinds[kind] === name) ?? name,
  encode: (format) => folderOf(format, 1),
});

/** The path of a part, from the dataset's folder, with `/`: that of its format, its number and how such files end. */
const PartPath = Schema.String.pipe(
  Schema.pattern(/^[a-z][a-z0-9_]*\/part-\d{5,10}\.[a-z0-9]+(\.gz)?$/, {
    message: () => "is no path of a part",
  }),
);

const isWalk = Schema.is(
  Schema.Struct({ walk: WalkCheckpoint.WalkState, watch: Schema.optional(Changes.TrackerState) }),
);

/** State of a walk, as `SessionSource` has it. More spans than a cursor has would be more than can be compared at once. */
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

const sample = <A, I>(schema: Schema.Schema<A, I>) =>
  Schema.Struct({ count: Count, first: Schema.Array(schema) });

/** Sessions that a run delivered though they may be there as they are, and the users they are of. */
const Redelivered = Schema.Struct({ sessions: Count, users: sample(Schema.String) });

/** A run that asked only users who were active, or all of them to see whether that can be gone by. */
const ByActivity = Schema.Struct({
  asked: Count,
  of: Schema.optional(Count),
  swept_at: Schema.String,
  off: Schema.optional(Schema.String),
  late: Schema.optional(Count),
});

/** Options that must stay the same within a run. */
const Options = Schema.Record({
  // Of this name it would become the prototype of the others.
  key: Schema.String.pipe(Schema.filter((name) => name !== "__proto__")),
  value: Schema.Unknown,
});

const Kind = Schema.Literal("full", "retry", "changes", "replay");

/** Give the shapes that a version has. */
const shapesOf = (version: Version) => {
  const named = <A, I>(schema: Schema.Schema<A, I>, ...names: readonly [first: string, second: string]) =>
    Schema.propertySignature(schema).pipe(Schema.fromKey(names[version - 1]!));
  const optional = <A, I>(schema: Schema.Schema<A, I>, ...names: readonly [first: string, second: string]) =>
    Schema.optional(schema).pipe(Schema.fromKey(names[version - 1]!));

  const Part = Schema.Struct({
    path: PartPath,
    /** The name of a format, or a {@link LineKind}. */
    format: version === 1 ? FormatName1 : FormatName,
    part: PartNumber,
    run: RunNumber,
    rows: Count,
    bytes: Count,
    sha256: Schema.String,
    /** The lowest and the highest `initiated_at`, in seconds since the epoch; absent where there are no sessions. */
    initiated_at: Schema.optional(Schema.Struct({ min: Schema.JsonNumber, max: Schema.JsonNumber })),
    /** The names of its columns, in their order, of a part of sessions. Version 0.1 did not say. */
    columns: Schema.optional(Schema.Array(Schema.String)),
  });

  const UnverifiedUser = Schema.Struct({
    userId: named(Schema.String, "userId", "user_id"),
    unverifiedReasons: named(Schema.Array(Schema.String), "doubts", "unverified_reasons"),
  });

  const userListUnverifiedReasons = named(
    Schema.Array(Schema.String),
    "user_doubts",
    "user_list_unverified_reasons",
  );

  const Run = Schema.Struct({
    run: RunNumber,
    kind: Kind,
    began: Schema.String,
    ended: Schema.String,
    seconds: Schema.JsonNumber,
    options: Options,
    /** It was for all that changed at or after this time, in seconds since the epoch, whatever was there. */
    since: Schema.optional(Schema.JsonNumber),
    users: Count,
    sessions: Count,
    quarantined: named(Count, "rejected", "quarantined"),
    bytes: Count,
    requests: Count,
    retries: Count,
    verified: Schema.Boolean,
    missing: sample(Schema.String),
    unverified: sample(UnverifiedUser),
    user_list_unverified_reasons: userListUnverifiedReasons,
    tombstones: optional(
      Schema.Struct({ users: Count, gone: Count, again: Count }),
      "removed",
      "tombstones",
    ),
    redelivered: Schema.optional(Redelivered),
    by_activity: Schema.optional(ByActivity),
    /** The attempts that count, of a run in shards. */
    shards: Schema.optional(Schema.Array(PublishedShard)),
  });

  const Manifest = Schema.Struct({
    manifest_version: Schema.Literal(version),
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
    /** The largest page that the tenant gave, where a run found it out. */
    page_size: Schema.optional(Count),
    /** State of runs by activity. */
    activity: Schema.optional(ActivityState),
  });

  const RunProgress = Schema.Struct({
    position: Count,
    open: Schema.Array(Schema.Struct({ user_id: Schema.String, state: Schema.optional(State) })),
    failed: Schema.Array(Failed),
    progress: Schema.Struct({
      users: Count,
      missing: Count,
      failed: Count,
      sessions: Count,
      quarantined: named(Count, "rejected", "quarantined"),
      unverified: Count,
      encodedBytes: named(Count, "encodedBytes", "encoded_bytes"),
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

  const runProgress = named(RunProgress, "standing", "run_progress");

  const Header = Schema.Struct({
    journal_version: Schema.Literal(version),
    created_by: Schema.String,
    dataset_id: Schema.optional(Schema.String),
    run: RunNumber,
    kind: Kind,
    began: Schema.String,
    tenant: Schema.String,
    options: Options,
    /** Only what changed at or after this time, in seconds since the epoch; absent where each user's cursor says. */
    since: Schema.optional(Schema.JsonNumber),
    /** True if whole lists are read, to tell what was removed. */
    prune: optional(Schema.Literal(true), "prune_report", "prune"),
    users: Count,
    /** True if these and the ones that had failed before are verified to be all users of the tenant: others have gone. */
    all_users: Schema.optional(Schema.Literal(true)),
    /** True if only those of all users are asked that may have changed. */
    partial_users: Schema.optional(Schema.Literal(true)),
    /** Identity of the choice of users, by which it is told from another one. */
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
     * The number that the next parts get. It is taken: whoever goes on from here takes a higher one, whether there are such
     * parts or not. Absent in journals of version 0.1, which took the number after the highest.
     */
    claims: Schema.optional(PartNumber),
    user_list_unverified_reasons: userListUnverifiedReasons,
    by_activity: Schema.optional(ByActivity),
    /** Key of a run in shards, by which its folder is called. */
    shards: Schema.optional(Schema.String.pipe(Schema.pattern(shardKey))),
    /** The shard that this is a run of alone. */
    shard: Schema.optional(Shard),
    run_progress: runProgress,
  });

  /** Every further line: the parts that are complete since the line before, and how far the run had come with them. */
  const Checkpoint = Schema.Struct({
    checkpoint: named(Count, "cut", "checkpoint"),
    at: Schema.String,
    parts: Schema.Array(Part),
    /** The claim as in a {@link Header}; absent where the number has not changed, or nothing follows. */
    claims: Schema.optional(PartNumber),
    /** The number of shards that the users were dealt to: all of them are described by then. */
    shards: Schema.optional(Count),
    /** The shard that these parts are of. */
    published: Schema.optional(PublishedShard),
    /** The end of an attempt at a shard: no line follows. */
    ended: Schema.optional(Schema.Struct({ page_size: Schema.optional(Count) })),
    run_progress: runProgress,
  });

  return { Part, Run, Manifest, RunProgress, Header, Checkpoint };
};

/** The shapes of each version. */
export const shapes = { 1: shapesOf(1), 2: shapesOf(2) } as const;

type Shapes = ReturnType<typeof shapesOf>;

export type ShapeName = keyof Shapes;

export type Shape<Name extends ShapeName> = Shapes[Name]["Type"];
