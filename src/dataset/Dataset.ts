/**
 * A run into a folder that survives being killed at any moment: every session is in its parts exactly once, however often
 * it was broken off and gone on with.
 *
 * **Why.** Batches are taken one at a time, and each says where its walk stands after it. At a *cut* every format's part is
 * completed: flushed to the disk, then renamed. Then one line goes to the journal and is flushed: it names the parts, and
 * says where every walk stood. Before that line the parts are not in the dataset, and the next run removes them and walks
 * from the line before; after it, they are, and the next run walks from there. There is nothing in between.
 *
 * @module
 */
import { createReadStream } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import * as Cause from "effect/Cause";
import * as Chunk from "effect/Chunk";
import * as Clock from "effect/Clock";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Option from "effect/Option";
import * as Scope from "effect/Scope";
import * as Stream from "effect/Stream";
import type { Batch } from "../Batch.ts";
import * as Export from "../Export.ts";
import type { Choice } from "../format/Formats.ts";
import * as Gzip from "../output/Gzip.ts";
import { OutputError } from "../output/Output.ts";
import type { ApiError } from "../tenant/ApiError.ts";
import { TenantHttp } from "../tenant/HttpPolicy.ts";
import * as SessionSource from "../walk/SessionSource.ts";
import { version } from "../version.ts";
import * as Folder from "./Folder.ts";
import * as Journal from "./Journal.ts";
import * as Lock from "./Lock.ts";
import * as Manifest from "./Manifest.ts";

const { DatasetError } = Folder;

/** The users of a run, as they are listed. */
export interface UserList<E, R> {
  /** Each once. Read once, to its end, before the first session is asked for; not read when a run is gone on with. */
  readonly ids: Stream.Stream<string, E, R>;
  /** After the ids: why not every user may have been named. */
  readonly doubts?: (() => ReadonlyArray<string>) | undefined;
}

/** What to export into a dataset. */
export interface DatasetOptions<E, R> {
  /** The folder; created if need be. */
  readonly root: string;
  readonly formats: ReadonlyArray<Choice>;
  readonly users: UserList<E, R>;
  /** The tenant's origin, to record it and to keep tenants apart. */
  readonly tenant: string;
  /**
   * Whether to go on with what an earlier process could not finish, its failed users included, or to insist on a folder
   * without a run.
   *
   * @default {"new"}
   */
  readonly mode?: "new" | "resume" | undefined;
  /** How to walk. `clientId` and `sort` must stay the same within a run. */
  readonly walk?: Omit<SessionSource.SessionSourceOptions, "onFailure"> | undefined;
  /** What else must stay the same within a run, for the caller's own sake: recorded, and compared. */
  readonly options?: Readonly<Record<string, unknown>> | undefined;
  readonly onInvalid?: Export.ExportOptions<E, R>["onInvalid"];
  /** As for {@link Export.run}, over the whole run. What has come is kept, and a run that may reject more goes on from there. */
  readonly maxRejected?: Export.MaxRejected | undefined;
  /** Parts are completed once they hold so many sessions. @default {500_000} */
  readonly partRows?: number | undefined;
  /** Or once one of them has so many bytes, before any compression on the way. @default {536_870_912, 512 MiB} */
  readonly partBytes?: number | undefined;
  /** Done to each batch before it is encoded. */
  readonly change?: ((batch: Batch) => Batch) | undefined;
  /** Kept up to date as the run goes on. */
  readonly progress?: Export.Progress | undefined;
}

/** What a run did, over all processes that worked on it. */
export interface Report extends Manifest.Run {
  readonly failed: Export.Some<Export.FailedUser>;
  readonly files: ReadonlyArray<Manifest.Part>;
  /** True if there was nothing to go on with. */
  readonly wasFinished: boolean;
}

const PART_ROWS = 500_000;
const PART_BYTES = 512 * 2 ** 20;

const noStanding: Manifest.Standing = {
  position: 0,
  open: [],
  failed: [],
  progress: Export.noProgress(),
  missing: [],
  unverified: [],
  seconds: 0,
  requests: 0,
  retries: 0,
};

const list = (items: ReadonlyArray<string>): string =>
  items.slice(0, 3).join(", ") + (items.length > 3 ? `, and ${items.length - 3} more` : "");

const occupied = (root: string, message: string) =>
  new DatasetError({ reason: "Occupied", path: root, message: `Cannot export into ${root}: ${message}` });

/** What is in the folder now. */
export interface Found {
  readonly manifest: Manifest.Manifest | undefined;
  readonly journal: Journal.Journal | undefined;
}

