/** Exports to files. */
import * as Effect from "effect/Effect";
import * as Export from "../export/Export.ts";
import * as FileTargets from "../export/FileTargets.ts";
import * as Formats from "../format/Formats.ts";
import * as Options from "../options/Options.ts";
import * as Engine from "./Engine.ts";
import * as Kinds from "./Kinds.ts";
import type { Progress, ProgressOptions, Report } from "../plain/Report.ts";
import type { EncodingOptions, SessionsOptions } from "../plain/SessionsOptions.ts";

/** Options of an export to files. */
export interface ExportSessionsOptions extends SessionsOptions, EncodingOptions, ProgressOptions<Progress> {
  /** Paths of files, whose names say their format: `.ndjson`, `.csv` or `.parquet`, the first two also with `.gz`. */
  readonly out: string | ReadonlyArray<string>;
  /** The file for rows that failed the schema, as NDJSON. @default {the first path, and `.quarantine.ndjson`} */
  readonly quarantine?: string | undefined;
}

const kind = Options.object<ExportSessionsOptions>({
  ...Kinds.sessionsNames,
  ...Kinds.encodingNames,
  onProgress: Options.callback,
  out: Options.textOr(Options.text, Options.list(Options.text)),
  quarantine: Options.text,
}, { required: [...Kinds.required, "out"] });

const DOING = "export";

/**
 * Export to files, which appear under their names once all are complete, and report what was done.
 *
 * Rejects with a `TypeError` or `RangeError` on a wrong option, before any request. Rejects with an {@link ApiError}, an
 * {@link ExportError}, a {@link SinkError}, a {@link TenantError}, or what a callback throws: then there is no file. What
 * can't be verified is no error here: the report says so in `verified`.
 *
 * Memory: a few pages, and what each encoder holds (of Parquet, a row group).
 *
 * @example
 * ```ts
 * import { exportSessions } from "monocloud-sessions/promise";
 * import { make } from "monocloud-sessions/sandbox";
 * import { mkdtemp, rm } from "node:fs/promises";
 * import { tmpdir } from "node:os";
 * import { join } from "node:path";
 *
 * const sandbox = make({ users: 2 });
 * const folder = await mkdtemp(join(tmpdir(), "example-"));
 * const report = await exportSessions({
 *   domain: "sandbox.example",
 *   apiKey: sandbox.key,
 *   users: "all",
 *   out: [join(folder, "sessions.parquet"), join(folder, "sessions.ndjson.gz")],
 *   onProgress: ({ users, usersTotal }) => console.assert(users <= (usersTotal ?? Infinity)),
 *   fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 * });
 * console.assert(report.users === 2 && report.verified && report.files.length === 2);
 * await rm(folder, { recursive: true });
 * ```
 */
export const exportSessions = async (given: ExportSessionsOptions): Promise<Report> => {
  const options = Kinds.take(DOING, kind, given);
  const { files, quarantine } = FileTargets.of(
    options.out,
    options.quarantine,
    (path) => Formats.ofPath(path, options),
  );
  // Loaded here, so that the rest of this module runs where there are no files.
  const File = await import("../sink/FileSink.ts");
  const targets = files.map(({ path, choice }) => Export.targetOf(choice, File.make(path)));
  const progress = Export.noProgress();
  return await Engine.telling<Progress, Report>(progress, options, async (signal) => {
    let userListUnverifiedReasons: ReadonlyArray<string> = [];
    const work = Export.run({
      source: Engine.batchesOf(DOING, { ...options, signal }, {
        unverifiedReasons: (unverifiedReasons) => (userListUnverifiedReasons = unverifiedReasons),
        total: (count) => (progress.usersTotal = count),
      }),
      targets,
      quarantine: File.make(quarantine),
      onInvalid: options.onInvalid,
      maxQuarantined: options.maxQuarantined,
      progress,
    });
    const report = await Engine.run(Effect.provide(work, Engine.tenantOf(options)));
    return Export.withUserList(report, userListUnverifiedReasons);
  });
};
