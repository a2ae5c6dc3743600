/**
 * Keeps a second process out of a dataset's folder, and lets the next one in after a process that was killed.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Schedule from "effect/Schedule";
import * as Schema from "effect/Schema";
import type * as Scope from "effect/Scope";
import { OutputError } from "../output/Output.ts";
import { DatasetError, names } from "./Folder.ts";

const Owner = Schema.Struct({
  id: Schema.String,
  host: Schema.String,
  pid: Schema.Int,
  /** When the process began, as its system tells it, so that another one with its number is not taken for it. */
  process: Schema.optional(Schema.String),
  /** Whether the system holds a lock on the file for as long as the process has it open. */
  locked: Schema.optional(Schema.Boolean),
  since: Schema.String,
});
type Owner = typeof Owner.Type;
const decode = Schema.decodeUnknownOption(Schema.parseJson(Owner));

/** How often the owner shows that it is alive, and for how long without it another host takes it for alive. */
const HEARTBEAT = 15_000;
const SILENCE = 120_000;

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
 * Deno would want permissions for each look at another process, and for the name of the host. It has what Node has not, and
 * for which writing to the file is permission enough: a lock that the system takes back when its process ends, however it ends.
 * Not on Windows, where such a lock keeps others from reading who has it.
 */
const canAsk = deno === undefined;
const canLock = deno !== undefined && deno.build.os !== "windows";
const host = canAsk ? hostname() : "";

/** The file, locked; "held" if another process has locked it, "unknown" if its file system has no locks. */
const lockFile = async (path: string): Promise<LockedFile | "held" | "unknown"> => {
  const file = await deno!.open(path, { write: true });
  const isLocked = await file.tryLock(true).catch(() => undefined);
  if (isLocked === true) return file;
  file.close();
  return isLocked === false ? "held" : "unknown";
};

const unlock = (file: LockedFile | "held" | "unknown" | undefined): void => {
  if (typeof file === "object") file.close();
};

/** Linux says when a process began; elsewhere its number has to do. */
const beginningOf = async (pid: number): Promise<string | undefined> =>
  !canAsk ? undefined : await readFile(`/proc/${pid}/stat`, "utf8").then(
    (text) => text.slice(text.lastIndexOf(")") + 2).split(" ")[19],
    () => undefined,
  );

const isRunning = async (owner: Owner): Promise<boolean> => {
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    // Without the right to ask, it may well be running.
    if ((error as { readonly code?: unknown }).code === "ESRCH") return false;
  }
  const began = await beginningOf(owner.pid);
  return began === undefined || owner.process === undefined || began === owner.process;
};

/** How long ago the file was touched, by the clock that set its time. */
const silenceOf = async (path: string, own: string): Promise<number> => {
  const [theirs, ours] = [await stat(path), await stat(own)];
  return ours.mtimeMs - theirs.mtimeMs;
};

const age = (milliseconds: number): string => {
  const minutes = Math.floor(milliseconds / 60_000);
  return minutes < 1
    ? "less than a minute"
    : minutes < 120
    ? `${minutes} min`
    : `${Math.floor(minutes / 60)} h`;
};

type Attempt = { readonly held: true } | { readonly held: false; readonly message: string };

const take = async (root: string, own: string, path: string): Promise<Attempt> => {
  const isMissing = (error: { readonly code?: unknown }) => error.code === "ENOENT";
  for (let attempts = 0; attempts < 10; attempts++) {
    try {
      await link(own, path);
      return { held: true };
    } catch (error) {
      if ((error as { readonly code?: unknown }).code !== "EEXIST") throw error;
    }
    let lock: Awaited<ReturnType<typeof lockFile>> = "unknown";
    try {
      const text = await readFile(path, "utf8");
      const owner = decode(text);
      const silence = await silenceOf(path, own);
      // Whoever gets the lock of a process that is no more is alone in taking the file away, if it still is that file.
      if (canLock && owner._tag === "Some" && owner.value.locked) lock = await lockFile(path);
      const isHeld = lock !== "unknown"
        ? lock === "held"
        : canAsk && owner._tag === "Some" && owner.value.host === host
        ? await isRunning(owner.value)
        : silence < SILENCE;
      if (isHeld) {
        const who = owner._tag === "Some"
          ? `process ${owner.value.pid}${
            owner.value.host && ` on ${owner.value.host}`
          }, since ${owner.value.since}`
          : "an unknown process";
        return {
          held: false,
          message: `Cannot write to ${root}: ${who} is writing there, and was last heard of ${
            age(silence)
          } ago. Wait for it (two minutes of silence free the folder), or choose another one`,
        };
      }
      if (await readFile(path, "utf8") !== text) continue;
      // Only one process can move it away. If that was not the one looked at, its owner gets it back.
      const aside = `${path}.${randomUUID().slice(0, 8)}`;
      await rename(path, aside);
      if (await readFile(aside, "utf8") !== text) await link(aside, path).catch(() => undefined);
      await rm(aside, { force: true });
    } catch (error) {
      if (!isMissing(error as { readonly code?: unknown })) throw error;
    } finally {
      unlock(lock);
    }
  }
  return {
    held: false,
    message: `Cannot write to ${root}: others are about to write there as well. Try again`,
  };
};

/**
 * Holds the folder until the scope closes. A lock of a process that is no more is taken over: at once where the system tells,
 * of Node by Node on the same host and of Deno by Deno, and otherwise once it has not been heard of for two minutes.
 */
export const hold = (root: string): Effect.Effect<void, DatasetError | OutputError, Scope.Scope> =>
  Effect.gen(function* () {
    const path = join(root, names.lock);
    const owner: Owner = {
      id: randomUUID(),
      host,
      pid: process.pid,
      process: yield* Effect.promise(() => beginningOf(process.pid)),
      since: new Date().toISOString(),
    };
    const failed = (cause: unknown) => new OutputError({ reason: "Open", path, cause });
    const own = `${path}.${owner.id.slice(0, 8)}`;
    let lock: LockedFile | undefined;
    const write = (flag: "wx" | "w", locked?: true) =>
      writeFile(own, `${JSON.stringify({ ...owner, locked } satisfies typeof Owner.Encoded)}\n`, { flag });
    const place = async (): Promise<void> => {
      if (!canLock) return write("wx");
      await write("wx", true);
      const locked = await lockFile(own);
      if (typeof locked === "object") lock = locked;
      else await write("w");
    };
    const attempt = Effect.tryPromise({
      try: async () => {
        let isHeld = false;
        try {
          await place();
          const result = await take(root, own, path);
          isHeld = result.held;
          return result;
        } finally {
          if (!isHeld) lock?.close();
          await rm(own, { force: true });
        }
      },
      catch: failed,
    });
    const release = Effect.promise(async () => {
      const text = await readFile(path, "utf8").catch(() => "");
      if (text.includes(owner.id)) await rm(path, { force: true }).catch(() => undefined);
      lock?.close();
    });
    yield* Effect.acquireRelease(
      Effect.flatMap(
        attempt,
        (result) =>
          result.held
            ? Effect.void
            : Effect.fail(new DatasetError({ reason: "Locked", path, message: result.message })),
      ),
      () => release,
    );
    const beat = Effect.promise(() => utimes(path, new Date(), new Date()).catch(() => undefined));
    yield* Effect.forkScoped(Effect.repeat(beat, Schedule.spaced(HEARTBEAT)));
  });
