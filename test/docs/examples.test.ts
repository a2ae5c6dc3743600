/** The programs of `docs/examples`, run as their first lines say, on Deno and on Node. */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { transform } from "esbuild";
import { describe, expect, it } from "vitest";
import { project, start } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { onDeno } from "../runtime.ts";
import { isLong } from "../size.ts";

const examples = join(project, "docs", "examples");
const deno = join(project, "node_modules", ".bin", "deno");

const onNode = async (name: string, ...args: ReadonlyArray<string>) => {
  // Node 20 reads no TypeScript; of later versions each does the same as this.
  const { code } = await transform(await readFile(join(examples, name), "utf8"), {
    loader: "ts",
    target: "node20",
  });
  return await start(process.execPath, ["--input-type=module", "-", ...args], { input: code }).done;
};

const inDeno = (name: string, ...args: ReadonlyArray<string>) =>
  start(deno, ["run", "--allow-all", join(examples, name), ...args], { env: { NO_COLOR: "1" } }).done;

/** What each prints. */
const printed: Readonly<Record<string, ReadonlyArray<string>>> = {
  "filterAndEnrich.ts": [
    "client.ndjson: ndjson",
    "client.csv.gz: csv",
    "some of 200 sessions",
    "verified: true",
  ],
  "ownSink.ts": ["12 sessions, all bytes stored", "12 lines"],
  "ownFormat.ts": ["60 sessions", "1 more", "0 problems"],
  "hourly.ts": ["120 changes, 120 sessions", "0 changes, 120 sessions", "3 changes, 121 sessions"],
  "ownTarget.ts": [
    "all checks passed",
    "1000 inserted",
    "1 inserted, 1 ended, 999 unchanged",
  ],
  "streamRoute.ts": ["200 text/csv; charset=utf-8; header=present 31", "404 text/plain;charset=UTF-8 0"],
};

/** The example that is longer than others, and that needs SQLite: of Deno, or of Node 22.18 with types in its files. */
const ownTarget = "ownTarget.ts";
const isNewNode = Number(process.versions.node.split(".")[0]) > 22;

