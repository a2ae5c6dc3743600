/**
 * Load: an exported folder into a table, each part once.
 *
 * **Why once.** Parts are numbered in the order of what they tell, and a number is never given again. How far the folder was
 * read is written in the transaction of the rows: a run that is killed leaves both or neither.
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Schema from "effect/Schema";
import * as SessionFilters from "../api/SessionFilters.ts";
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
import type { SinkError } from "../sink/Sink.ts";
import * as Columns from "../session/Columns.ts";
import * as Attempt from "./Attempt.ts";
import * as Commits from "./Commits.ts";
import * as Report from "./Report.ts";
import * as WarehouseOptions from "./WarehouseOptions.ts";
import type * as Store from "./Store.ts";
import * as TableRows from "./TableRows.ts";
import { TargetError } from "./Target.ts";

/** Options of {@link load}. */
export interface LoadOptions extends WarehouseOptions.WarehouseOptions {
  /** The folder of an export. */
  readonly root: string;
  /** Takes the place of everything that is there, in one transaction. @default {false} */
  readonly replace?: boolean | undefined;
  /** Kept up to date as the run goes on. */
  readonly progress?: LoadProgress | undefined;
}

/** Progress of a load. */
export interface LoadProgress {
  rows: number;
  rowsTotal: number;
}

export const noProgress = (): LoadProgress => ({ rows: 0, rowsTotal: 0 });

/** The place up to which a folder was read: whole parts before one, and rows of that one. */
const Position = Schema.Struct({ item: Schema.String, rows: Schema.Int });

const Ledger = Schema.parseJson(
  Schema.Struct({
    dataset_id: Schema.String,
    /** The run that first loaded it. */
    run: Schema.Int,
    position: Schema.optional(Position),
  }),
);

type Ledger = typeof Ledger.Type;

const kinds = ["sessions", "quarantine", "tombstones"] as const;

/** A part to load. */
interface Item {
  readonly part: Manifest.Part;
  readonly kind: (typeof kinds)[number];
  /** Names it, in the order in which items are loaded. */
  readonly name: string;
}

