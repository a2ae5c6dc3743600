/**
 * Gives a folder to one writer at a time, and to the next one after a writer that was killed.
 *
 * **Who may take over.** A writer of the same boot and pid namespace is asked whether it runs, which decides at once. So does
 * the lock that Deno holds on the file. Any other one (of another container or host) shows by a heartbeat that it lives: a
 * newcomer watches for half a minute, by its own clock alone, and takes over where nothing moves.
 *
 * **Why a writer that was stopped, and goes on when another one has taken over, does no harm.** It proves that the lease is
 * still its own before each change. Nothing makes proof and change one step; so what it does between the two must be harmless:
 *
 * - *Files get their names by rename, from a partial file of a random name that was there before the proof.* Whoever takes
 *   over removes all partial files before he reads anything. So such a rename has either happened before that, and is seen,
 *   or it fails. This goes for parts, the manifest, the journal and the list of users alike.
 * - *Lines go to the journal through an open file.* Whoever goes on with a journal replaces it by a new file first.
 * - *Only names that nobody uses again are removed,* out of a list made before the proof: parts, whose numbers never come
 *   again, partial files and lists of users. The journal, the one exception, is moved away and looked at first; see
 *   `Journal.remove`.
 *
 * **What is left.** A writer that ends, and is stopped just before it removes its `lock.json`, may remove that of its
 * successor: that one then stops as well, and can be run again. A network file system that shows a new writer an old list of a
 * folder's files may hide a partial file from him. Version 0.1 proves nothing.
 */
import { randomUUID } from "node:crypto";
import { type FileHandle, link, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import * as Schedule from "effect/Schedule";
import type * as Scope from "effect/Scope";
import type { SinkError } from "../sink/Sink.ts";
import { DatasetError, failure } from "./DatasetError.ts";
import { leftoversIn, makeFolder, most, names, type Proof } from "./Layout.ts";
import * as SafeFile from "../sink/SafeFile.ts";
import * as Writer from "./Writer.ts";

/** The pause between two heartbeats of a writer. Version 0.1 made it 15 seconds. */
const BEAT = "5 seconds";
/** A newcomer looks so often whether the heartbeat moves, and takes over after so many looks at which it did not. */
const LOOK = "500 millis";
const LOOKS = 60;
/** Others may come in between at each attempt, but not that often. */
const ATTEMPTS = 20;

export interface Lease {
  /** Rejects with a `DatasetError` (`LeaseLost`) unless the folder is still this process's. */
  readonly prove: Proof;
}

export interface LeaseOptions {
  /** True to watch a writer that can't be asked whether it runs. Otherwise the folder counts as locked. @default {true} */
  readonly wait?: boolean | undefined;
}

interface LockedFile {
  readonly tryLock: (exclusive: boolean) => Promise<boolean>;
  readonly close: () => void;
}

const { Deno: deno } = globalThis as {
  readonly Deno?: {
    readonly build: { readonly os: string };
    readonly open: (path: string, options: { readonly write: true }) => Promise<LockedFile>;
  };
};

/**
 * Deno has what Node has not, and for which writing to the file is permission enough: a lock that the system takes back when
 * its process ends, however it ends. Not on Windows, where such a lock keeps others from reading who has it.
 */
const canLock = deno !== undefined && deno.build.os !== "windows";

/** The file, locked; "held" if another process has locked it, "unknown" if its file system has no locks. */
const lockFile = async (path: string): Promise<LockedFile | "held" | "unknown"> => {
  const file = await deno!.open(path, { write: true });
  const isLocked = await file.tryLock(true).catch(() => undefined);
  if (isLocked === true) return file;
  file.close();
  return isLocked === false ? "held" : "unknown";
};

/** The file of a writer: first under a name of its own, then under the one that all know. */
interface Token {
  readonly id: string;
  readonly path: string;
  readonly handle: FileHandle;
  /** Writes the next heartbeat: text of the same length, through the file that is open, whoever's `lock.json` is by then. */
  readonly beat: () => Promise<void>;
  readonly close: () => Promise<void>;
}

/** Make a token; none if another owner has removed it at once. */
const place = async (
  path: string,
  own: Writer.Place,
): Promise<Token | undefined> => {
  const id = randomUUID();
  const writer = { ...own, id, since: new Date().toISOString() };
  const name = `${path}.${id.slice(0, 8)}`;
  let beats = 0;
  let locked: true | undefined;
  const text = () => {
    const value: Writer.Writer = {
      ...writer,
      ...(locked && { locked }),
      beat: String(beats++).padStart(12, "0"),
    };
    return Buffer.from(`${JSON.stringify(value)}\n`);
  };
  let lock: LockedFile | undefined;
  const handle = await open(name, "wx");
  const write = async () => {
    const bytes = text();
    await handle.write(bytes, 0, bytes.length, 0);
    // What another host sees is what has been flushed.
    await SafeFile.datasync(handle);
  };
  try {
    if (canLock) {
      const found = await lockFile(name);
      if (typeof found === "object") [lock, locked] = [found, true];
    }
    await write();
  } catch (error) {
    await handle.close();
    lock?.close();
    await rm(name, { force: true });
    // Whoever has the lease by now has removed it.
    if (SafeFile.isMissing(error)) return undefined;
    throw error;
  }
  return {
    id,
    path: name,
    handle,
    beat: write,
    close: async () => {
      await handle.close().catch(() => undefined);
      lock?.close();
    },
  };
};

interface Look {
  /** Differs from that of another look if there was a heartbeat in between. */
  readonly pulse: string;
  readonly writer: Writer.Writer | undefined;
}

/** The text of `lock.json`, with what else of the file changes with each heartbeat; undefined if there is none. */
const readLock = async (
  root: string,
): Promise<{ readonly text: string; readonly pulse: string } | undefined> => {
  try {
    const handle = await SafeFile.open(root, names.lock);
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(most.lock), 0, most.lock, 0);
      const text = buffer.toString("utf8", 0, bytesRead);
      const { mtimeMs, ino } = await handle.stat();
      return { text, pulse: `${ino} ${mtimeMs} ${text}` };
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (SafeFile.isMissing(error)) return undefined;
    throw error;
  }
};

