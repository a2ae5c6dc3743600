/** The plain types: what the engine has can be given as them, and what callers have can be given to the engine. */
import { builtinModules } from "node:module";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import * as esbuild from "esbuild";
import { describe, expect, it } from "vitest";
import type * as ApiError from "../../src/api/ApiError.ts";
import type * as TenantClient from "../../src/api/TenantClient.ts";
import type * as Tenant from "../../src/api/Tenant.ts";
import type * as DatasetError from "../../src/dataset/DatasetError.ts";
import type * as Manifest from "../../src/dataset/Manifest.ts";
import type * as Replay from "../../src/dataset/quarantine/Replay.ts";
import type * as Columns from "../../src/session/Columns.ts";
import type * as Verify from "../../src/dataset/verify/Verify.ts";
import type * as Export from "../../src/export/Export.ts";
import type * as Verdict from "../../src/export/Verdict.ts";
import * as Formats from "../../src/format/Formats.ts";
import type * as promise from "../../src/promise.ts";
import type * as Batch from "../../src/session/Batch.ts";
import type * as RedactionPolicy from "../../src/session/RedactionPolicy.ts";
import type * as Session from "../../src/session/Session.ts";
import type * as Sink from "../../src/sink/Sink.ts";
import type * as SessionSource from "../../src/source/SessionSource.ts";
import type * as Load from "../../src/warehouse/Load.ts";
import type * as WarehouseReport from "../../src/warehouse/Report.ts";
import type * as Target from "../../src/warehouse/Target.ts";
import type * as DuckDb from "../../src/warehouse/targets/duckdb.ts";
import type * as Postgres from "../../src/warehouse/targets/postgres.ts";
import type * as WarehouseOptions from "../../src/warehouse/WarehouseOptions.ts";
import { project, start } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { onDeno } from "../runtime.ts";

/** Compiles where every value of the first type is one of the second. */
const assignable = <From, To>(..._: [From] extends [To] ? [] : ["not assignable", From, To]): void => {};
/** Compiles where both types have the same members. */
const sameNames = <A, B>(
  ..._: [keyof A] extends [keyof B]
    ? [keyof B] extends [keyof A] ? [] : ["too many", Exclude<keyof B, keyof A>]
    : ["missing", Exclude<keyof A, keyof B>]
): void => {};

describe("what the engine gives", () => {
  it("is what the plain types say, field by field (by the compiler)", () => {
    assignable<Session.Session, promise.Session>();
    sameNames<Session.Session, promise.Session>();
    sameNames<Session.Metadata, promise.SessionMetadata>();
    assignable<Batch.QuarantinedRow, promise.QuarantinedRow>();
    sameNames<Batch.QuarantinedRow, promise.QuarantinedRow>();
    assignable<Batch.WalkEnd, promise.WalkEnd>();
    // The cursor is what a cursor holds.
    sameNames<Omit<Batch.WalkEnd, "cursor">, promise.WalkEnd>();
    assignable<Verdict.Unverified, promise.Unverified>();
    sameNames<Verdict.Unverified, promise.Unverified>();
    assignable<Export.Progress, promise.Progress>();
    // A plain one does not tell of the comparison of a run that prunes.
    sameNames<Omit<Export.Progress, "compared" | "walking" | "before">, promise.Progress>();
    assignable<
      Export.Report & { readonly userListUnverifiedReasons: ReadonlyArray<string> },
      promise.Report
    >();
    sameNames<
      Export.Report & { readonly userListUnverifiedReasons: ReadonlyArray<string> },
      promise.Report
    >();
    sameNames<Export.ExportedFile, promise.ExportedFile>();
    assignable<Manifest.Part, promise.Part>();
    sameNames<Manifest.Part, promise.Part>();
    sameNames<
      Omit<Manifest.Run, "user_list_unverified_reasons" | "options" | "since">,
      Omit<promise.DatasetReport, "userListUnverifiedReasons" | "failed" | "files" | "wasFinished">
    >();
    assignable<Verify.Report, promise.VerifyReport>();
    sameNames<Verify.Report, promise.VerifyReport>();
    assignable<Verify.Progress, promise.VerifyProgress>();
    assignable<Replay.Report, promise.ReplayReport>();
    sameNames<Replay.Report, promise.ReplayReport>();
    assignable<Replay.Progress, promise.ReplayProgress>();
    assignable<WarehouseReport.Report, promise.WarehouseReport>();
    sameNames<WarehouseReport.Report, promise.WarehouseReport>();
    assignable<Load.LoadProgress, promise.LoadProgress>();
  });

  it("fails with errors that are what the plain types say (by the compiler)", () => {
    assignable<ApiError.ApiError, promise.ApiError>();
    assignable<promise.ApiErrorReason, ApiError.ApiErrorReason>();
    assignable<Export.ExportError, promise.ExportError>();
    assignable<promise.ExportError["reason"], Export.ExportError["reason"]>();
    assignable<Sink.SinkError, promise.SinkError>();
    assignable<promise.SinkError["reason"], Sink.SinkError["reason"]>();
    assignable<DatasetError.DatasetError, promise.DatasetError>();
    assignable<promise.DatasetError["reason"], DatasetError.DatasetError["reason"]>();
    assignable<Tenant.TenantError, promise.TenantError>();
    assignable<promise.TenantError["reason"], Tenant.TenantError["reason"]>();
    assignable<Target.TargetError, promise.TargetError>();
  });
});

