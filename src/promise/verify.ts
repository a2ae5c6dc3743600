/** Verification and replay of a folder that a dataset was exported into. */
import * as Effect from "effect/Effect";
import * as Options from "../options/Options.ts";
import * as Engine from "./Engine.ts";
import * as Kinds from "./Kinds.ts";
import type {
  ProgressOptions,
  ReplayProgress,
  ReplayReport,
  VerifyProgress,
  VerifyReport,
} from "../plain/Report.ts";

interface FolderOptions<A> extends ProgressOptions<A> {
  /** Ends the work, which rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of {@link verify}. */
export interface VerifyOptions extends FolderOptions<VerifyProgress> {}

/** Options of {@link replay}. */
export interface ReplayOptions extends FolderOptions<ReplayProgress> {}

const read = <A>(doing: string, folder: unknown, given: FolderOptions<A> | undefined) => {
  const root = Options.take(doing, Options.text, folder, "folder");
  if (root === "") throw new TypeError(`Cannot ${doing} as 'folder' is empty`);
  const kind = Options.object<FolderOptions<A>>({ onProgress: Options.callback, signal: Kinds.signal });
  const options = Kinds.take(doing, kind, given);
  options.signal?.throwIfAborted();
  return { root, options };
};

/**
 * Read a folder back, and report what is not as it was written: files, sums, rows, and whether all formats hold the same.
 *
 * Reports what is wrong in `problems`, without a rejection. Changes nothing, takes no lock. Rejects
 * with a `TypeError` on a wrong option, and with a {@link DatasetError} if the folder holds no dataset.
 *
 * Memory: 8 to 40 bytes for each session.
 *
 * @example
 * ```ts
 * import { dataset, verify } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 * import { appendFile, mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = make({ users: 2 });
 * const folder = await mkdtemp(join(tmpdir(), "example-"));
 * await dataset({
 *   domain: "sandbox.example",
 *   apiKey: sandbox.key,
 *   users: "all",
 *   folder,
 *   formats: "csv",
 *   fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 * });
 * console.assert((await verify(folder)).problems.length === 0);
 * await appendFile(join(folder, "csv/part-00000.csv"), "a line\r\n");
 * console.assert((await verify(folder)).problems[0]?.path === "csv/part-00000.csv");
 * await rm(folder, { recursive: true });
 * ```
 */
export const verify = async (folder: string, given?: VerifyOptions): Promise<VerifyReport> => {
  const { root, options } = read("verify", folder, given);
  const Verify = await import("../dataset/verify/Verify.ts");
  const progress = Verify.noProgress();
  return await Engine.telling(
    progress,
    options,
    (signal) => Engine.run(Engine.quietly(Verify.run(root, { progress })), signal),
  );
};

/**
 * Run the rows that a folder has quarantined through this version's schema, and report what became of them.
 *
 * Those that pass become sessions of the folder, as new parts. Killed at any moment, it has happened or it has not. Rejects
 * with a `TypeError` on a wrong option, with a {@link DatasetError} if the folder holds no dataset, has a run that did not
 * finish, or was written with `filter` or `map`, and with a {@link SinkError}.
 *
 * Memory: the ids of the rows that pass, and what readers and encoders hold.
 *
 * @example
 * ```ts
 * import { dataset, replay } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = make({ users: 3, malformed: 0.1 });
 * const folder = await mkdtemp(join(tmpdir(), "example-"));
 * const { quarantined } = await dataset({
 *   domain: "sandbox.example",
 *   apiKey: sandbox.key,
 *   users: "all",
 *   folder,
 *   formats: "parquet",
 *   fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 * });
 * // The same version finds the same rows wrong.
 * const report = await replay(folder);
 * console.assert(report.rows === quarantined && report.sessions === 0);
 * await rm(folder, { recursive: true });
 * ```
 */
export const replay = async (folder: string, given?: ReplayOptions): Promise<ReplayReport> => {
  const { root, options } = read("replay", folder, given);
  const [Replay, Verify, { DatasetError }] = await Promise.all([
    import("../dataset/quarantine/Replay.ts"),
    import("../dataset/verify/Verify.ts"),
    import("../dataset/DatasetError.ts"),
  ]);
  const progress = Replay.noProgress();
  const work = Effect.flatMap(Verify.open(root), ({ manifest }) => {
    const { filter, map } = manifest?.runs.at(-1)?.options ?? {};
    if (filter === undefined && map === undefined) return Replay.run(root, { progress });
    const message =
      `Cannot replay in ${root}: its sessions were filtered or mapped by code, which a replay does not ` +
      "have. Export into another folder";
    return new DatasetError({ reason: "Options", path: root, message });
  });
  return await Engine.telling(progress, options, (signal) => Engine.run(Engine.quietly(work), signal));
};
