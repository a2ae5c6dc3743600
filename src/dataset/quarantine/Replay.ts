/**
 * Runs rows that were quarantined through the schema of this version: those that pass now become sessions of the dataset, the
 * others stay quarantined.
 *
 * **Why nothing is lost or doubled, whenever it is killed.** New parts are written and flushed first; nothing speaks of
 * them yet, so the next process that writes to the folder removes them. Then the manifest is replaced, in one step: it names
 * the new parts, and says that they have taken the place of the old quarantined ones. Only then are the old files removed; if
 * that is broken off, the next process does it.
 */
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Batch from "../../session/Batch.ts";
import * as Formats from "../../format/Formats.ts";
import type { ReplayReport } from "../../plain/Report.ts";
import type { SinkError } from "../../sink/Sink.ts";
import * as Program from "../../version.ts";
import { lineOf, type QuarantinedLine, rows as rowsOf } from "./QuarantinedRows.ts";
import * as Inspect from "../Inspect.ts";
import * as Layout from "../Layout.ts";
import * as Journal from "../Journal.ts";
import * as ExistingSessions from "./ExistingSessions.ts";
import * as Lease from "../Lease.ts";
import * as Manifest from "../Manifest.ts";
import * as PartWriter from "../PartWriter.ts";
import * as CheckedReader from "../CheckedReader.ts";
import * as Verify from "../verify/Verify.ts";

const { DatasetError } = Layout;

export type { ReplayReport as Report } from "../../plain/Report.ts";

/** Nothing yet. */
export const noProgress = () => ({ rows: 0, rowsTotal: 0 });

export type Progress = ReturnType<typeof noProgress>;

const readerOf = (root: string, progress: Progress): CheckedReader.Reader => ({
  root,
  purpose: "replay",
  progress,
});

const formatsOf = (
  root: string,
  { options }: Manifest.Run,
): Effect.Effect<ReadonlyArray<Formats.Choice>, Layout.DatasetError> => {
  const { format, keepFormulas } = options;
  const csv = { escapeFormulas: keepFormulas !== true };
  const choices = (Array.isArray(format) ? format : []).map((name) => Formats.choose(String(name), { csv }));
  return choices.length === 0 || choices.includes(undefined)
    ? CheckedReader.damaged(
      { root, purpose: "replay" },
      Layout.names.manifest,
      `names formats that are unknown, ${JSON.stringify(format)}`,
    )
    : Effect.succeed(choices as ReadonlyArray<Formats.Choice>);
};

/** Sessions as batches, one for each user that follows on another. */
const batchesOf = (rows: ReadonlyArray<QuarantinedLine>): ReadonlyArray<Batch.Batch> => {
  const users: Array<{ readonly userId: string; readonly texts: Array<string> }> = [];
  for (const { line, decoded } of rows) {
    if (Either.isLeft(decoded)) continue;
    if (users.at(-1)?.userId !== line.user_id) users.push({ userId: line.user_id, texts: [] });
    users.at(-1)!.texts.push(line.row);
  }
  return users.map(({ userId, texts }) => Batch.ofTexts(userId, texts));
};

interface Work extends Omit<PartWriter.PartsOptions, "onInvalid"> {
  readonly number: number;
  readonly parts: ReadonlyArray<Manifest.Part>;
  /** Places of the rows that become sessions. */
  readonly added: ReadonlySet<string>;
  readonly progress: Progress;
}

/** Writes the new parts. They are complete, and nothing speaks of them yet. */
const writeParts = ({ number, parts, added, progress, ...options }: Work) =>
  Effect.gen(function* () {
    const writer = yield* Effect.acquireRelease(
      PartWriter.make({ ...options, onInvalid: undefined }, number),
      ({ discard }) => discard,
    );
    const users = new Set<string>();
    const rows = rowsOf(readerOf(options.root, progress), parts);
    yield* CheckedReader.forEach(rows, (work) => work, (some) =>
      Effect.gen(function* () {
        for (const batch of batchesOf(some.filter(({ place }) => added.has(place)))) {
          users.add(batch.userId);
          yield* writer.write(batch);
        }
        const staying = some.filter(({ decoded }) => Either.isLeft(decoded));
        if (staying.length > 0) yield* writer.keep("quarantine", staying.map((row) => `${lineOf(row)}\n`));
      }));
    return { parts: yield* writer.commit, users: users.size };
  });

const noSome = { count: 0, first: [] };

/**
 * Replays what a dataset has quarantined. Rows that were redacted can't be replayed, and stay. A row whose session the dataset
 * has already, as late or later, is not added; of several rows of one session the latest is. If no row passes, nothing is
 * changed.
 *
 * Fails with a `DatasetError` if the folder holds no dataset, another process writes to it, a run of it has not finished, or
 * a part of it is damaged; and with a `SinkError`.
 *
 * Memory: the ids of the rows that pass, and what the readers and the encoders hold.
 *
 * @example
 * ```ts
 * import { Dataset, Formats, TenantClient, Transport } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = Sandbox.make({ users: 3, malformed: 0.1 });
 * const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
 *   Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const root = await mkdtemp(join(tmpdir(), "example-"));
 * const { quarantined } = await Effect.runPromise(
 *   Dataset.run({
 *     root,
 *     formats: [Formats.choose("parquet")!],
 *     users: { ids: Stream.fromIterable(sandbox.userIds()) },
 *     tenant: "https://sandbox.example",
 *   }).pipe(Effect.provide(tenant)),
 * );
 * // The same version finds the same rows wrong.
 * const report = await Effect.runPromise(Dataset.replay(root));
 * console.assert(report.rows === quarantined && report.sessions === 0 && report.quarantined === quarantined);
 * await rm(root, { recursive: true });
 * ```
 */
