/**
 * Reads a whole dataset back, and says of every file of it whether it is still what was written, and whether all of it fits
 * together.
 *
 * **What is checked.** Every part that the manifest names (or the journal, for a run that has not finished) is there, with
 * the bytes, the sha256 and the rows recorded. Every row is a session by the format's own rules: NDJSON by the schema, CSV
 * by its header and columns, Parquet by its schema. Parts of one number hold the same rows with the same values in the same
 * order, whatever their formats; the earliest and the latest `initiated_at` are those recorded. No session is there twice.
 * Each run has as many rows and bytes as it says. The folders of parts hold no other file that a reader of `csv/*.csv`, say,
 * would read as well.
 *
 * It reads with other code than what wrote: `csv-parse` and `hyparquet`.
 *
 * @module
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import type { OutputError } from "../output/Output.ts";
import * as Dataset from "./Dataset.ts";
import * as Folder from "./Folder.ts";
import * as Keys from "./Keys.ts";
import type { Part } from "./Manifest.ts";
import * as PartReader from "./PartReader.ts";
import * as Rejects from "./Rejects.ts";
import { difference, type Flaw, initiatedAt, isCertain, keyOf, lastUpdated, type Row } from "./Row.ts";

/** Something that is not as it should be. */
export interface Problem {
  /** The file, from the folder of the dataset, with `/`. */
  readonly path: string;
  /** In words that go on from the path: `has 99 rows, not 100`. */
  readonly problem: string;
}

/** What was read, and what is wrong with it. */
export interface Report {
  /** Files of parts. */
  readonly parts: number;
  /** Sessions, each counted once, however many formats hold it. */
  readonly sessions: number;
  /** Rows of all files: sessions of each format, and rejected rows. */
  readonly rows: number;
  /** Of all files, as they lie. */
  readonly bytes: number;
  /** Whether there is a run that has not finished. Its parts so far were verified as well. */
  readonly unfinished: boolean;
  /** Empty if all is well. */
  readonly problems: ReadonlyArray<Problem>;
}

/** How far it has come. It is changed in place. */
export interface Progress {
  parts: number;
  partsTotal: number;
  rows: number;
  rowsTotal: number;
}

/** How to verify. */
export interface VerifyOptions {
  /** Kept up to date. */
  readonly progress?: Progress | undefined;
}

/** Nothing yet. */
export const noProgress = (): Progress => ({ parts: 0, partsTotal: 0, rows: 0, rowsTotal: 0 });

/** What belongs to a run. */
interface Of {
  readonly run: number;
  readonly kind: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly sessions: number;
  readonly rejected: number;
  /** Unknown for a run that has not finished. */
  readonly bytes: number | undefined;
  /** The file that says so. */
  readonly said: string;
}

/** What a dataset says that it is. */
interface Stated {
  readonly root: string;
  readonly parts: ReadonlyArray<Part>;
  /** Parts that others have taken the place of, whether their files are still there or not. */
  readonly superseded: ReadonlyArray<Part>;
  readonly runs: ReadonlyMap<number, Of>;
}

type Note = (path: string, problem: string) => void;

/** At most so many problems of one file are told one by one. */
const TOLD = 10;

/** Collects problems, by file; a few of each. */
const collector = () => {
  const found = new Map<string, Array<string>>();
  return {
    note: ((path, problem) => {
      found.set(path, [...found.get(path) ?? [], problem]);
    }) as Note,
    problems: (): Array<Problem> =>
      [...found].flatMap(([path, problems]) => [
        ...problems.slice(0, TOLD).map((problem) => ({ path, problem })),
        ...(problems.length > TOLD ? [{ path, problem: `and ${problems.length - TOLD} more problems` }] : []),
      ]),
  };
};

/** Faults of one kind in the rows of a file, of which one is told and the others are counted. */
const faults = (note: (problem: string) => void) => {
  let first: string | undefined;
  let more = 0;
  return {
    add: (problem: () => string) => {
      if (first === undefined) first = problem();
      else more++;
    },
    any: () => first !== undefined,
    tell: () => {
      if (first !== undefined) note(more === 0 ? first : `${first}; and ${more} more rows like it`);
    },
  };
};

