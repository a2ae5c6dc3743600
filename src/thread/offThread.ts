/**
 * The same as `monocloud-sessions/promise`, off the thread that calls: change the import, and the event loop stays free.
 *
 * @module
 */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Verdict from "../export/Verdict.ts";
import * as Formats from "../format/Formats.ts";
import * as ReadableBody from "../sink/ReadableBody.ts";
import * as Options from "../options/Options.ts";
import * as HttpPolicy from "../api/HttpPolicy.ts";
import * as SessionSource from "../source/SessionSource.ts";
import type { Report } from "./Messages.ts";
import * as RemoteExport from "./RemoteExport.ts";
import * as Thread from "./Thread.ts";

/** Whose sessions, of which tenant, how to ask for them and how to write them. */
export interface OffThreadOptions
  extends
    HttpPolicy.TenantOptions,
    SessionSource.WalkOptions,
    Thread.ThreadOptions,
    RemoteExport.ContentOptions {
  /** User ids, each once, or `"all"` for every user of the tenant. Read to the end before the thread begins. */
  readonly users: Iterable<string> | AsyncIterable<string> | "all";
  /** Ends the work: what it was for rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

const optionNames: Options.Names<OffThreadOptions> = {
  ...HttpPolicy.optionNames,
  ...SessionSource.optionNames,
  ...Thread.optionNames,
  ...RemoteExport.contentNames,
  users: Options.any,
  signal: Options.any,
};

const streamKind = Options.object<OffThreadOptions & Verdict.UnverifiedOptions>({
  ...optionNames,
  ...Verdict.optionNames,
});

const usersOf = async ({ users }: OffThreadOptions): Promise<ReadonlyArray<string> | "all"> => {
  if (typeof users === "string") {
    if (users === "all") return "all";
    throw new TypeError(`Cannot read sessions as 'users' must be user ids or "all": it is one text`);
  }
  const ids: Array<string> = [];
  for await (const id of users) ids.push(id);
  return ids;
};

type What = Pick<Thread.ExportOptions, "targets" | "rejects" | "onInvalid">;

/** Runs in a thread of its own; rejects with the error itself. */
const run = async (options: OffThreadOptions, what: What, signal = options.signal): Promise<Report> => {
  signal?.throwIfAborted();
  const users = await usersOf(options);
  const work = Effect.scoped(
    Effect.flatMap(
      Thread.make(Options.pick(Thread.optionNames, options)),
      (thread) =>
        thread.run({
          ...Options.pick(RemoteExport.contentNames, options),
          tenant: Options.pick(HttpPolicy.optionNames, options),
          walk: Options.pick(SessionSource.optionNames, options),
          users,
          ...what,
        }),
    ),
  );
  const exit = await Effect.runPromiseExit(work, signal && { signal });
  if (Exit.isSuccess(exit)) return exit.value;
  if (signal?.aborted && Cause.isInterrupted(exit.cause)) throw signal.reason;
  throw Cause.squash(exit.cause);
};

/**
 * An export as a stream of bytes in one of the formats, made in a thread of its own as fast as it is read. It errors, and
 * never just ends, when the export fails, and after its last byte if something may be missing, unless that is allowed.
 * Cancelling it ends all requests and the thread.
 *
 * @throws {TypeError} on an option that there is not, or of the wrong kind.
 *
 * @example
 * ```ts
 * import { stream } from "monocloud-sessions/thread";
 * import { make, serve } from "monocloud-sessions/sandbox";
 *
 * const sandbox = make({ users: 2 });
 * const server = await serve(sandbox);
 * const csv = stream("csv", { domain: server.url, apiKey: sandbox.key, users: "all" });
 * console.assert((await new Response(csv).text()).startsWith("user_id,session_id"));
 * await server.close();
 * ```
 */
export const stream = (
  format: Formats.BuiltIn,
  given: OffThreadOptions & Verdict.UnverifiedOptions,
): ReadableStream<Uint8Array<ArrayBuffer>> => {
  const options = Options.take("export in a thread", streamKind, given);
  const name = Options.take("export in a thread", Options.oneOf(Formats.builtInNames), format, "format");
  return ReadableBody.make("the stream", (output, cancelled, taken) => {
    const signal = AbortSignal.any([cancelled, ...(options.signal ? [options.signal] : [])]);
    const { onInvalid = "fail" } = options;
    return run(options, { targets: [{ format: name, to: output }], onInvalid }, signal).then(
      async (report) => {
        const error = Verdict.judge(report, options);
        if (error === undefined) return;
        // Its reader is to have all the bytes first.
        await Promise.race([taken, new Promise((resolve) => signal.addEventListener("abort", resolve))]);
        throw error;
      },
    );
  });
};

/** Where an export goes. */
export interface ExportSessionsOptions extends OffThreadOptions {
  /** Paths of files, whose names say their format: `.ndjson`, `.csv` or `.parquet`, the first two also with `.gz`. */
  readonly out: string | ReadonlyArray<string>;
  /** Where rows that are not sessions go, as NDJSON. @default {the first path, and `.rejected.ndjson`} */
  readonly rejected?: string | undefined;
}

const exportKind = Options.object<ExportSessionsOptions>({
  ...optionNames,
  out: Options.textOr(Options.text, Options.list(Options.text)),
  rejected: Options.text,
});

/**
 * Exports to files, written by a thread of its own, which appear under their names once they are complete, and reports what
 * was done. Rejects with a TypeError on an option that there is not, or of the wrong kind.
 *
 * @example
 * ```ts
 * import { exportSessions } from "monocloud-sessions/thread";
 * import { make, serve } from "monocloud-sessions/sandbox";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = make({ users: 2 });
 * const server = await serve(sandbox);
 * const folder = await mkdtemp(join(tmpdir(), "example-"));
 * const report = await exportSessions({
 *   domain: server.url,
 *   apiKey: sandbox.key,
 *   users: "all",
 *   out: [join(folder, "sessions.parquet"), join(folder, "sessions.ndjson.gz")],
 * });
 * console.assert(report.users === 2 && report.verified && report.files.length === 2);
 * await server.close();
 * await rm(folder, { recursive: true });
 * ```
 */
export const exportSessions = async (given: ExportSessionsOptions): Promise<Report> => {
  const options = Options.take("export in a thread", exportKind, given);
  const paths = typeof options.out === "string" ? [options.out] : options.out;
  const [first] = paths;
  if (first === undefined) throw new TypeError("Cannot export as 'out' names no file");
  const targets = paths.map((path): Thread.Target => {
    const found = Formats.ofPath(path);
    // A thread knows no format that was registered here.
    const format = Formats.builtInNames.find((name) => name === found?.format.name);
    if (found === undefined || format === undefined) {
      const endings = Formats.endings();
      throw new TypeError(`Cannot export to ${path} as its name must end in one of ${endings}`);
    }
    return { format, gzip: found.gzip, to: path };
  });
  const rejects = options.rejected ?? `${first}.rejected.ndjson`;
  const repeated = [...paths, rejects].find((path, index, all) => all.indexOf(path) < index);
  if (repeated !== undefined) throw new TypeError(`Cannot export to ${repeated} as it is named twice`);
  return await run(options, { targets, rejects });
};