const lookAt = async (root: string): Promise<Look | undefined> => {
  const found = await readLock(root);
  return found && { ...found, writer: Option.getOrUndefined(Writer.decode(found.text)) };
};

const nameOf = ({ writer }: Look): string => {
  if (writer === undefined) return "an unknown process";
  const { pid, host, since } = writer;
  return `process ${pid}${host && ` on ${host}`}, since ${since},`;
};

type Attempt =
  | { readonly held: Token }
  | { readonly refused: string }
  /** A writer that can't be asked whether it runs. */
  | { readonly unknown: Look }
  | { readonly again: true };

const again = { again: true } as const;

/**
 * Try once to get the lease. A token is made before anything is looked at: whoever gets the lease removes all others, so that
 * no decision made before that can take it from him.
 */
const tryOnce = async (
  root: string,
  path: string,
  token: Token,
  own: Writer.Place,
  silent: string | undefined,
): Promise<Attempt> => {
  try {
    await link(token.path, path);
    await rm(token.path, { force: true });
    return { held: token };
  } catch (error) {
    if (SafeFile.isMissing(error)) return again;
    if (SafeFile.codeOf(error) !== "EEXIST") throw error;
  }
  const found = await lookAt(root);
  if (found === undefined) return again;
  const refused = { refused: nameOf(found) };
  let lock: Awaited<ReturnType<typeof lockFile>> = "unknown";
  try {
    // Whoever gets the lock of a process that is no more is alone in taking its place.
    if (canLock && found.writer?.locked) lock = await lockFile(path);
    if (lock === "held") return refused;
    const isRunning = typeof lock === "object"
      ? false
      : found.writer === undefined
      ? undefined
      : await Writer.isRunning(found.writer, own);
    if (isRunning === true) return refused;
    if (isRunning === undefined && found.pulse !== silent) return { unknown: found };
    if ((await lookAt(root))?.pulse !== found.pulse) return again;
    await rename(token.path, path);
    return { held: token };
  } catch (error) {
    if (SafeFile.isMissing(error)) return again;
    // There, a file that a process has open can't be replaced.
    if (
      process.platform === "win32" && ["EPERM", "EACCES", "EBUSY"].includes(String(SafeFile.codeOf(error)))
    ) {
      return refused;
    }
    throw error;
  } finally {
    if (typeof lock === "object") lock.close();
  }
};

const isOwn = async (root: string, id: string): Promise<boolean> =>
  (await readLock(root))?.text.includes(id) === true;

/**
 * Remove the partial files and tokens of all others, as the first thing that a new owner does. They are listed before it is
 * proven that the lease is still his, so none is of an owner after him.
 */
const fence = async (root: string, token: Token): Promise<boolean> => {
  const left = await leftoversIn(root);
  if (!await isOwn(root, token.id)) return false;
  for (const name of left) if (join(root, name) !== token.path) await SafeFile.remove(root, name);
  return await isOwn(root, token.id);
};

const attemptOnce = async (
  root: string,
  path: string,
  own: Writer.Place,
  silent: string | undefined,
): Promise<Attempt> => {
  const token = await place(path, own);
  if (token === undefined) return again;
  let isHeld = false;
  try {
    const attempt = await tryOnce(root, path, token, own, silent);
    if (!("held" in attempt)) return attempt;
    isHeld = await fence(root, token);
    return isHeld ? attempt : again;
  } finally {
    if (!isHeld) {
      if (await isOwn(root, token.id).catch(() => false)) await rm(path, { force: true });
      await token.close();
      await rm(token.path, { force: true });
    }
  }
};

