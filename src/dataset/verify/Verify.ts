/**
 * Reads a whole dataset back, and says of every file of it whether it is still what was written, and whether all of it fits
 * together.
 *
 * **What is checked.** Every part that the manifest names (or the journal, for a run that has not finished) is there, with
 * the bytes, the sha256 and the rows recorded. Every row is a session by the format's own rules: NDJSON by the schema, CSV
 * by its header and columns, Parquet by its schema. Parts of one number hold the same rows with the same values in the same
 * order, whatever their formats; the earliest and the latest `initiated_at` are those recorded. No session is there twice,
 * but for as many as a run says that it has delivered again: of a time asked for, or of what had ended and came back.
 * Each run has as many rows and bytes as it says. The folders of parts hold no other file that a reader of `csv/*.csv`, say,
 * would read as well.
 *
 * CSV and Parquet are read with other code than what wrote them: `csv-parse` and `hyparquet`.
 */
import * as Arr from "effect/Array";
import * as Effect from "effect/Effect";
import type { SinkError } from "../../sink/Sink.ts";
import * as Consistency from "../Consistency.ts";
import * as Compare from "./Compare.ts";
import * as Inspect from "../Inspect.ts";
import * as Layout from "../Layout.ts";
import * as Manifest from "../Manifest.ts";
import * as Cursors from "../Cursors.ts";
import * as Formats from "../../format/Formats.ts";
import * as QuarantineLine from "../QuarantineLine.ts";
import * as Tombstones from "../Tombstones.ts";
import type { VerifyReport } from "../../plain/Report.ts";
import { collector, type Note, wordsOf } from "./Problems.ts";
import * as Duplicates from "./Duplicates.ts";
import * as SafeFile from "../../sink/SafeFile.ts";
import * as Inventory from "./Inventory.ts";

export type { Problem, VerifyReport as Report } from "../../plain/Report.ts";

/** Nothing yet. */
export const noProgress = () => ({ parts: 0, partsTotal: 0, rows: 0, rowsTotal: 0 });

export type Progress = ReturnType<typeof noProgress>;

/** The parts of each number, or of each run; the lowest comes first, as numbers do among names. */
const byNumber = (parts: ReadonlyArray<Manifest.Part>, name: "part" | "run") =>
  Arr.groupBy(parts, (part) => `${part[name]}`);

const checkTotals = ({ runs, parts, superseded }: Inventory.Stated, note: Note): void => {
  const results = byNumber([...parts, ...superseded].filter(Manifest.isResult), "run");
  for (const { run, sessions, quarantined, tombstones, bytes, options, said } of runs.values()) {
    const own = results[`${run}`] ?? [];
    const sum = (field: "rows" | "bytes", format?: string) =>
      own.filter((part) => format === undefined || part.format === format)
        .reduce((total, part) => total + part[field], 0);
    const { format: choices } = options;
    const asked = Array.isArray(choices) ? choices.map((choice) => String(choice).replace(/\.gz$/, "")) : [];
    for (const format of new Set([...asked, ...own.map(({ format }) => format)])) {
      if (Formats.find(format) === undefined) continue;
      const rows = sum("rows", format);
      if (rows !== sessions) {
        note(said, `says run ${run} has ${sessions} sessions, and ${rows} in its ${format} parts`);
      }
    }
    const rows = sum("rows", "quarantine");
    if (rows !== quarantined) {
      note(said, `says run ${run} has ${quarantined} quarantined rows, and ${rows} in its quarantine parts`);
    }
    const lines = sum("rows", "tombstones");
    if (tombstones !== undefined && lines !== tombstones) {
      note(said, `says run ${run} has ${tombstones} tombstones, and ${lines} in its parts of tombstones`);
    }
    if (bytes !== undefined && sum("bytes") !== bytes) {
      note(said, `says run ${run} has ${bytes} bytes, and ${sum("bytes")} in its parts`);
    }
  }
  for (const path of Consistency.repeated(parts)) note(Layout.names.manifest, `names ${path} twice`);
};

/** List a folder of parts; one that can't be read is told, as what lies there can't be. */
const namesIn = (root: string, folder: string, note: Note): Promise<ReadonlyArray<string>> =>
  SafeFile.namesIn(root, folder).catch((error) => {
    note(folder, `can't be read: ${wordsOf(error)}`);
    return [];
  });

