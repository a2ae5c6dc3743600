/** The same from source under real Deno, with no more permissions than it needs. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";
import { keysIn, keysOf, project, start } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import type { Report } from "../../src/plain/Report.ts";
import { tenantOf } from "./threads.ts";

const deno = join(project, "node_modules", ".bin", process.platform === "win32" ? "deno.cmd" : "deno");
const source = join(project, "src");
const worker = JSON.stringify(pathToFileURL(join(source, "thread", "worker.ts")).href);

/** Runs a program under Deno, from standard input: the tenant with its key is in no argument. */
const runDeno = (script: string, tenant: unknown, permissions: ReadonlyArray<string>) =>
  start(deno, ["run", "--no-prompt", "--no-check", "--ext=ts", ...permissions, "-"], {
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    input: `const tenant = ${JSON.stringify(tenant)};\n${script}`,
  }).done;

const net = "--allow-net=127.0.0.1";
const read = `--allow-read=${source}`;

it("bytes come as a stream from a thread, with permission for the tenant and for reading the source alone", async () => {
  const { tenant, sandbox } = await tenantOf({ users: 20 });
  const { code, out, err } = await runDeno(
    `import { stream } from "monocloud-sessions/thread";
    await stream("ndjson", { ...tenant, users: "all" }).pipeTo(Deno.stdout.writable);`,
    tenant,
    [net, read],
  );
  expect({ code, err }).toEqual({ code: 0, err: "" });
  expect(keysIn(out)).toEqual(keysOf(sandbox));
});

it("a thread writes files, several exports at once, and leaves no partial one behind", async () => {
  const { tenant, sandbox } = await tenantOf({ users: 12 });
  const folder = await newFolder();
  const { code, out, err } = await runDeno(
    `import { Thread } from "monocloud-sessions/effect/thread";
    import * as Effect from "effect/Effect";
    const { users, folder, ...rest } = tenant;
    const reports = await Effect.runPromise(Effect.scoped(Effect.flatMap(
      Thread.make(),
      (thread) => Effect.all(users.map((user: string, index: number) => thread.run({
        tenant: rest,
        users: [user],
        targets: [{ format: "parquet" as const, to: folder + "/" + index + ".parquet" }],
      })), { concurrency: 4 }),
    )));
    console.log(JSON.stringify(reports));`,
    { ...tenant, rate: 200, users: [...sandbox.userIds()], folder },
    [net, `${read},${folder}`, `--allow-write=${folder}`],
  );
  expect({ code, err }).toEqual({ code: 0, err: "" });
  const reports: ReadonlyArray<Report> = JSON.parse(out);
  expect(reports.map(({ users, verified }) => [users, verified])).toEqual(Array(12).fill([1, true]));
  expect(reports.reduce((sum, { sessions }) => sum + sessions, 0)).toBe(keysOf(sandbox).length);
  expect((await readdir(folder)).every((name) => name.endsWith(".parquet"))).toBe(true);
  expect(await readdir(folder)).toHaveLength(12);
});

it("what fails is typed: a refused key, a thread that crashed, one that may not read its module", async () => {
  const { tenant } = await tenantOf({ users: 2_000, faults: { latencyMs: 5 } });
  const { code, out, err } = await runDeno(
    `import { Thread } from "monocloud-sessions/effect/thread";
    import { Sinks } from "monocloud-sessions";
    import * as Effect from "effect/Effect";
    const target = () => [{ format: "csv" as const, to: Sinks.web("csv", new WritableStream()) }];
    const failure = (work) => Effect.runPromise(Effect.scoped(Effect.flip(work)));
    const shown = ({ _tag, reason, message }) => console.log(JSON.stringify([_tag, reason, message]));
    shown(await failure(Effect.flatMap(Thread.make(), (thread) =>
      thread.run({ tenant: { ...tenant, apiKey: "wrong" }, users: "all", targets: target() }))));
    const module = "import " + JSON.stringify(${worker}) + ";" +
      "addEventListener('message', ({ data }) => { if (data === 'die') setTimeout(() => { throw new Error('boom') }) });";
    const workers = [];
    const spawn = () => {
      workers.push(new Worker("data:text/javascript," + encodeURIComponent(module), { type: "module" }));
      return workers.at(-1);
    };
    shown(await failure(Effect.flatMap(Thread.make({ spawn }), (thread) => thread.run({
      tenant, users: "all", targets: target(), onProgress: ({ sessions }) => sessions > 0 && workers[0].postMessage("die"),
    }))));
    const nowhere = () => new Worker("file:///nowhere/entry.ts", { type: "module" });
    shown(await failure(Thread.make({ spawn: nowhere })));`,
    tenant,
    [net, read],
  );
  const errors = out.trim().split("\n").map((line) => JSON.parse(line));
  expect({ code, errors: errors.map(([tag, reason]) => `${tag} ${reason}`) }).toEqual({
    code: 0,
    errors: ["ApiError Unauthorized", "ThreadError Crashed", "ThreadError Spawn"],
  });
  expect(errors[1][2]).toContain("boom");
  expect(errors[2][2]).toContain("read access");
  expect(out + err).not.toContain("sandbox-key");
});