describe("what callers give", () => {
  it("is what the engine takes (by the compiler)", () => {
    assignable<Omit<promise.TenantOptions, "fetch">, TenantClient.TenantOptions>();
    // One pace for several threads is the business of those who make them.
    sameNames<Omit<TenantClient.TenantOptions, "shared">, Omit<promise.TenantOptions, "fetch">>();
    assignable<promise.WalkOptions, SessionSource.WalkOptions>();
    sameNames<promise.WalkOptions, SessionSource.WalkOptions>();
    assignable<SessionSource.WalkOptions["sort"], promise.Sort | undefined>();
    assignable<promise.RedactionPolicy, RedactionPolicy.Policy>();
    assignable<RedactionPolicy.Policy, promise.RedactionPolicy>();
    assignable<promise.EncodingOptions, Formats.FormatOptions & Export.QuarantineOptions>();
    assignable<Formats.FormatOptions & Export.QuarantineOptions, promise.EncodingOptions>();
    assignable<promise.UnverifiedOptions, Verdict.UnverifiedOptions>();
    sameNames<promise.UnverifiedOptions, Verdict.UnverifiedOptions>();
    assignable<promise.WarehouseOptions, WarehouseOptions.WarehouseOptions & { signal?: unknown }>();
    sameNames<promise.WarehouseOptions, WarehouseOptions.WarehouseOptions & { signal?: unknown }>();
    assignable<Target.PostgresOptions, Postgres.PostgresOptions>();
    sameNames<Target.PostgresOptions, Postgres.PostgresOptions>();
    assignable<Target.DuckDbOptions, DuckDb.DuckDbOptions>();
    sameNames<Target.DuckDbOptions, DuckDb.DuckDbOptions>();
    assignable<Columns.Kind, Target.Kind>();
    assignable<Columns.Value, Target.Value>();
    assignable<Exclude<Target.Kind, "integer" | "boolean">, Columns.Kind>();
    assignable<promise.Session, Session.Session>();
    assignable<Map<string, string>, promise.CursorStore>();
    // Else none of this would say anything.
    // @ts-expect-error a session has more than an id
    assignable<{ readonly session_id: string }, promise.Session>();
    // @ts-expect-error a user's session has one name more
    sameNames<promise.UserSession, promise.Session>();
  });

  it("names the formats that there are", () => {
    const choices: Record<promise.FormatChoice, true> = {
      "ndjson": true,
      "ndjson.gz": true,
      "csv": true,
      "csv.gz": true,
      "parquet": true,
    };
    expect(Object.keys(choices)).toEqual(Formats.builtInChoices);
  });
});