/** Reads what the folder says of itself. */
export const look = (root: string): Effect.Effect<Found, Folder.DatasetError | OutputError> =>
  Effect.gen(function* () {
    const path = join(root, Folder.names.manifest);
    const text = yield* Folder.textOf(path);
    const manifest = text === undefined ? undefined : yield* Manifest.decode(Manifest.Manifest, path, text);
    const journal = yield* Journal.read(root);
    return { manifest, journal };
  });

/** Whether there is a run to go on with: one that has not finished, and has come to a first cut. */
export const isUnfinished = ({ manifest, journal }: Found): boolean =>
  // A process may die after it has finished the run, before it removes the journal.
  journal !== undefined && journal.cuts.length > 0 &&
  !manifest?.runs.some(({ run }) => run === journal.header.run);

/** Refuses a folder that holds what is no part of a dataset, or what a run of this mode can't go on from. */
export const refuseOthers = (root: string, { manifest, journal }: Found, mode: "new" | "resume") =>
  Effect.gen(function* () {
    const foreign = yield* Folder.foreignIn(root);
    if (foreign.length > 0) {
      return yield* Effect.fail(
        occupied(root, `it holds ${list(foreign)}, which is no part of an export. Choose another folder`),
      );
    }
    const { parts } = yield* Folder.partsIn(root);
    const known = [...manifest?.parts ?? [], ...manifest?.superseded ?? []];
    const named = new Set([...known, ...journal?.cuts.flatMap((cut) => cut.parts) ?? []].map((
      { path },
    ) => path));
    const next = nextPart({ manifest, journal });
    const unnamed = parts.filter(({ path, number }) => !named.has(path) && (!journal || number !== next));
    if (unnamed.length > 0) {
      return yield* Effect.fail(
        occupied(
          root,
          `it holds ${
            list(unnamed.map(({ path }) => path))
          }, of which neither manifest nor journal speaks. ` +
            "Choose another folder, or move it away",
        ),
      );
    }
    if (mode === "resume") return;
    if (isUnfinished({ manifest, journal })) {
      return yield* Effect.fail(
        occupied(
          root,
          "it holds an export that did not finish. Go on with it (--resume), choose another folder, or remove this one",
        ),
      );
    }
    if (manifest !== undefined) {
      return yield* Effect.fail(
        occupied(root, "it holds a finished export. Choose another folder, or remove this one first"),
      );
    }
  });

/** The number of the next part. */
export const nextPart = ({ manifest, journal }: Found): number =>
  1 + Math.max(
    -1,
    ...[...manifest?.parts ?? [], ...manifest?.superseded ?? []].map(({ part }) => part),
    ...(journal?.cuts ?? []).flatMap(({ parts }) => parts).map(({ part }) => part),
  );

const sameOptions = (
  root: string,
  begun: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
) => {
  const names = new Set([...Object.keys(begun), ...Object.keys(now)]);
  const say = (value: unknown) => value === undefined ? "not given" : JSON.stringify(value);
  for (const name of names) {
    if (say(begun[name]) === say(now[name])) continue;
    return Effect.fail(
      new DatasetError({
        reason: "Options",
        path: root,
        message:
          `Cannot go on with the export in ${root}: '${name}' was ${say(begun[name])} when it began and is ` +
          `${say(now[name])} now. Give what was given then, or choose another folder`,
      }),
    );
  }
  return Effect.void;
};

/** Writes the list of users; gives how many there are. */
const writeUsers = <E, R>(root: string, { ids }: UserList<E, R>) =>
  Effect.scoped(Effect.gen(function* () {
    const sink = yield* Folder.part(root, Folder.names.users).open;
    const utf8 = new TextEncoder();
    let count = 0;
    yield* Stream.runForEachChunk(ids, (chunk) => {
      count += chunk.length;
      return sink.write(
        utf8.encode(Chunk.toReadonlyArray(Chunk.map(chunk, (id) => `${JSON.stringify(id)}\n`)).join("")),
      );
    });
    yield* sink.commit;
    return count;
  }));

/** The listed users from the given one on. */
const listedFrom = (root: string, position: number): Stream.Stream<string, OutputError> => {
  const path = join(root, Folder.names.users);
  async function* lines() {
    let number = 0;
    for await (const line of createInterface({ input: createReadStream(path), crlfDelay: Infinity })) {
      if (number++ >= position) yield JSON.parse(line) as string;
    }
  }
  return Stream.fromAsyncIterable(lines(), (cause) => new OutputError({ reason: "Open", path, cause }));
};

