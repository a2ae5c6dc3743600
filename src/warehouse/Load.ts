/**
 * Load: an exported folder into a table, each part once.
 *
 * **Why once.** Parts are numbered in the order of what they tell, and a number is never given again. How far the folder was
 * read is written in the transaction of the rows: a run that is killed leaves both or neither.
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as CheckedReader from "../dataset/CheckedReader.ts";
import type { DatasetError } from "../dataset/DatasetError.ts";
import type { SinkError } from "../sink/Sink.ts";
import * as Attempt from "./Attempt.ts";
import * as Commits from "./Commits.ts";
import * as LoadLedger from "./LoadLedger.ts";
import * as LoadSource from "./LoadSource.ts";
import * as Report from "./Report.ts";
import type * as Store from "./Store.ts";
import * as TableRows from "./TableRows.ts";
import type { TargetError } from "./Target.ts";
import * as WarehouseOptions from "./WarehouseOptions.ts";

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

/** The report as far as a process knows it, whatever became of a connection. */
interface Known {
  report?: Omit<Report.Report, keyof ReturnType<typeof Report.countsOf> | "seconds">;
}

/** A run on one connection, and how far it is. */
interface Run extends Attempt.Work {
  readonly options: LoadOptions;
  readonly settings: ReturnType<typeof WarehouseOptions.settle>;
  readonly manifest: LoadSource.Loadable;
  readonly reader: CheckedReader.Reader;
  readonly commits: Commits.Commits;
  /** Lets work be interrupted. */
  readonly restore: <A, E, R>(work: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>;
  readonly startedAt: number;
  ledger: LoadLedger.Ledger;
  sessions: number;
  waitingSince: number;
}

/** Make a checkpoint of all that was read. */
const checkpoint = (run: Run, more: Partial<Store.Checkpoint> = {}): Effect.Effect<Store.Checkpoint> =>
  Effect.map(Clock.currentTimeMillis, (now) => {
    const { store, begun, options, settings, ledger, sessions, startedAt } = run;
    run.waitingSince = now;
    return {
      at: new Date(now).toISOString(),
      users: [],
      deletes: settings.deletes,
      standing: {
        users: more.users?.length ?? 0,
        sessions,
        requests: 0,
        retries: 0,
        seconds: begun.standing.seconds + (now - startedAt) / 1000,
        progress: null,
      },
      also: async () => {
        if (options.replace) await store.clear();
        await LoadLedger.save(store, ledger);
      },
      ...more,
    };
  });

/** Begin a commit if one is due. A load that replaces has one alone, at its end. */
const commitIf = (run: Run, isDue: boolean): Effect.Effect<void, TargetError> =>
  isDue && !run.options.replace ? Effect.flatMap(checkpoint(run), run.commits.begin) : Effect.void;

const write = (store: Store.Store, { kind, rows }: LoadSource.Rows, take: TableRows.TakeOptions) => {
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

/** Load rows of a part: with them, `done` of its rows are loaded. */
const loadRows = (run: Run, { name }: LoadSource.Item, rows: LoadSource.Rows, done: number) =>
  Effect.gen(function* () {
    const { store, commits, settings: { take, checkpointRows, checkpointEvery } } = run;
    if (rows.rows.length === 0) return;
    yield* Attempt.call(() => write(store, rows, take));
    if (rows.kind === "sessions") run.sessions += rows.rows.length;
    run.ledger = { ...run.ledger, position: { item: name, rows: done } };
    const now = yield* Clock.currentTimeMillis;
    yield* commitIf(run, store.isDue(checkpointRows) || now - run.waitingSince >= checkpointEvery);
    yield* commits.check;
  });

/** Have the target read a part by itself; gives its rows, or undefined where that is not possible. */
const loadWhole = ({ store, reader }: Run, { part }: LoadSource.Item) =>
  Effect.zipRight(
    CheckedReader.attempt(() => CheckedReader.checkSum(reader, part)),
    Attempt.call(() => store.writeParquet(`${reader.root}/${part.path}`)),
  );

/** Load a part, but for its rows that were loaded before. */
const loadPart = (run: Run, item: LoadSource.Item) =>
  Effect.gen(function* () {
    const { store, reader, restore, manifest, settings } = run;
    const skipped = LoadLedger.rowsOf(run.ledger, item);
    const count = skipped === 0 && LoadSource.canReadWhole(item)
      ? yield* restore(loadWhole(run, item))
      : undefined;
    let done = count ?? 0;
    if (count === undefined) {
      yield* CheckedReader.forEach(LoadSource.read(reader, item, manifest), restore, (value) => {
        const rows = value.rows.slice(Math.max(0, skipped - done));
        done += value.rows.length;
        return loadRows(run, item, { ...value, rows } as LoadSource.Rows, done);
      });
    } else {
      run.sessions += count;
      reader.progress.rows += count;
    }
    run.ledger = {
      ...run.ledger,
      position: { item: item.name, rows: Math.max(done, item.part.rows) },
    };
    yield* commitIf(run, store.isDue(settings.checkpointRows));
  });

/** Commit the rest, and where each user stands; gives the report. */
const finish = (run: Run, known: Known) =>
  Effect.gen(function* () {
    const { options, manifest, begun, commits, sessions } = run;
    const users = yield* LoadSource.readUsers(options.root, manifest);
    // A commit may be done though its answer is lost: then a new connection finds the run ended.
    const report = known.report = {
      target: options.target.name,
      run: begun.run,
      kind: "load",
      began: begun.began,
      users: users.length,
      sessions,
      requests: 0,
      retries: 0,
      ...LoadSource.outcomeOf(manifest),
    };
    const end = { verified: report.verified, unverifiedReasons: Report.unverifiedReasonsOf(report) };
    const last = yield* checkpoint(run, { users, end });
    const counts = yield* commits.finish(last);
    return { ...report, ...Report.countsOf(counts), seconds: last.standing.seconds };
  });

/** Work of one process on a run: loads the parts that were not, with a checkpoint now and then. */
const work = (options: LoadOptions, manifest: LoadSource.Loadable, known: Known) => (its: Attempt.Work) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { store, begun } = its;
      if (begun.isEnded) {
        return { ...known.report!, ...Report.countsOf(begun.counts), seconds: begun.standing.seconds };
      }
      const { root, progress = noProgress() } = options;
      const startedAt = yield* Clock.currentTimeMillis;
      const run: Run = {
        ...its,
        options,
        settings: WarehouseOptions.settle(options),
        manifest,
        reader: { root, purpose: "load", progress },
        commits: Commits.make(store),
        restore,
        startedAt,
        ledger: yield* LoadLedger.open(its, options, manifest.dataset_id),
        sessions: begun.standing.sessions,
        waitingSince: startedAt,
      };
      const { ledger } = run;
      const items = LoadSource.itemsOf(manifest).filter((item) => !LoadLedger.hasAll(ledger, item));
      progress.rows = 0;
      progress.rowsTotal = items.reduce((sum, { part }) => sum + part.rows, 0);
      for (const item of items) yield* loadPart(run, item);
      return yield* finish(run, known);
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
    const manifest = yield* LoadSource.readManifest(root);
    const asked: Store.Asked = { kind: "load", options: { dataset_id: manifest.dataset_id, replace } };
    return yield* Attempt.during(
      target,
      { identity: LoadSource.identityOf(manifest), history },
      () => Effect.succeed(asked),
      options,
      work(options, manifest, {}),
    );
  });