const bin = (name: string) => join(project, "node_modules", ".bin", name);

/** The files that a declaration imports, itself included, and whatever else they import. */
const closureOf = async (first: string) => {
  const texts = new Map<string, string>();
  const others = new Set<string>();
  const visit = async (path: string): Promise<void> => {
    if (texts.has(path)) return;
    const text = (await readFile(path, "utf8")).replace(/\/\*[^]*?\*\/|\/\/.*/g, "");
    texts.set(path, text);
    for (const [, specifier = ""] of text.matchAll(/(?:\bfrom|\bimport\(|\bimport)\s*"([^"]+)"/g)) {
      if (specifier.startsWith(".")) {
        await visit(resolve(dirname(path), specifier.replace(/\.(js|ts)$/, ".d.ts")));
      } else others.add(specifier);
    }
  };
  await visit(first);
  return { texts, others };
};

describe.skipIf(onDeno)("the declarations", () => {
  it("name nothing of Effect, and compile where there is neither Effect nor Node", async () => {
    const folder = await newFolder();
    const built = join(folder, "node_modules", "monocloud-sessions");
    const emit = ["-p", "tsconfig.build.json", "--emitDeclarationOnly", "--outDir", join(folder, "all")];
    const { code, out } = await start(bin("tsc"), emit).done;
    expect({ code, out }).toEqual({ code: 0, out: "" });
    const { texts, others } = await closureOf(join(folder, "all", "promise.d.ts"));
    expect([...others]).toEqual([]);
    expect(texts.size).toBeGreaterThan(5);
    for (const text of texts.values()) {
      expect(text).not.toMatch(/\bEffect\b|Redacted|DurationInput|\bSchema\b|Either/);
    }
    // The walk finds what is there to be found.
    expect([...(await closureOf(join(folder, "all", "mod.d.ts"))).others].join()).toContain("effect/");

    const doors = ["warehouse/postgres.d.ts", "warehouse/duckdb.d.ts"];
    for (const door of doors) {
      const of = await closureOf(join(folder, "all", door));
      expect([door, ...of.others]).toEqual([door]);
      for (const [path, text] of of.texts) texts.set(path, text);
    }
    for (const path of texts.keys()) {
      const target = join(built, path.slice(join(folder, "all").length));
      await mkdir(dirname(target), { recursive: true });
      await cp(path, target);
    }
    await writeFile(
      join(built, "package.json"),
      JSON.stringify({
        exports: {
          "./promise": "./promise.d.ts",
          "./postgres": "./warehouse/postgres.d.ts",
          "./duckdb": "./warehouse/duckdb.d.ts",
        },
      }),
    );
    await writeFile(
      join(folder, "app.ts"),
      `import { changes, dataset, exportSessions, isApiError, load, response, sessions, stream, sync } from "monocloud-sessions/promise";
      import { make as inDuckDb } from "monocloud-sessions/duckdb";
      import { make as inPostgres, type Target } from "monocloud-sessions/postgres";
      const tenant = { domain: "acme.example", apiKey: "a-key", timeout: "30 seconds", users: "all" } as const;
      export const run = async () => {
        for await (const { user_id, last_metadata } of sessions(tenant)) console.log(user_id, last_metadata?.country);
        for await (const { cursor } of changes({ ...tenant, cursors: new Map() })) console.log(cursor);
        const report = await exportSessions({ ...tenant, out: "sessions.csv", onProgress: ({ users }) => console.log(users) });
        const { tombstones } = await dataset({ ...tenant, folder: "out", formats: ["csv.gz"], sinceLast: true, prune: true });
        const targets: ReadonlyArray<Target> = [inDuckDb({ path: "a.duckdb" }), inPostgres({ url: "postgres://a/b" })];
        for (const target of targets) console.log((await sync({ ...tenant, target, prune: true, wait: "1 minute" })).ended);
        console.log((await load({ folder: "out", target: targets[0]!, onProgress: ({ rows }) => console.log(rows) })).kind);
        // @ts-expect-error a table equals the tenant
        await sync({ ...tenant, target: targets[0]!, filter: () => true });
        console.log(report.verified, tombstones?.gone, await response("csv", tenant).catch((e) => isApiError(e) && e.reason));
        // @ts-expect-error there is no such unit
        return stream("parquet", { ...tenant, timeout: "30 s" });
      };`,
    );
    const options = {
      strict: true,
      noEmit: true,
      skipLibCheck: false,
      exactOptionalPropertyTypes: true,
      target: "ES2022",
      module: "NodeNext",
      types: [],
      lib: ["ES2022", "DOM", "DOM.AsyncIterable", "DOM.Iterable"],
    };
    await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    await writeFile(
      join(folder, "tsconfig.json"),
      JSON.stringify({ compilerOptions: options, files: ["app.ts"] }),
    );
    const compiled = await start(bin("tsc"), ["-p", folder]).done;
    expect(compiled).toMatchObject({ code: 0, out: "" });
  });
});