/**
 * Runs an export into a dataset, and reports what it did.
 *
 * However it is broken off (interrupted, refused by the tenant, out of patience, out of disk) what has come by then is
 * completed as parts if it can be, and `mode: "resume"` goes on from there. Only one process at a time may work on a folder.
 *
 * Fails with a `DatasetError`, with what `users` fails with, an `ApiError`, an `OutputError` or an `ExportError`.
 *
 * Memory: as for {@link Export.run}, and where each walk under way stands.
 *
 * @example
 * ```ts
 * import { Dataset, Formats, HttpPolicy } from "monocloud-sessions";
 * import * as Sandbox from "monocloud-sessions/sandbox";
 * import * as FetchHttpClient from "@effect/platform/FetchHttpClient";
 * import * as Effect from "effect/Effect";
 * import * as Layer from "effect/Layer";
 * import * as Stream from "effect/Stream";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = Sandbox.make({ users: 3 });
 * const tenant = HttpPolicy.connect({ domain: "sandbox.example", apiKey: sandbox.key, rate: 1000 }).pipe(
 *   Layer.provide(FetchHttpClient.layer),
 *   Layer.provide(Layer.succeed(FetchHttpClient.Fetch, (input, init) => sandbox.fetch(new Request(input, init)))),
 * );
 * const root = await mkdtemp(join(tmpdir(), "example-"));
 * const report = await Effect.runPromise(
 *   Dataset.run({
 *     root,
 *     formats: [Formats.choose("parquet")!],
 *     users: { ids: Stream.fromIterable(sandbox.userIds()) },
 *     tenant: "https://sandbox.example",
 *     mode: "resume",
 *   }).pipe(Effect.provide(tenant)),
 * );
 * console.assert(report.users === 3 && report.verified);
 * await rm(root, { recursive: true });
 * ```
 */
export const run = <E, R>(options: DatasetOptions<E, R>): Effect.Effect<
  Report,
  E | ApiError | OutputError | Export.ExportError | Folder.DatasetError,
  Exclude<R, Scope.Scope> | TenantHttp
> =>
  Effect.scoped(Effect.gen(function* () {
    const { root, tenant, mode = "new", walk = {}, formats, users } = options;
    yield* Folder.makeFolder(root);
    yield* Lock.hold(root);
    const found = yield* look(root);
    yield* refuseOthers(root, found, mode);
    yield* sweep(root, found);
    const manifest = found.manifest ?? Manifest.empty(tenant);
    const { clientId, sort } = walk;
    const fixed = JSON.parse(JSON.stringify({
      format: formats.map(({ format, gzip }) => gzip ? `${format.name}.gz` : format.name).sort(),
      clientId,
      sort,
      onInvalid: options.onInvalid ?? "quarantine",
      ...options.options,
    }));
    yield* sameOptions(root, { tenant: manifest.tenant }, { tenant });

    let journal = isUnfinished(found) ? found.journal : undefined;
    if (journal !== undefined) {
      yield* sameOptions(root, { tenant: journal.header.tenant, ...journal.header.options }, {
        tenant,
        ...fixed,
      });
    } else {
      const last = manifest.runs.at(-1);
      if (last !== undefined) yield* sameOptions(root, last.options, fixed);
      if (last !== undefined && manifest.failed.length === 0) return finished(manifest, last);
      const none: UserList<never, never> = { ids: Stream.empty };
      const isRetry = last !== undefined;
      const count = yield* (isRetry ? writeUsers(root, none) : writeUsers(root, users));
      const header: Manifest.Header = {
        journal_version: Manifest.manifestVersion,
        created_by: `monocloud-sessions ${version}`,
        run: (last?.run ?? 0) + 1,
        kind: isRetry ? "retry" : "full",
        began: new Date(yield* Clock.currentTimeMillis).toISOString(),
        tenant,
        options: fixed,
        users: count + manifest.failed.length,
        user_doubts: isRetry ? [] : users.doubts?.() ?? [],
        standing: { ...noStanding, open: manifest.failed.map(({ user_id, state }) => ({ user_id, state })) },
      };
      yield* Journal.begin(root, header);
      journal = { header, cuts: [] };
    }
    if (options.progress !== undefined) options.progress.usersTotal = journal.header.users;
    return yield* goOn(options, manifest, journal);
  }));

/**
 * Removes what a process that was killed has left: partial files, parts that no journal line names, parts that others have
 * taken the place of, a journal that is over.
 */