const wordsOf = (error: unknown): string => {
  const { code, message } = (error ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  return code === "EACCES" ? "permission denied" : String(message ?? error);
};

/** A file of a part, as far as its bytes tell. */
interface FileState {
  readonly part: Part;
  /** Whether its bytes are those that were written. */
  readonly intact: boolean;
}

/** Compares a file's bytes with what is recorded; undefined if it can't be read at all. */
const checkBytes = async (root: string, part: Part, note: Note): Promise<FileState | undefined> => {
  try {
    const { bytes, sha256 } = await PartReader.sumOf(join(root, part.path));
    const intact = bytes === part.bytes && sha256 === part.sha256;
    if (bytes !== part.bytes) note(part.path, `has ${bytes} bytes, not ${part.bytes}`);
    else if (!intact) {
      note(part.path, `has been changed since it was written: its sha256 is ${sha256}, not ${part.sha256}`);
    }
    return { part, intact };
  } catch (error) {
    const isMissing = (error as { readonly code?: unknown }).code === "ENOENT";
    note(
      part.path,
      isMissing ? `is missing, with its ${part.rows} rows` : `can't be read: ${wordsOf(error)}`,
    );
    return undefined;
  }
};

/** A file whose rows are being read, some ahead. */
interface Reading {
  readonly file: FileState;
  readonly source: AsyncGenerator<ReadonlyArray<Row | Flaw>>;
  readonly keys: Keys.Keys;
  readonly flawed: ReturnType<typeof faults>;
  readonly differing: ReturnType<typeof faults>;
  batch: ReadonlyArray<Row | Flaw>;
  at: number;
  rows: number;
  isOver: boolean;
  isBroken: boolean;
  min: number;
  max: number;
}

const begin = (stated: Stated, file: FileState, note: Note): Reading => {
  const { path, run, rows } = file.part;
  const toldOf = (problem: string) => note(path, problem);
  return {
    file,
    source: PartReader.rows(stated.root, file.part, PartReader.textOf(stated.runs.get(run)?.options)),
    keys: Keys.make(Math.min(rows, 1 << 20)),
    flawed: faults(toldOf),
    differing: faults(toldOf),
    batch: [],
    at: 0,
    rows: 0,
    isOver: false,
    isBroken: false,
    min: Infinity,
    max: -Infinity,
  };
};

const fetchMore = async (reading: Reading, note: Note): Promise<void> => {
  try {
    const { done, value } = await reading.source.next();
    reading.at = 0;
    reading.batch = done ? [] : value;
    reading.isOver = done === true;
  } catch (error) {
    reading.isOver = reading.isBroken = true;
    const where = reading.rows === 0 ? "can't be read" : `can't be read on from row ${reading.rows + 1}`;
    note(reading.file.part.path, `${where}: ${wordsOf(error)}`);
  }
};

/** What is said of a file once all its rows are read. */
const conclude = ({ file: { part }, flawed, differing, ...reading }: Reading, note: Note): void => {
  flawed.tell();
  differing.tell();
  if (reading.isBroken) return;
  if (reading.rows !== part.rows) note(part.path, `has ${reading.rows} rows, not ${part.rows}`);
  if (flawed.any()) return;
  const { min, max } = part.initiated_at ?? { min: Infinity, max: -Infinity };
  if (reading.min === min && reading.max === max) return;
  const range = (from: number, to: number) => from > to ? "nothing" : `${from} to ${to}`;
  note(part.path, `has initiated_at of ${range(reading.min, reading.max)}, not of ${range(min, max)}`);
};

/** The formats, the one that alters least first. */
const order: ReadonlyArray<string> = ["ndjson", "parquet", "csv"];

/** Puts first the file that the others of its number are compared with: one that is as it was written, if there is any. */
const byTrust = (one: FileState, other: FileState): number =>
  Number(other.intact) - Number(one.intact) ||
  order.indexOf(one.part.format) - order.indexOf(other.part.format);

/**
 * Reads the session files of one number side by side; gives the file that the others were compared with. `see` gets its
 * rows.
 */
const checkRows = async (
  stated: Stated,
  files: ReadonlyArray<FileState>,
  { note, see, signal, progress }: {
    readonly note: Note;
    readonly see: (row: Row, part: Part) => void;
    readonly signal: AbortSignal;
    readonly progress: Progress;
  },
): Promise<{ readonly part: Part; readonly sessions: number; readonly rows: number } | undefined> => {
  // A Parquet file that is not as it was written could make its reader ask for any amount of memory.
  const readable = files.filter(({ intact, part }) => intact || part.format !== "parquet").sort(byTrust);
  const readings = readable.map((file) => begin(stated, file, note));
  const [first] = readings;
  if (first === undefined) return undefined;
  const take = (reading: Reading, row: Row | Flaw, expected: Row | Flaw | undefined) => {
    const number = ++reading.rows;
    if ("flaw" in row) return reading.flawed.add(() => `row ${number} ${row.flaw}`);
    const initiated = initiatedAt(row);
    if (initiated < reading.min) reading.min = initiated;
    if (initiated > reading.max) reading.max = initiated;
    if (reading === first) return see(row, reading.file.part);
    reading.keys.add(keyOf(row));
    if (expected === undefined || "flaw" in expected) return;
    const words = difference(row, expected);
    if (words === undefined) return;
    reading.differing.add(() => `row ${number} is not that of ${first.file.part.path}: ${words}`);
  };
  try {
    while (!signal.aborted) {
      for (const reading of readings) {
        while (!reading.isOver && reading.at === reading.batch.length) await fetchMore(reading, note);
      }
      const open = readings.filter(({ isOver }) => !isOver);
      if (open.length === 0) break;
      const count = Math.min(...open.map(({ batch, at }) => batch.length - at));
      for (let i = 0; i < count; i++) {
        const expected = first.isOver ? undefined : first.batch[first.at];
        for (const reading of open) take(reading, reading.batch[reading.at++]!, expected);
      }
      progress.rows += count * open.length;
    }
  } finally {
    for (const { source } of readings) await source.return(undefined);
  }
  for (const reading of readings) {
    conclude(reading, note);
    const { file: { part }, flawed, differing } = reading;
    if (reading === first || !(flawed.any() || differing.any() || reading.rows !== part.rows)) continue;
    const repeated = reading.keys.repeated();
    if (repeated !== undefined) await findRepeated(stated, [part], (row) => keyOf(row), repeated, note);
  }
  return {
    part: first.file.part,
    sessions: first.rows,
    rows: readings.reduce((sum, { rows }) => sum + rows, 0),
  };
};

/** Reads parts once more, to tell where the rows are whose keys seem to come twice. */
const findRepeated = async (
  { root, runs }: Stated,
  parts: ReadonlyArray<Part>,
  key: (row: Row) => ReadonlyArray<string>,
  mayBe: (key: ReadonlyArray<string>) => boolean,
  note: Note,
): Promise<void> => {
  const seen = new Map<string, { readonly path: string; readonly number: number }>();
  for (const { path, format, run } of parts) {
    let number = 0;
    const again = faults((problem) => note(path, problem));
    try {
      for await (
        const rows of PartReader.rows(root, { path, format }, PartReader.textOf(runs.get(run)?.options))
      ) {
        for (const row of rows) {
          number++;
          if ("flaw" in row || !isCertain(row) || !mayBe(key(row))) continue;
          const name = JSON.stringify(key(row));
          const before = seen.get(name);
          if (before === undefined) {
            seen.set(name, { path, number });
            continue;
          }
          const at = number;
          const [userId, sessionId] = keyOf(row);
          again.add(() =>
            `row ${at} is there twice: session ${JSON.stringify(sessionId)} of user ${
              JSON.stringify(userId)
            } is ` +
            `row ${before.number}${before.path === path ? "" : ` of ${before.path}`} already`
          );
        }
      }
    } catch {
      // That it can't be read is known.
    }
    again.tell();
  }
};

/** Reads a rejected part. */
const checkRejected = async (root: string, part: Part, note: Note, progress: Progress): Promise<number> => {
  let rows = 0;
  const flawed = faults((problem) => note(part.path, problem));
  try {
    for await (const lines of PartReader.lines(root, part)) {
      for (const line of lines) {
        const number = ++rows;
        const decoded = Rejects.decode(line);
        if (Either.isLeft(decoded)) flawed.add(() => `row ${number} ${decoded.left}`);
      }
      progress.rows += lines.length;
    }
    if (rows !== part.rows) note(part.path, `has ${rows} rows, not ${part.rows}`);
  } catch (error) {
    note(part.path, `can't be read: ${wordsOf(error)}`);
  }
  flawed.tell();
  return rows;
};

/** Kinds of runs over which a session may come once only; in others it may come again, as it is then. */
const once: ReadonlyArray<string> = ["full", "retry"];

/** Collects what each session is known by, and tells in the end which come twice. */
const census = (stated: Stated) => {
  const groups = new Map<string, Keys.Keys>();
  const groupOf = (part: Part): string => {
    const kind = stated.runs.get(part.run)?.kind ?? "full";
    return once.includes(kind) ? "once" : `run ${part.run}`;
  };
  const hasVersions = stated.parts.some((part) => groupOf(part) !== "once");
  const versions = Keys.make(1024);
  const version = (row: Row) => [...keyOf(row), String(lastUpdated(row))];
  const readable: Array<Part> = [];
  return {
    see: (row: Row, part: Part): void => {
      const name = groupOf(part);
      let group = groups.get(name);
      if (group === undefined) {
        const rows = stated.parts.filter((other) => groupOf(other) === name && other.format === part.format)
          .reduce((sum, { rows }) => sum + rows, 0);
        groups.set(name, group = Keys.make(Math.min(rows, 1 << 26)));
      }
      group.add(keyOf(row));
      if (hasVersions) versions.add(version(row));
    },
    read: (part: Part): void => void readable.push(part),
    tell: async (note: Note): Promise<void> => {
      for (const [name, keys] of groups) {
        const repeated = keys.repeated();
        if (repeated === undefined) continue;
        const parts = readable.filter((part) => groupOf(part) === name);
        await findRepeated(stated, parts, keyOf, repeated, note);
      }
      const repeated = hasVersions ? versions.repeated() : undefined;
      if (repeated !== undefined) await findRepeated(stated, readable, version, repeated, note);
    },
  };
};

/** Whether each run has what it says. */
const checkTotals = ({ runs, parts, superseded }: Stated, note: Note): void => {
  for (const { run, sessions, rejected, bytes, options, said } of runs.values()) {
    const own = [...parts, ...superseded].filter((part) => part.run === run);
    const sum = (field: "rows" | "bytes", format?: string) =>
      own.filter((part) => format === undefined || part.format === format)
        .reduce((total, part) => total + part[field], 0);
    const { format: choices } = options;
    const asked = Array.isArray(choices) ? choices.map((choice) => String(choice).replace(/\.gz$/, "")) : [];
    for (const format of new Set([...asked, ...own.map(({ format }) => format)])) {
      if (format === "rejected" || !(Folder.partFolders as ReadonlyArray<string>).includes(format)) continue;
      const rows = sum("rows", format);
      if (rows !== sessions) {
        note(said, `says run ${run} has ${sessions} sessions, and ${rows} in its ${format} parts`);
      }
    }
    const aside = sum("rows", "rejected");
    if (aside !== rejected) {
      note(said, `says run ${run} has ${rejected} rejected rows, and ${aside} in its rejected parts`);
    }
    if (bytes !== undefined && sum("bytes") !== bytes) {
      note(said, `says run ${run} has ${bytes} bytes, and ${sum("bytes")} in its parts`);
    }
  }
  const named = new Set<string>();
  for (const { path } of parts) {
    if (named.has(path)) note(Folder.names.manifest, `names ${path} twice`);
    named.add(path);
  }
};

/** Files beside the parts that whoever reads a whole folder would read as well. */
const checkOthers = async ({ root, parts, superseded }: Stated, note: Note): Promise<void> => {
  const named = new Set([...parts, ...superseded].map(({ path }) => path));
  for (const folder of Folder.partFolders) {
    for (const name of await readdir(join(root, folder)).catch(() => [])) {
      const path = `${folder}/${name}`;
      if (named.has(path) || name.endsWith(".partial") || name.startsWith(".")) continue;
      note(path, `is no part of the dataset, and is read by all who read the whole folder: move it away`);
    }
  }
};

const statedBy = (
  root: string,
  { manifest, journal }: Dataset.Found,
): Stated & { readonly unfinished: boolean } => {
  const unfinished = Dataset.isUnfinished({ manifest, journal });
  const runs = new Map<number, Of>();
  for (const run of manifest?.runs ?? []) runs.set(run.run, { ...run, said: Folder.names.manifest });
  const cuts = unfinished ? journal?.cuts ?? [] : [];
  const last = cuts.at(-1);
  if (journal !== undefined && last !== undefined) {
    const { sessions, rejected } = last.standing.progress;
    runs.set(journal.header.run, {
      ...journal.header,
      sessions,
      rejected,
      bytes: undefined,
      said: Folder.names.journal,
    });
  }
  return {
    root,
    runs,
    parts: [...manifest?.parts ?? [], ...cuts.flatMap(({ parts }) => parts)],
    superseded: manifest?.superseded ?? [],
    unfinished,
  };
};

const noDataset = (root: string) =>
  new Folder.DatasetError({
    reason: "Absent",
    path: root,
    message:
      `There is no dataset in ${root}: it holds neither ${Folder.names.manifest} nor ${Folder.names.journal}. ` +
      "Name the folder that an export was written to",
  });

/** What is in a dataset's folder; fails if it is none. */
export const open = (
  root: string,
): Effect.Effect<Dataset.Found, Folder.DatasetError | OutputError> =>
  Effect.filterOrFail(
    Dataset.look(root),
    ({ manifest, journal }) => manifest !== undefined || journal !== undefined,
    () => noDataset(root),
  );

/**
 * Verifies a dataset. That something is wrong with it is no failure of the effect: it is told in the report.
 *
 * Takes no lock and changes nothing, so it may be read from where nothing can be written. It sees what the dataset was when
 * it began; if a run has ended meanwhile, that is told as a problem.
 *
 * Fails with a `DatasetError` if the folder holds no dataset, or its manifest or journal can't be read.
 *
 * Memory: 8 bytes for each session (16 where runs other than `full` and `retry` may bring one again), as much again for
 * each further format of one part, and what the readers hold: a chunk, or a row group of Parquet. A row is said to be there twice only once both
 * have been compared, not their 64 bits alone.
 *
 * @example
 * ```ts
 * import { Dataset, Formats, HttpPolicy, Verify } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 * import { appendFile, mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = Sandbox.make({ users: 3 });
 * const tenant = HttpPolicy.connect({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
 *   Layer.provide(FetchHttpClient.layer),
 *   Layer.provide(Layer.succeed(FetchHttpClient.Fetch, (input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const root = await mkdtemp(join(tmpdir(), "example-"));
 * const { sessions } = await Effect.runPromise(
 *   Dataset.run({
 *     root,
 *     formats: [Formats.choose("csv")!, Formats.choose("parquet")!],
 *     users: { ids: Stream.fromIterable(sandbox.userIds()) },
 *     tenant: "https://sandbox.example",
 *   }).pipe(Effect.provide(tenant)),
 * );
 * const report = await Effect.runPromise(Verify.run(root));
 * console.assert(report.problems.length === 0 && report.sessions === sessions && report.rows === 2 * sessions);
 *
 * await appendFile(join(root, "csv/part-00000.csv"), "a line\r\n");
 * const [problem] = (await Effect.runPromise(Verify.run(root))).problems;
 * console.assert(problem?.path === "csv/part-00000.csv" && problem.problem.startsWith("has "));
 * await rm(root, { recursive: true });
 * ```
 */
export const run = (
  root: string,
  { progress = noProgress() }: VerifyOptions = {},
): Effect.Effect<Report, Folder.DatasetError | OutputError> =>
  Effect.gen(function* () {
    const path = join(root, Folder.names.manifest);
    const found = yield* open(root);
    const before = yield* Folder.textOf(path);
    const stated = statedBy(root, found);
    progress.partsTotal = stated.parts.length;
    progress.rowsTotal = stated.parts.reduce((sum, { rows }) => sum + rows, 0);
    const { note, problems } = collector();
    const result = yield* Effect.promise((signal) => readAll(stated, note, progress, signal));
    checkTotals(stated, note);
    if (found.journal === undefined) yield* Effect.promise(() => checkOthers(stated, note));
    if (before !== (yield* Folder.textOf(path))) {
      note(Folder.names.manifest, "has changed while it was verified: verify once more");
    }
    return { ...result, unfinished: stated.unfinished, problems: problems() };
  });

/** The parts of each number, the lowest first. */
const byNumber = (parts: ReadonlyArray<Part>): ReadonlyArray<ReadonlyArray<Part>> => {
  const numbers = new Map<number, Array<Part>>();
  for (const part of [...parts].sort((one, other) => one.part - other.part)) {
    numbers.set(part.part, [...numbers.get(part.part) ?? [], part]);
  }
  return [...numbers.values()];
};

const readAll = async (stated: Stated, note: Note, progress: Progress, signal: AbortSignal) => {
  const total = { parts: 0, sessions: 0, rows: 0, bytes: 0 };
  const sessions = census(stated);
  for (const parts of byNumber(stated.parts)) {
    const files: Array<FileState> = [];
    for (const part of parts) {
      if (signal.aborted) return total;
      const state = await checkBytes(stated.root, part, note);
      progress.parts++;
      if (state === undefined) continue;
      total.parts++;
      total.bytes += part.bytes;
      if (part.format !== "rejected") files.push(state);
      else total.rows += await checkRejected(stated.root, part, note, progress);
    }
    const tracked = { note, see: sessions.see, signal, progress };
    const reference = await checkRows(stated, files, tracked);
    if (reference === undefined) continue;
    sessions.read(reference.part);
    total.sessions += reference.sessions;
    total.rows += reference.rows;
  }
  await sessions.tell(note);
  return total;
};
