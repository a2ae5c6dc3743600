/**
 * The same as `monocloud-sessions/promise`, off the thread that calls: change the import, and the event loop stays free.
 */
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as FileTargets from "../export/FileTargets.ts";
import * as Verdict from "../export/Verdict.ts";
import * as Formats from "../format/Formats.ts";
import * as ReadableBody from "../sink/ReadableBody.ts";
import * as Options from "../options/Options.ts";
import * as TenantClient from "../api/TenantClient.ts";
import * as SessionSource from "../source/SessionSource.ts";
import type { RunnerOptions, ThreadPort } from "./AnyWorker.ts";
import type {
  ExportSessionsOptions,
  FormatName,
  OffThreadOptions,
  Report,
  UnverifiedOptions,
} from "./PlainOptions.ts";
import * as Messages from "./Messages.ts";
import type * as RemoteExport from "./RemoteExport.ts";
import * as Thread from "./Thread.ts";

/** The form that entries typed with Effect give. */
interface Given
  extends
    TenantClient.TenantOptions,
    SessionSource.WalkOptions,
    Thread.ThreadOptions,
    Messages.ContentOptions,
    Pick<RemoteExport.ExportOptions, "onProgress">,
    Pick<OffThreadOptions, "users" | "signal"> {}

const optionNames: Options.Names<Given> = {
  ...TenantClient.optionNames,
  ...SessionSource.optionNames,
  ...Thread.optionNames,
  ...Messages.contentNames,
  onProgress: Options.callback,
  users: Options.any,
  signal: Options.any,
};

const streamKind = Options.object<Given & UnverifiedOptions>({
  ...optionNames,
  ...Verdict.optionNames,
});

const usersOf = async ({ users }: Given): Promise<ReadonlyArray<string> | "all"> => {
  if (typeof users === "string") {
    if (users === "all") return "all";
    throw new TypeError(`Cannot read sessions as 'users' must be user ids or "all": it is one text`);
  }
  const ids: Array<string> = [];
  for await (const id of users) ids.push(id);
  return ids;
};

type What = Pick<Thread.ExportOptions, "targets" | "quarantine" | "onInvalid">;

/** Runs in a thread of its own; rejects with the error itself. */
const run = async (options: Given, what: What, signal = options.signal): Promise<Report> => {
  signal?.throwIfAborted();
  const users = await usersOf(options);
  const work = Effect.scoped(
    Effect.flatMap(
      Thread.make(Options.pick(Thread.optionNames, options)),
      (thread) =>
        thread.run({
          ...Options.pick(Messages.contentNames, options),
          onProgress: options.onProgress,
          tenant: Options.pick(TenantClient.optionNames, options),
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
  format: FormatName,
  given: OffThreadOptions & UnverifiedOptions,
): ReadableStream<Uint8Array<ArrayBuffer>> => {
  const options = Options.take("export in a thread", streamKind, given satisfies Given);
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

const exportKind = Options.object<Given & Pick<ExportSessionsOptions, "out" | "quarantine">>({
  ...optionNames,
  out: Options.textOr(Options.text, Options.list(Options.text)),
  quarantine: Options.text,
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
  const options = Options.take("export in a thread", exportKind, given satisfies Given);
  const { files, quarantine } = FileTargets.of(options.out, options.quarantine, (path) => {
    const found = Formats.ofPath(path);
    // A thread knows no format that was registered here.
    return Formats.builtInNames.some((name) => name === found?.format.name) ? found : undefined;
  });
  const targets = files.map(({ path, choice: { format, gzip } }): Thread.Target => ({
    format: format.name as Formats.BuiltIn,
    gzip,
    to: path,
  }));
  return await run(options, { targets, quarantine });
};

/**
 * Serves exports on a thread's end of its port, until it is closed: for a module of your own, started by `spawn`, in which
 * requests are made by a `fetch` of your own. Call it with `self`, or in Node with `parentPort`.
 *
 * @example
 * ```ts
 * import { serve } from "monocloud-sessions/thread";
 *
 * const { port1, port2 } = new MessageChannel();
 * const served = serve(port1, { fetch: () => Promise.reject(new TypeError("no network here")) });
 * await new Promise((resolve) => port2.onmessage = resolve); // it listens
 * port2.postMessage([1]); // what a caller says when it closes its thread
 * await served;
 * port2.close();
 * ```
 */
export const serve = async (port: ThreadPort, options: RunnerOptions = {}): Promise<void> => {
  // Loaded here, for whoever starts a thread needs none of it.
  const Runner = await import("./Runner.ts");
  await Runner.serve(port, options);
};