export const run = (
  root: string,
  { progress = noProgress() }: { readonly progress?: Progress | undefined } = {},
): Effect.Effect<ReplayReport, Layout.DatasetError | SinkError> =>
  Effect.zipRight(Verify.open(root), Lease.during(root, (lease) => replay(root, progress, lease)));

const replay = (root: string, progress: Progress, { prove }: Lease.Lease) =>
  Effect.gen(function* () {
    yield* Journal.recover(root, prove);
    const before = yield* Verify.open(root);
    const last = before.manifest?.runs.at(-1);
    if (Inspect.isUnfinished(before) || before.manifest === undefined || last === undefined) {
      return yield* new DatasetError({
        reason: "Occupied",
        path: root,
        message:
          `Cannot replay in ${root}: it holds an export that did not finish. Go on with it first (export --resume)`,
      });
    }
    yield* Inspect.refuseOthers(root, before, "resume", true);
    const found = yield* Inspect.removeOrphans(root, before, prove);
    const { manifest = before.manifest } = found;

    // The latest first, so that of rows that are equally late the last one counts.
    const parts = manifest.parts.filter(({ format }) => format === "quarantine").reverse();
    const rows = parts.reduce((sum, { rows }) => sum + rows, 0);
    progress.rowsTotal = 2 * rows + manifest.runs.reduce((sum, { sessions }) => sum + sessions, 0);
    const candidates = new Map<string, ExistingSessions.Candidate>();
    const counts = { passed: 0, redacted: 0 };
    yield* CheckedReader.attempt(async () => {
      for await (const some of rowsOf(readerOf(root, progress), parts)) {
        for (const { line, decoded, place } of some) {
          if (line.redacted) counts.redacted++;
          if (Either.isLeft(decoded)) continue;
          counts.passed++;
          const name = ExistingSessions.nameOf([line.user_id, decoded.right.session_id]);
          const before = candidates.get(name)?.lastUpdated ?? -1;
          if (decoded.right.last_updated > before) {
            candidates.set(name, { place, lastUpdated: decoded.right.last_updated });
          }
        }
      }
    });
    const { passed, redacted } = counts;
    const nothing = { rows, quarantined: rows - passed, redacted };
    if (passed === 0) return { ...nothing, sessions: 0, known: 0, files: [] };
    yield* CheckedReader.attempt(() =>
      ExistingSessions.remove(readerOf(root, progress), manifest, candidates)
    );

    const files = yield* writeAll(manifest, last, {
      root,
      version: manifest.manifest_version,
      number: Inspect.nextPart(found),
      run: last.run + 1,
      formats: yield* formatsOf(root, last),
      parts,
      added: new Set([...candidates.values()].map(({ place }) => place)),
      progress,
      prove,
    });
    return { ...nothing, sessions: candidates.size, known: passed - candidates.size, files };
  });

/** Writes the parts and then the manifest; removes what the one or the other has made needless. */
const writeAll = (
  manifest: Manifest.Manifest,
  last: Manifest.Run,
  work: Work,
): Effect.Effect<ReadonlyArray<Manifest.Part>, Layout.DatasetError | SinkError> =>
  Effect.gen(function* () {
    const { root, number, run, parts, added, prove } = work;
    const began = yield* Clock.currentTimeMillis;
    const at = (time: number) => new Date(time).toISOString();
    const common = { run, kind: "replay" as const, began: at(began), options: last.options };
    // Without a checkpoint it says no more than that the number of the new parts is taken, and that they are nobody's.
    const header: Manifest.Header = {
      ...common,
      journal_version: manifest.manifest_version,
      created_by: `monocloud-sessions ${Program.version}`,
      tenant: manifest.tenant,
      claims: number,
      users: 0,
      user_list_unverified_reasons: [],
      run_progress: Manifest.noProgress(),
    };
    const journal = { header, checkpoints: [] };
    yield* Journal.write(root, journal, prove);
    const written = yield* Effect.scoped(writeParts(work)).pipe(
      Effect.catchTag("ExportError", Effect.die),
      Effect.onError(() => Effect.ignore(Inspect.removeOrphans(root, { manifest, journal }, prove))),
    );
    const sum = (format: string, field: "rows" | "bytes") =>
      written.parts.filter((part) => format === "" || part.format === format)
        .reduce((total, part) => total + part[field], 0);
    const ended = yield* Clock.currentTimeMillis;
    const summary: Manifest.Run = {
      ...common,
      ended: at(ended),
      seconds: (ended - began) / 1000,
      users: written.users,
      sessions: added.size,
      quarantined: sum("quarantine", "rows"),
      bytes: sum("", "bytes"),
      requests: 0,
      retries: 0,
      verified: last.verified,
      missing: noSome,
      unverified: noSome,
      user_list_unverified_reasons: [],
    };
    const old = new Set(parts.map(({ path }) => path));
    const whole: Manifest.Manifest = {
      ...manifest,
      dataset_id: manifest.dataset_id ?? crypto.randomUUID(),
      columns: Manifest.ownColumns,
      runs: [...manifest.runs, summary],
      parts: [...manifest.parts.filter(({ path }) => !old.has(path)), ...written.parts],
      superseded: [...manifest.superseded ?? [], ...[...parts].reverse()],
      next_part: number + 1,
    };
    yield* Effect.uninterruptible(Effect.zipRight(
      Layout.replace(root, Layout.names.manifest, Manifest.textOf(whole), prove),
      Inspect.removeOrphans(root, { manifest: whole, journal }, prove),
    ));
    return written.parts;
  });