export const sweep = (root: string, found: Found) =>
  Effect.gen(function* () {
    const { parts, partials } = yield* Folder.partsIn(root);
    const next = nextPart(found);
    const beside = (yield* Folder.namesIn(root)).filter(Folder.isPartial);
    const unnamed = parts.filter(({ number }) => number >= next).map(({ path }) => path);
    const superseded = (found.manifest?.superseded ?? []).map(({ path }) => path);
    yield* Effect.forEach(
      [...unnamed, ...superseded, ...partials, ...beside],
      (path) => Folder.remove(join(root, path)),
    );
    if (!isUnfinished(found)) yield* forget(root);
  });

/** Removes what tells of an unfinished run. */
const forget = (root: string) =>
  Effect.zipRight(
    Folder.remove(join(root, Folder.names.journal)),
    Folder.remove(join(root, Folder.names.users)),
  );

const finished = (manifest: Manifest.Manifest, last: Manifest.Run): Report => ({
  ...last,
  failed: { count: 0, first: [] },
  files: manifest.parts.filter(({ run }) => run === last.run),
  wasFinished: true,
});

/** A part of each format in the making. */
interface Open {
  readonly files: Export.Files;
  readonly scope: Scope.CloseableScope;
}

const goOn = <E, R>(
  options: DatasetOptions<E, R>,
  manifest: Manifest.Manifest,
  { header, cuts }: Journal.Journal,
) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const { root, formats, walk, onInvalid, partRows = PART_ROWS, partBytes = PART_BYTES } = options;
      const { change = (batch: Batch) => batch, progress = Export.noProgress(), maxRejected } = options;
      const began = yield* Clock.currentTimeMillis;
      const { traffic } = yield* TenantHttp;
      const asked = traffic();
      const standing = cuts.at(-1)?.standing ?? header.standing;
      const append = yield* Journal.append(root);

      // Users in the order they are begun, with where their walks stand.
      const open = new Map<string, unknown>();
      const failed = new Map<string, Manifest.Manifest["failed"][number]>();
      let position = standing.position;
      const starts: ReadonlyArray<SessionSource.Start> = [...standing.open, ...standing.failed].map((
        { user_id, state },
      ) => ({ userId: user_id, state }));
      for (const { user_id, state } of [...standing.open, ...standing.failed]) open.set(user_id, state);
      const source = SessionSource.batches(
        Stream.concat(
          Stream.fromIterable(starts),
          Stream.tap(listedFrom(root, position), (userId) =>
            Effect.sync(() => {
              open.set(userId, undefined);
              position++;
            })),
        ),
        { ...walk, onFailure: "continue" },
      );

      const tally: Export.Tally = {
        progress: Object.assign(progress, standing.progress, {
          users: standing.progress.users - standing.failed.length,
          failed: 0,
        }),
        missing: [...standing.missing],
        unverified: [...standing.unverified],
        failed: [],
        walking: new Set(
          standing.open.filter(({ state }) => state !== undefined).map(({ user_id }) => user_id),
        ),
      };
      const parts = cuts.flatMap((cut) => cut.parts);
      let number = nextPart({ manifest, journal: { header, cuts } });
      let cutNumber = cuts.length;
      let current: Open | undefined;
      let isChanged = false;

      const openParts = Effect.gen(function* () {
        const scope = yield* Scope.make();
        const targets = formats.map(({ format, gzip }): Export.Target => {
          const output = Folder.part(
            root,
            Folder.partPath(format.name, number, gzip ? `${format.extension}.gz` : format.extension),
          );
          return { format, output: gzip ? Gzip.make(output) : output };
        });
        const rejects = Folder.part(root, Folder.partPath("rejected", number, "ndjson"));
        const files = yield* Export.openFiles({ targets, rejects, onInvalid }).pipe(
          Scope.extend(scope),
          Effect.onError((cause) => Scope.close(scope, Exit.failCause(cause))),
        );
        return { files, scope };
      });

      const takeIn = (batch: Batch) =>
        Effect.gen(function* () {
          if (batch.sessions.length > 0 || batch.rejected.length > 0) {
            current ??= yield* openParts;
            progress.encodedBytes += yield* current.files.write(batch);
          }
          Export.count(tally, batch);
          isChanged = true;
          const { userId, end } = batch;
          if (batch.state !== undefined) open.set(userId, batch.state);
          if (end === undefined) return;
          if (end.status === "failed") {
            failed.set(userId, {
              user_id: userId,
              message: end.message ?? "",
              state: stateOf(open.get(userId)),
            });
          }
          open.delete(userId);
        });

      const standingNow = Effect.map(Clock.currentTimeMillis, (now): Manifest.Standing => {
        const { requests, retries } = traffic();
        return {
          position,
          open: [...open].map(([user_id, state]) => ({ user_id, state: stateOf(state) })),
          failed: [...failed.values()],
          progress,
          missing: tally.missing,
          unverified: tally.unverified,
          seconds: standing.seconds + (now - began) / 1000,
          requests: standing.requests + requests - asked.requests,
          retries: standing.retries + retries - asked.retries,
        };
      });

      const discard = Effect.suspend(() => {
        const { scope } = current ?? {};
        current = undefined;
        return scope === undefined ? Effect.void : Scope.close(scope, Exit.void);
      });

      const cut = Effect.gen(function* () {
        if (!isChanged && current === undefined) return;
        const complete = current === undefined ? [] : yield* current.files.commit;
        const now: ReadonlyArray<Manifest.Part> = complete.map((file) => ({
          path: file.name,
          format: file.format,
          part: number,
          run: header.run,
          rows: file.rows,
          bytes: file.bytes,
          sha256: file.sha256 ?? "",
          ...(file.initiatedAt && { initiated_at: file.initiatedAt }),
        }));
        const at = new Date(yield* Clock.currentTimeMillis).toISOString();
        yield* append({ cut: cutNumber, at, parts: now, standing: yield* standingNow });
        yield* discard;
        isChanged = false;
        cutNumber++;
        parts.push(...now);
        if (now.length > 0) number++;
      }).pipe(Effect.onError(() => discard));

      const isFull = () => {
        const size = current?.files.size();
        return size !== undefined && (size.rows + size.rejected >= partRows || size.bytes >= partBytes);
      };

      const walkAll = Effect.scoped(Effect.gen(function* () {
        const pull = yield* Stream.toPull(source);
        while (true) {
          const pulled = yield* Effect.exit(restore(pull));
          if (Exit.isFailure(pulled)) {
            const ended = Option.exists(Cause.failureOption(pulled.cause), Option.isNone);
            return ended ? Exit.void : Exit.failCause(Cause.flatMap(pulled.cause, (error) =>
              Option.match(error, {
                onNone: () => Cause.empty,
                onSome: Cause.fail,
              })));
          }
          for (const batch of pulled.value) {
            yield* takeIn(change(batch));
            const judged = yield* Effect.exit(Export.checkRejected(tally, maxRejected, "now"));
            if (Exit.isFailure(judged)) return judged;
            if (isFull()) {
              yield* cut;
            }
          }
        }
      }));

      const walked: Exit.Exit<void, ApiError | OutputError | Export.ExportError> = yield* Effect.onError(
        walkAll,
        () => discard,
      );
      if (Exit.isFailure(walked)) {
        yield* cut;
        return yield* Effect.failCause(walked.cause);
      }
      yield* Effect.onError(
        Export.checkUsers(tally),
        () => Effect.ignore(parts.length === 0 ? forget(root) : Effect.void),
      );
      yield* Effect.tapError(Export.checkRejected(tally, maxRejected, "end"), () => cut);
      // An export without a session is one as well: with its columns, if nothing else.
      if (parts.length === 0 && manifest.parts.length === 0) current ??= yield* openParts;
      yield* cut;
      const standingThen = yield* standingNow;
      const summary: Manifest.Run = {
        run: header.run,
        kind: header.kind,
        began: header.began,
        ended: new Date(yield* Clock.currentTimeMillis).toISOString(),
        seconds: standingThen.seconds,
        options: header.options,
        users: progress.users,
        sessions: progress.sessions,
        rejected: progress.rejected,
        bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
        requests: standingThen.requests,
        retries: standingThen.retries,
        verified: progress.unverified === 0 && progress.failed === 0 && header.user_doubts.length === 0,
        missing: { count: progress.missing, first: tally.missing },
        unverified: { count: progress.unverified, first: tally.unverified },
        user_doubts: header.user_doubts,
      };
      const whole: Manifest.Manifest = {
        ...manifest,
        runs: [...manifest.runs, summary],
        parts: [...manifest.parts, ...parts],
        failed: standingThen.failed,
      };
      yield* Folder.replace(join(root, Folder.names.manifest), `${JSON.stringify(whole, null, 2)}\n`);
      yield* forget(root);
      const report: Report = {
        ...summary,
        failed: { count: progress.failed, first: tally.failed },
        files: parts,
        wasFinished: false,
      };
      return report;
    })
  );

const stateOf = (state: unknown): unknown => typeof state === "function" ? state() : state;