const lost = (root: string, path: string) =>
  new DatasetError({
    reason: "LeaseLost",
    path,
    message:
      `Cannot go on writing to ${root}: this process was not heard of for a while, and another one has taken over. ` +
      "What had been completed is kept, and that one goes on from there: leave it to it, or run the same again later",
  });

/**
 * Acquire the lease of a folder until the scope closes. Waits up to half a minute where a writer can't be asked whether it
 * runs, and says so by Effect's logger, as it says that it takes over from one.
 *
 * Fails with a `DatasetError` (`Locked`) if another process writes there.
 */
export const acquire = (
  root: string,
  { wait = true }: LeaseOptions = {},
): Effect.Effect<Lease, DatasetError | SinkError, Scope.Scope> =>
  Effect.gen(function* () {
    const path = join(root, names.lock);
    const failed = failure("Open", path);
    const locked = (message: string) =>
      new DatasetError({ reason: "Locked", path, message: `Cannot write to ${root}: ${message}` });
    const own = yield* Effect.promise(Writer.self);
    const look = Effect.tryPromise({ try: () => lookAt(root), catch: failed });
    const release = ({ id, close }: Token) =>
      Effect.promise(async () => {
        // Whoever comes next sees that this process is no more, if the file can't be removed.
        if (await isOwn(root, id).catch(() => false)) await rm(path, { force: true }).catch(() => undefined);
        await close();
      });
    const attempt = (silent: string | undefined) =>
      Effect.acquireRelease(
        Effect.tryPromise({ try: () => attemptOnce(root, path, own, silent), catch: failed }),
        (attempt) => "held" in attempt ? release(attempt.held) : Effect.void,
      );

    /** Watch a writer for half a minute, by looks and not by a clock: one that stood still itself has not looked. */
    const watch = (found: Look) =>
      Effect.gen(function* () {
        yield* Effect.logWarning(
          `Waiting up to 30 s: ${nameOf(found)} may be writing to ${root}, which only its heartbeat can tell`,
        );
        for (let looks = 0; looks < LOOKS; looks++) {
          yield* Effect.sleep(LOOK);
          const now = yield* look;
          if (now === undefined || now.writer?.id !== found.writer?.id) return undefined;
          if (now.pulse !== found.pulse) {
            return yield* locked(
              `${
                nameOf(found)
              } is writing there, by its heartbeat. Wait until it ends, or choose another folder`,
            );
          }
        }
        yield* Effect.logWarning(
          `Taking over ${root}: ${nameOf(found)} was writing there, and has not been heard of for 30 s`,
        );
        return found.pulse;
      });

    let silent: string | undefined;
    for (let attempts = 0; attempts < ATTEMPTS; attempts++) {
      const result = yield* attempt(silent);
      if ("held" in result) {
        const { id, beat } = result.held;
        // One that can't be written is as one that was not: who is then taken over stops at his next proof.
        const beats = Effect.promise(() => beat().catch(() => undefined));
        yield* Effect.forkScoped(Effect.repeat(Effect.delay(beats, BEAT), Schedule.forever));
        return {
          prove: async () => {
            if (!await isOwn(root, id)) throw lost(root, path);
          },
        };
      }
      if ("refused" in result) {
        return yield* locked(
          `${result.refused} is writing there. Wait until it ends, or choose another folder`,
        );
      }
      if ("again" in result) continue;
      if (!wait) {
        return yield* locked(
          `${nameOf(result.unknown)} may be writing there, or be no more: half a minute will tell. Try again`,
        );
      }
      silent = yield* watch(result.unknown);
    }
    return yield* locked("others are about to write there as well. Try again");
  });

/** Fail with what a proof rejects with, if it does, whatever the work stumbled on first. */
export const proven = <A, E, R>(
  work: Effect.Effect<A, E, R>,
  prove: Proof,
): Effect.Effect<A, E | DatasetError, R> =>
  Effect.catchAllCause(
    work,
    (cause): Effect.Effect<never, E | DatasetError> =>
      Cause.isInterruptedOnly(cause) ? Effect.failCause(cause) : Effect.flatMap(
        Effect.promise(() => prove().then(() => undefined, (error: unknown) => error)),
        (error): Effect.Effect<never, E | DatasetError> =>
          error instanceof DatasetError ? Effect.fail(error) : Effect.failCause(cause),
      ),
  );

/**
 * Work on a folder with its lease, which is released in the end. Work that fails after the lease was lost fails with
 * `LeaseLost` alone.
 */
export const during = <A, E, R>(
  root: string,
  work: (lease: Lease) => Effect.Effect<A, E, R>,
): Effect.Effect<A, E | DatasetError | SinkError, Exclude<R, Scope.Scope>> =>
  Effect.scoped(
    Effect.flatMap(
      Effect.zipRight(makeFolder(root), acquire(root)),
      (lease) => proven(work(lease), lease.prove),
    ),
  );