describe.skipIf(onDeno)("an example", () => {
  it.each(Object.entries(printed))("prints what it shows, on Node and on Deno: %s", async (name, lines) => {
    for (const run of name === ownTarget ? [inDeno] : [onNode, inDeno]) {
      const { code, out, err } = await run(name, await newFolder());
      expect({ code, lines: out.trim().split("\n"), err }).toEqual({ code: 0, lines, err: "" });
    }
  });

  it.skipIf(!isNewNode)(
    "prints what it shows, on Node 24 or later, which has SQLite: ownTarget.ts",
    async () => {
      const { code, out } = await start(process.execPath, [join(examples, ownTarget)]).done;
      expect({ code, lines: out.trim().split("\n") }).toEqual({ code: 0, lines: printed[ownTarget] });
    },
  );

  it("filters and enriches", async () => {
    const folder = await newFolder();
    await onNode("filterAndEnrich.ts", folder);
    const rows = (await readFile(join(folder, "client.ndjson"), "utf8")).trim().split("\n").map((line) =>
      JSON.parse(line)
    );
    expect(
      rows.every(({ minutes, expires_at, initiated_at }) => minutes === (expires_at - initiated_at) / 60),
    ).toBe(true);
    expect(new Set(rows.map(({ user_id }) => user_id)).size).toBeGreaterThan(1);
  });

  it("serves on Deno", async () => {
    const args = ["run", "--allow-all", "--unstable-no-legacy-abort", join(examples, "denoServer.ts")];
    const running = start(deno, args, { env: { NO_COLOR: "1" } });
    await expect.poll(running.out, { timeout: 20_000 }).toSatisfy((out: Buffer) => out.includes("\n"));
    const [, url, userId] = /Listening on (\S+), user (\S+)/.exec(running.out().toString())!;
    expect(await (await fetch(`${url}/hello`)).text()).toBe("A route of your own");
    const path = `${url}/v1/users/${userId}/sessions.csv`;
    expect((await fetch(path)).status).toBe(401);
    const answer = await fetch(path, { headers: { authorization: "Bearer a-token-that-is-long-enough" } });
    expect(await answer.text()).toMatch(/^user_id,session_id/);
    running.kill("SIGTERM");
    expect((await running.done).code).toBe(0);
  });

  it("tests over a mock tenant, on Node and on Deno", async () => {
    const { code, out } = await onNode("mockTenant.ts");
    expect({ code, said: /# pass 2|pass 2/.test(out) ? "" : out }).toEqual({ code: 0, said: "" });
    const args = ["test", "--allow-all", join(examples, "mockTenant.ts")];
    const finished = await start(deno, args, { env: { NO_COLOR: "1" } }).done;
    expect(finished.code).toBe(0);
    expect(finished.out).toContain("2 passed");
  });

  it("is short, says what it shows and how to run it, and is tested here", async () => {
    const names = (await readdir(examples)).filter((name) => name.endsWith(".ts"));
    expect(names).toEqual([...Object.keys(printed), "denoServer.ts", "mockTenant.ts"].sort());
    for (const name of names) {
      const text = await readFile(join(examples, name), "utf8");
      const longest = name === ownTarget ? 175 : 60;
      expect([name, text.split("\n").length <= longest]).toEqual([name, true]);
      expect(text).toMatch(/^\/\*\*\n \* [A-Z][\s\S]*?\n \* Run: `deno /);
      expect(text).toContain(`docs/examples/${name}`);
    }
  });

  it.skipIf(!isLong)("has types by which Deno's compiler finds no fault", async () => {
    const { code, err } = await start(deno, ["check", examples], { env: { NO_COLOR: "1" } }).done;
    expect({ code, said: code === 0 ? "" : err }).toEqual({ code: 0, said: "" });
  });
});

/** Runs a program; undefined where it is not installed. */
const ran = (program: string, ...args: ReadonlyArray<string>) =>
  promisify(execFile)(program, args, { cwd: join(examples, "deploy") }).then(
    ({ stdout, stderr }) => ({ code: 0, said: `${stdout}${stderr}` }),
    (error) =>
      error.code === "ENOENT" ? undefined : { code: error.code, said: `${error.stdout}${error.stderr}` },
  );

describe.skipIf(onDeno)("a file to deploy by", () => {
  const file = (name: string) => readFile(join(examples, "deploy", name), "utf8");

  it.for([
    "compose.yaml",
    "cronjob.yaml",
    "sync-compose.yaml",
    "sync-cronjob.yaml",
    "workers-compose.yaml",
    "workers.yaml",
  ])(
    "is YAML: %s",
    async (name, { skip }) => {
      // Brought along by vitest's bundler, and no dependency of ours.
      const its = "yaml";
      const { parseAllDocuments } = await import(its).catch(() => ({}));
      if (parseAllDocuments === undefined) return skip("no parser of YAML is installed");
      const documents = parseAllDocuments(await file(name));
      expect(documents.flatMap(({ errors }: { readonly errors: ReadonlyArray<unknown> }) => errors)).toEqual(
        [],
      );
      expect(documents).toHaveLength(/cronjob|workers\.yaml/.test(name) ? 2 : 1);
    },
  );

  it("is what systemd takes", async ({ skip }) => {
    const verified = await ran(
      "systemd-analyze",
      "verify",
      "./monocloud-sessions.service",
      "./monocloud-sessions.timer",
      "./monocloud-sync.service",
      "./monocloud-sync.timer",
    );
    if (verified === undefined) return skip("systemd-analyze is not installed");
    expect(verified).toEqual({ code: 0, said: "" });
  });

  it("runs as nobody", async () => {
    expect(await file("Dockerfile")).toMatch(/^USER nobody$/m);
    for (const name of ["cronjob.yaml", "sync-cronjob.yaml", "workers.yaml"]) {
      expect(await file(name)).toContain("runAsUser: 65534");
    }
  });

  it("syncs without a volume, and without a password on the command line", async () => {
    for (const name of ["sync-compose.yaml", "sync-cronjob.yaml", "monocloud-sync.service"]) {
      const text = await file(name);
      expect(text).not.toMatch(/^ *volumes|volumeMounts|StateDirectory|:\/\/\w+:\w+@/m);
      expect(text).toMatch(/PGPASSWORD|PGPASSFILE/);
    }
  });

  it("has workers hand shards back, with secrets that no other user reads and no password on the command line", async () => {
    const [compose, manifest] = [await file("workers-compose.yaml"), await file("workers.yaml")];
    for (const text of [compose, manifest]) expect(text).not.toMatch(/:\/\/\w*:[^/\s]+@|--queue/);
    expect(compose).toMatch(/^ {2}stop_grace_period: 60s$/m);
    expect(manifest.match(/terminationGracePeriodSeconds: 60$/gm)).toHaveLength(2);
    expect(manifest.match(/defaultMode: .*$/gm)).toEqual(Array(4).fill("defaultMode: 0440"));
    expect(await file("Dockerfile")).toMatch(/ bullmq@6 ioredis@5 /);
  });

  it.each([
    ["export", ["monocloud-sessions.service", "cronjob.yaml"]],
    ["sync", ["monocloud-sync.service", "sync-cronjob.yaml"]],
    ["sync and work", ["workers-compose.yaml", "workers.yaml"]],
  ])("has flags that %s knows", async (commands, names) => {
    const helps = commands.split(" and ").map((command) =>
      start(process.execPath, [join(project, "dist", "cli.js"), command, "--help"]).done
    );
    const help = (await Promise.all(helps)).map(({ out }) => out).join("");
    for (const name of names) {
      const flags = (await file(name)).match(/(?<=\s|\[.*")--[a-z][a-z-]*(?=[="',\]\s])/g)!.filter((flag) =>
        !["--from-file", "--username", "--detach", "--rm", "--scale"].includes(flag)
      );
      expect([name, flags.filter((flag) => !new RegExp(`^ *${flag}\\b`, "m").test(help))]).toEqual([
        name,
        [],
      ]);
      expect(flags.length).toBeGreaterThan(3);
    }
  });
});
