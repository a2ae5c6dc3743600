/** Datasets written for a test, and written to by it. */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import type { Batch } from "../../src/session/Batch.ts";
import * as Dataset from "../../src/dataset/Dataset.ts";
import * as Layout from "../../src/dataset/Layout.ts";
import * as Manifest from "../../src/dataset/Manifest.ts";
import * as Verify from "../../src/dataset/verify/Verify.ts";
import * as Export from "../../src/export/Export.ts";
import type { Encodable } from "../../src/format/Format.ts";
import * as Formats from "../../src/format/Formats.ts";
import * as GzipSink from "../../src/sink/GzipSink.ts";
import type { Sandbox } from "../../src/sandbox/mod.ts";
import type { ApiError } from "../../src/api/ApiError.ts";
import type { TenantClient } from "../../src/api/TenantClient.ts";
import { sql } from "../duckdb.ts";
import { clientFor } from "../source/paging/histories.ts";

/** Formats by their names. */
export const choices = (...names: ReadonlyArray<string>): ReadonlyArray<Formats.Choice> =>
  names.map((name) => Formats.choose(name)!);

/** How a test exports. */
export type Options = Partial<Dataset.DatasetOptions<ApiError, TenantClient>>;

/** Exports a sandbox into a folder, a hundred rows a part. */
export const exportOf = (sandbox: Sandbox, root: string, options: Options = {}) =>
  Dataset.run({
    root,
    formats: choices("ndjson", "csv", "parquet"),
    tenant: "https://sandbox.example",
    users: { ids: Stream.fromIterable(sandbox.userIds()) },
    partRows: 100,
    ...options,
  }).pipe(Effect.provide(clientFor(sandbox)));

/** The same, run. */
export const exportInto = (sandbox: Sandbox, root: string, options?: Options): Promise<Dataset.Report> =>
  Effect.runPromise(exportOf(sandbox, root, options));

/** The same, which fails. */
export const failureOf = (sandbox: Sandbox, root: string, options?: Options) =>
  Effect.runPromise(Effect.flip(exportOf(sandbox, root, options)));

/** Problems that verifying a dataset finds, each after the path of its file. */
export const problemsOf = async (root: string): Promise<ReadonlyArray<string>> =>
  (await Effect.runPromise(Verify.run(root))).problems.map(({ path, problem }) => `${path} ${problem}`);

/** What is there still, by the statements of `docs/datasets.md`: `user session`, sorted. */
export const present = async (root: string): Promise<Array<string>> => {
  const page = await readFile(new URL("../../docs/datasets.md", import.meta.url), "utf8");
  const statements = ["CREATE", "WITH"].map((word) =>
    new RegExp(`\`\`\`sql\\n(${word} [^\`]*)\`\`\``).exec(page)![1]!
  );
  const statement = statements.join("").replaceAll("export/", `${root}/`);
  return (await sql(statement)).map(({ user_id, session_id }) => `${user_id} ${session_id}`).sort();
};

/** The manifest, as a value that a test may change. */
// deno-lint-ignore no-explicit-any
export const manifestOf = async (root: string): Promise<any> =>
  JSON.parse(await readFile(join(root, "manifest.json"), "utf8"));

/** Replaces the manifest. */
export const setManifest = (root: string, manifest: unknown): Promise<void> =>
  writeFile(join(root, "manifest.json"), JSON.stringify(manifest));

/** Changes the manifest. */
// deno-lint-ignore no-explicit-any
export const changeManifest = async (root: string, change: (manifest: any) => void): Promise<void> => {
  const manifest = await manifestOf(root);
  change(manifest);
  await setManifest(root, manifest);
};

/** Makes the manifest say of a part what it is now, but for its rows: a fault that no sum tells. */
export const mend = (root: string, path: string): Promise<void> =>
  readFile(join(root, path)).then((bytes) =>
    changeManifest(root, ({ parts, runs }) => {
      const part = parts.find((part: Manifest.Part) => part.path === path);
      runs[part.run - 1].bytes += bytes.length - part.bytes;
      part.bytes = bytes.length;
      part.sha256 = createHash("sha256").update(bytes).digest("hex");
    })
  );

/** Changes the text of a part. */
export const changeText = async (
  root: string,
  path: string,
  change: (text: string) => string,
): Promise<void> => {
  const text = await readFile(join(root, path), "utf8");
  const changed = change(text);
  if (changed === text) throw new Error(`nothing was changed in ${path}`);
  await writeFile(join(root, path), changed);
};

/** One part in the making: what each of the formats is given. */
export interface Given {
  readonly format: Formats.FormatName;
  readonly gzip?: boolean;
  readonly keepFormulas?: boolean;
  /** The version of Parquet. */
  readonly version?: 1 | 2;
  readonly batches: ReadonlyArray<Encodable>;
}

/** Writes a dataset of one run: for each part what each format is given, the same or not. */
export const write = async (
  root: string,
  parts: ReadonlyArray<ReadonlyArray<Given>>,
  options: Readonly<Record<string, unknown>> = {},
  kinds: ReadonlyArray<string> = ["full"],
): Promise<void> => {
  const manifest = Manifest.empty("https://sandbox.example");
  const written: Array<Manifest.Part> = [];
  for (const [part, formats] of parts.entries()) {
    for (const { format: name, gzip = false, keepFormulas = false, version = 1, batches } of formats) {
      const format = Formats.make(name, { csv: { escapeFormulas: !keepFormulas }, parquet: { version } });
      const path = Layout.partPath(name, part, `${format.extension}${gzip ? ".gz" : ""}`);
      const output = Layout.part(root, path);
      const source = Stream.fromIterable(batches.map((batch): Batch => ({ ...batch, quarantined: [] })));
      const { files } = await Effect.runPromise(
        Export.run({ source, targets: [{ format, output: gzip ? GzipSink.make(output) : output }] }),
      );
      const { bytes, sha256 = "", rows, initiatedAt } = files[0]!;
      const range = initiatedAt && { initiated_at: initiatedAt };
      written.push({
        path,
        format: name,
        part,
        run: Math.min(part + 1, kinds.length),
        rows,
        bytes,
        sha256,
        ...range,
      });
    }
  }
  const of = (run: number) => written.filter((part) => part.run === run);
  const sessionsOf = (run: number) => {
    const [first] = of(run);
    return of(run).filter(({ format }) => format === first?.format).reduce((sum, { rows }) => sum + rows, 0);
  };
  await setManifest(root, {
    ...manifest,
    parts: written,
    runs: kinds.map((kind, i) => ({
      run: i + 1,
      kind,
      began: "",
      ended: "",
      seconds: 0,
      options,
      users: 1,
      sessions: sessionsOf(i + 1),
      quarantined: 0,
      bytes: of(i + 1).reduce((sum, { bytes }) => sum + bytes, 0),
      requests: 0,
      retries: 0,
      verified: true,
      missing: { count: 0, first: [] },
      unverified: { count: 0, first: [] },
      user_list_unverified_reasons: [],
    })),
  });
};