/** List what is to be loaded, in the order of what it tells. */
const itemsOf = ({ parts }: Manifest.Manifest): ReadonlyArray<Item> => {
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

const readManifest = (root: string): Effect.Effect<Manifest.Manifest, DatasetError | SinkError> =>
  Effect.flatMap(
    Inspect.read(root),
    ({ manifest }) =>
      manifest !== undefined ? Effect.succeed(manifest) : new DatasetError({
        reason: "Absent",
        path: root,
        message:
          `Cannot load ${root} as it has no ${Layout.names.manifest}: name the folder of an export that has ended`,
      }),
  );

/** What a run of the folder was given, which a schema keeps fixed. */
const identityOf = ({ tenant, runs }: Manifest.Manifest): Store.Identity => {
  const options = (runs.findLast(({ kind }) => kind !== "replay") ?? runs.at(-1))?.options ?? {};
  return {
    tenant,
    filters: JSON.parse(JSON.stringify(SessionFilters.pick(options as SessionFilters.SessionFilters))),
    redaction: (options["redact"] ?? null) as Store.Identity["redaction"],
  };
};

type Rows =
  | { readonly kind: "sessions"; readonly rows: ReadonlyArray<DecodedRow.Row> }
  | { readonly kind: "quarantine"; readonly rows: ReadonlyArray<QuarantineLine.Line> }
  | { readonly kind: "tombstones"; readonly rows: ReadonlyArray<Tombstones.Line> };

/** Read a part, some rows at a time. Its sum is checked before any of it is used. */
async function* read(
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

/** Tell whether a part has all columns, and a format that a database may read by itself. */
const canReadWhole = ({ kind, part: { format, columns = [] } }: Item): boolean =>
  kind === "sessions" && format === "parquet" &&
  columns.join() === Columns.columns.map(({ name }) => name).join();

/** Have the target read a part by itself; gives its rows, or undefined where that is not possible. */
const wholly = (store: Store.Store, reader: CheckedReader.Reader, { part }: Item) =>
  Effect.zipRight(
    CheckedReader.attempt(() => CheckedReader.checkSum(reader, part)),
    Attempt.call(() => store.writeParquet(`${reader.root}/${part.path}`)),
  );

const write = (store: Store.Store, { kind, rows }: Rows, take: TableRows.TakeOptions) => {
  switch (kind) {
    case "sessions":
      return store.write(TableRows.ofRows(rows, take));
    case "quarantine":
      return store.write({
        sessions: [],
        replaced: 0,
        quarantined: rows.map(({ user_id, message, paths = [], row }) => ({
          userId: TableRows.cleanText(user_id),
          message,
          paths,
          row,
        })),
      });
    case "tombstones":
      return store.bury(rows.map(({ user_id, session_id, gone, as_of }) => ({
        userId: TableRows.cleanText(user_id),
        sessionId: TableRows.cleanText(session_id),
        endedAt: gone ? Date.parse(as_of) / 1000 : null,
      })));
  }
};

/** What a process knows of its run, whatever became of a connection. */
interface Known {
  report?: Omit<Report.Report, keyof ReturnType<typeof Report.countsOf> | "seconds">;
}

const work =
  (options: LoadOptions, manifest: Manifest.Manifest, known: Known) =>
  ({ store, begun }: Attempt.Work): Effect.Effect<Report.Report, DatasetError | TargetError> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        if (begun.isEnded) {
          return { ...known.report!, ...Report.countsOf(begun.counts), seconds: begun.standing.seconds };
        }
        const { root, replace = false, target, progress = noProgress() } = options;
        const settled = WarehouseOptions.settle(options);
        const { deletes, checkpointRows, checkpointEvery } = settled;
        const startedAt = yield* Clock.currentTimeMillis;
        const { dataset_id = "" } = manifest;
        const refuse = (message: string) =>
          new TargetError({
            reason: "Foreign",
            target: target.name,
            message: `Cannot load ${root} into ${target.name}: ${message}`,
          });

        const said = (yield* Attempt.call(() => store.meta())).get("dataset");
        const found = said === undefined ? undefined : Schema.decodeSync(Ledger)(said);
        // A load that replaces has done nothing before it has done all.
        let ledger: Ledger = !replace && found !== undefined ? found : { dataset_id, run: begun.run };
        if (!replace) {
          if (found !== undefined && found.dataset_id !== dataset_id) {
            return yield* refuse(
              `it holds another dataset, ${found.dataset_id}. To put this one in its place, give --replace`,
            );
          }
          if (yield* Attempt.call(() => store.hasOtherRuns(found?.run ?? 0))) {
            return yield* refuse(
              "sync has written to it since, and the folder may have what is older. Go on with sync, or give --replace",
            );
          }
        }

        const { position } = ledger;
        const isLoaded = ({ name, part }: Item) =>
          position !== undefined &&
          (name < position.item || (name === position.item && position.rows >= part.rows));
        const items = itemsOf(manifest).filter((item) => !isLoaded(item));
        progress.rows = 0;
        progress.rowsTotal = items.reduce((sum, { part }) => sum + part.rows, 0);
        let sessions = begun.standing.sessions;
        let waitingSince = startedAt;

        const commits = Commits.make(store);

        /** Make a checkpoint of all that was read. */
        const checkpoint = (more: Partial<Store.Checkpoint> = {}) =>
          Effect.map(Clock.currentTimeMillis, (now): Store.Checkpoint => {
            const said = Schema.encodeSync(Ledger)(ledger);
            waitingSince = now;
            return {
              at: new Date(now).toISOString(),
              users: [],
              deletes,
              standing: {
                users: more.users?.length ?? 0,
                sessions,
                requests: 0,
                retries: 0,
                seconds: begun.standing.seconds + (now - startedAt) / 1000,
                progress: null,
              },
              also: async () => {
                if (replace) await store.clear();
                await store.setMeta("dataset", said);
              },
              ...more,
            };
          });

        for (const item of items) {
          const { name, part, kind } = item;
          const skipped = ledger.position?.item === name ? ledger.position.rows : 0;
          let done = 0;
          const reader: CheckedReader.Reader = { root, purpose: "load", progress };
          const take = (value: Rows) =>
            Effect.gen(function* () {
              const first = Math.max(0, skipped - done);
              done += value.rows.length;
              const rest = { ...value, rows: value.rows.slice(first) } as Rows;
              if (rest.rows.length === 0) return;
              yield* Attempt.call(() => write(store, rest, settled.take));
              if (kind === "sessions") sessions += rest.rows.length;
              ledger = { ...ledger, position: { item: name, rows: done } };
              const now = yield* Clock.currentTimeMillis;
              const isDue = store.isDue(checkpointRows) || now - waitingSince >= checkpointEvery;
              if (!replace && isDue) yield* commits.begin(yield* checkpoint());
              yield* commits.check;
            });
          const count = skipped === 0 && canReadWhole(item)
            ? yield* restore(wholly(store, reader, item))
            : undefined;
          if (count === undefined) {
            yield* CheckedReader.forEach(read(reader, item, manifest), restore, take);
          } else {
            done = count;
            sessions += count;
            progress.rows += count;
          }
          ledger = { ...ledger, position: { item: name, rows: Math.max(done, part.rows) } };
          if (!replace && store.isDue(checkpointRows)) yield* commits.begin(yield* checkpoint());
        }

        const cursors = yield* Cursors.load(root, manifest.parts);
        const states = new Map(manifest.failed.map(({ user_id, state }) => [user_id, state]));
        const users = [...new Set([...cursors.keys(), ...states.keys()])].map((userId): Store.StagedUser => {
          const state = states.get(userId);
          return {
            userId,
            cursor: cursors.get(userId) ?? null,
            state: state === undefined ? null : JSON.stringify(state),
            run: 0,
            listed: "",
          };
        });
        const last = manifest.runs.at(-1);
        const unverified = last?.unverified ?? { count: 0, first: [] };
        const userListUnverifiedReasons = last?.user_list_unverified_reasons ?? [];
        const failed = {
          count: manifest.failed.length,
          first: manifest.failed.slice(0, 100).map(({ user_id, message }) => ({ userId: user_id, message })),
        };
        const verified = last?.verified === true && failed.count === 0;
        const unverifiedReasons = [
          ...userListUnverifiedReasons,
          ...unverified.first.map(({ userId, unverifiedReasons }) =>
            `${userId}: ${unverifiedReasons.join("; ")}`
          ),
          ...failed.first.map(({ userId, message }) => `${userId}: ${message}`),
        ];
        // A commit may be done though its answer is lost: then a new connection finds the run ended.
        known.report = {
          target: target.name,
          run: begun.run,
          kind: "load",
          began: begun.began,
          users: users.length,
          sessions,
          requests: 0,
          retries: 0,
          verified,
          missing: last?.missing ?? { count: 0, first: [] },
          unverified,
          failed,
          userListUnverifiedReasons,
        };
        const final = yield* checkpoint({ users, end: { verified, unverifiedReasons } });
        const counts = yield* commits.finish(final);
        return { ...known.report, ...Report.countsOf(counts), seconds: final.standing.seconds };
      })
    );

/**
 * Bring an exported folder into a table: its parts of sessions, what they quarantined, tombstones, and cursors, so that `sync`
 * goes on from there. Of each number it takes the part whose format alters rows least. Parts that were loaded before are
 * passed over, whatever ended an earlier run.
 *
 * Fails with a `DatasetError`, a `SinkError` or a `TargetError`.
 *
 * Memory: some rows of a part (of Parquet a row group), the rows of a checkpoint as far as the target holds them here, and
 * the cursors of all users.
 */
export const load = (
  options: LoadOptions,
): Effect.Effect<Report.Report, DatasetError | SinkError | TargetError> =>
  Effect.gen(function* () {
    const { root, target, replace = false, history = false } = options;
    const manifest = yield* readManifest(root);
    if (manifest.dataset_id === undefined) {
      return yield* new DatasetError({
        reason: "Version",
        path: root,
        message:
          `Cannot load ${root} as version 0.1 gave it no id: add to it with --since-last first, which makes one`,
      });
    }
    const asked: Store.Asked = { kind: "load", options: { dataset_id: manifest.dataset_id, replace } };
    return yield* Attempt.during(
      target,
      { identity: identityOf(manifest), history },
      asked,
      options,
      work(options, manifest, {}),
    );
  });