describe.skipIf(onDeno)("the bundle for browsers", () => {
  const bundle = async (folder: string) =>
    await esbuild.build({
      entryPoints: [join(project, "src", "promise.ts")],
      bundle: true,
      splitting: true,
      format: "esm",
      platform: "browser",
      external: ["node:*", ...builtinModules],
      outdir: folder,
      outExtension: { ".js": ".mjs" },
      metafile: true,
      logLevel: "silent",
      absWorkingDir: project,
    });

  it("loads nothing of Node before a file is asked for", async () => {
    const folder = await newFolder();
    const { outputs } = (await bundle(folder)).metafile;
    const reached = new Set<string>();
    const imported = new Set<string>();
    const later = new Set<string>();
    const visit = (path: string): void => {
      if (reached.has(path)) return;
      reached.add(path);
      for (const { path: target, kind, external } of outputs[path]!.imports) {
        if (kind === "dynamic-import") later.add(target);
        else if (external) imported.add(target);
        else visit(target);
      }
    };
    visit(Object.keys(outputs).find((path) => outputs[path]!.entryPoint === "src/promise.ts")!);
    expect([...imported]).toEqual([]);
    expect(later.size).toBeGreaterThan(2);
  });

  it("reads sessions and streams where there is no global of Node", async () => {
    const folder = await newFolder();
    await bundle(folder);
    await esbuild.build({
      entryPoints: [join(project, "src", "sandbox", "Sandbox.ts")],
      bundle: true,
      format: "esm",
      outfile: join(folder, "sandbox.mjs"),
      logLevel: "silent",
    });
    const script = `
      const say = console.log;
      // Node's own fetch can't do without Buffer.
      for (const name of ["process", "setImmediate", "clearImmediate"]) delete globalThis[name];
      const { make } = await import(${JSON.stringify(join(folder, "sandbox.mjs"))});
      const { changes, response, sessions } = await import(${JSON.stringify(join(folder, "promise.mjs"))});
      const sandbox = make({ users: 3, sessionsPerUser: 7 });
      const fetch = (input, init) => sandbox.fetch(new Request(input, init));
      const options = { domain: "sandbox.example", apiKey: sandbox.key, users: "all", fetch, maxElapsed: "5 seconds" };
      let count = 0;
      for await (const _ of sessions(options)) count++;
      for await (const { sessions } of changes({ ...options, cursors: new Map() })) count += sessions.length;
      const sizes = [];
      for (const format of ["ndjson", "csv.gz", "parquet"]) {
        sizes.push((await (await response(format, options)).arrayBuffer()).byteLength > 100);
      }
      say(JSON.stringify([count, ...sizes]));`;
    const { out, err } = await start(process.execPath, ["--input-type=module", "--eval", script]).done;
    expect(err).toBe("");
    expect(JSON.parse(out)).toEqual([42, true, true, true]);
  });
});