/** Files beside the parts that whoever reads a whole folder would read as well. */
const checkOthers = async ({ root, parts, superseded }: Inventory.Stated, note: Note): Promise<void> => {
  const named = new Set([...parts, ...superseded].map(({ path }) => path));
  for (const folder of Layout.partFolders()) {
    for (const name of await namesIn(root, folder, note)) {
      const path = `${folder}/${name}`;
      if (named.has(path) || name.endsWith(".partial") || Layout.isLeftBySystem(name)) continue;
      note(path, `is no part of the dataset, and is read by all who read the whole folder: move it away`);
    }
  }
};

const noDataset = (root: string) =>
  new Layout.DatasetError({
    reason: "Absent",
    path: root,
    message:
      `There is no dataset in ${root}: it holds neither ${Layout.names.manifest} nor ${Layout.names.journal}. ` +
      "Name the folder that an export was written to",
  });

/** Inspect a dataset's folder; fails if it is none. */
export const open = (
  root: string,
): Effect.Effect<Inspect.Inspection, Layout.DatasetError | SinkError> =>
  Effect.filterOrFail(
    Inspect.read(root),
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
 * Memory: 8 to 16 bytes for each session (20 to 40 where runs other than `full` and `retry` may bring one again), 8 more for each
 * further format of one part, and what the readers hold: a chunk, or a row group of Parquet. A row is said to be there
 * twice only once both have been compared, not their 64 bits alone.
 *
 * @example
 * ```ts
 * import { Dataset, Formats, TenantClient, Transport } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 * import { appendFile, mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = Sandbox.make({ users: 3 });
 * const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
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
 * const report = await Effect.runPromise(Dataset.verify(root));
 * console.assert(report.problems.length === 0 && report.sessions === sessions && report.rows === 2 * sessions);
 *
 * await appendFile(join(root, "csv/part-00000.csv"), "a line\r\n");
 * const [problem] = (await Effect.runPromise(Dataset.verify(root))).problems;
 * console.assert(problem?.path === "csv/part-00000.csv" && problem.problem.startsWith("has "));
 * await rm(root, { recursive: true });
 * ```
 */
export const run = (
  root: string,
  { progress = noProgress() }: { readonly progress?: Progress | undefined } = {},
): Effect.Effect<VerifyReport, Layout.DatasetError | SinkError> =>
  Effect.gen(function* () {
    const manifest = Layout.textOf(root, Layout.names.manifest, Layout.most.manifest);
    const found = yield* open(root);
    const before = yield* manifest;
    const stated = Inventory.by(root, found);
    progress.partsTotal = stated.parts.length;
    progress.rowsTotal = stated.parts.reduce((sum, { rows }) => sum + rows, 0);
    const { note, problems } = collector();
    const result = yield* Effect.promise((signal) => readAll(stated, note, progress, signal));
    checkTotals(stated, note);
    if (found.journal === undefined) yield* Effect.promise(() => checkOthers(stated, note));
    if (before !== (yield* manifest)) {
      note(Layout.names.manifest, "has changed while it was verified: verify once more");
    }
    return { ...result, unfinished: stated.unfinished, problems: problems() };
  });

/** Decoders of lines, for each kind of part that holds no sessions. */
const decoders: Readonly<Record<string, Parameters<typeof Compare.checkLines>[2]>> = {
  quarantine: QuarantineLine.decode,
  tombstones: Tombstones.decode,
  cursors: Cursors.decode,
  observed: Tombstones.decodeObserved,
};

const readAll = async (stated: Inventory.Stated, note: Note, progress: Progress, signal: AbortSignal) => {
  const total = { parts: 0, sessions: 0, rows: 0, bytes: 0 };
  const sessions = Duplicates.census(stated);
  // One that is named again is read once.
  const distinct = [...new Map(stated.parts.map((part) => [part.path, part])).values()];
  for (const parts of Object.values(byNumber(distinct, "part"))) {
    const files: Array<Compare.FileState> = [];
    for (const part of parts) {
      if (signal.aborted) return total;
      const state = await Compare.checkBytes(stated.root, part, note);
      progress.parts++;
      if (state === undefined) continue;
      total.parts++;
      total.bytes += part.bytes;
      const decode = decoders[part.format];
      if (decode === undefined) files.push(state);
      else {
        const rows = await Compare.checkLines(stated.root, part, decode, { note, progress });
        if (Manifest.isResult(part)) total.rows += rows;
      }
    }
    const tracked = { note, see: sessions.see, signal, progress };
    const reference = await Compare.checkRows(stated, files, tracked);
    if (reference === undefined) continue;
    sessions.read(reference.part);
    total.sessions += reference.sessions;
    total.rows += reference.rows;
  }
  await sessions.tell(note);
  return total;
};
