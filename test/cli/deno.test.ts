/** The same command line under Deno, with no more permissions than it needs. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parquetTable, sql } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { beginDeno, deno, keysIn, keysOf, run, start, tenant, until } from "./command.ts";

const variables = "--allow-env=MONOCLOUD_DOMAIN,MONOCLOUD_API_KEY";
const loopback = "--allow-net=127.0.0.1";

describe("under Deno", () => {
  it("--help and --version need no permission, and say what they say under Node", async () => {
    for (const args of [["--help"], ["export", "--help"], ["--version"]]) {
      const finished = await beginDeno([], args).done;
      expect(finished).toMatchObject({ code: 0, err: "" });
      expect(finished.out).toBe((await run(args)).out);
    }
  });

  it("an export writes what Node writes, and may reach nothing but the tenant and its folder", async () => {
    const { sandbox, env } = await tenant({ users: 12, sessionsPerUser: 130 });
    const cwd = await newFolder();
    const files = (name: string) =>
      ["ndjson", "csv", "parquet"].flatMap((format) => ["--out", join(cwd, `${name}.${format}`)]);
    // One request at a time, so that the users come in the same order.
    const args = ["export", "--all-users", "--rate", "1000/s", "--concurrency", "1", "--json"];
    const permissions = [variables, loopback, `--allow-read=${cwd}`, `--allow-write=${cwd}`];
    const byDeno = await beginDeno(permissions, [...args, ...files("deno")], { env, cwd }).done;
    const byNode = await run([...args, ...files("node")], { env, cwd });
    expect([byDeno.code, byNode.code]).toEqual([0, 0]);
    const digests = ({ out }: { readonly out: string }) =>
      JSON.parse(out).files.map((
        { format, rows, sha256 }: Record<string, unknown>,
      ) => [format, rows, sha256]);
    expect(digests(byDeno).slice(0, 2)).toEqual(digests(byNode).slice(0, 2));
    expect(keysIn(await readFile(join(cwd, "deno.ndjson"), "utf8"))).toEqual(keysOf(sandbox));
    const [one, other] = ["deno", "node"].map((name) => parquetTable(join(cwd, `${name}.parquet`)));
    expect(await sql(`SELECT count(*) AS n FROM ${one}`)).toEqual([{ n: 1560n }]);
    expect(await sql(`FROM ${one} EXCEPT ALL FROM ${other}`)).toEqual([]);
  });

  it("an export to standard output needs no file", async () => {
    const { sandbox, env } = await tenant();
    const args = ["export", "--all-users", "--rate", "1000/s", "--out", "-", "--format", "ndjson"];
    const { code, out } = await beginDeno([variables, loopback], args, { env }).done;
    expect(code).toBe(0);
    expect(keysIn(out)).toEqual(keysOf(sandbox));
  });

  it("an export that is interrupted leaves no file", async () => {
    const { sandbox, env } = await tenant({ users: 100_000, faults: { latencyMs: 2 } });
    const cwd = await newFolder();
    const permissions = [variables, loopback, `--allow-read=${cwd}`, `--allow-write=${cwd}`];
    const args = ["export", "--all-users", "--rate", "10000/s", "--out", join(cwd, "s.csv")];
    const running = beginDeno(permissions, args, { env, cwd });
    await until(() => sandbox.counts.total > 50, "the export is under way");
    running.kill("SIGTERM");
    expect((await running.done).code).toBe(75);
    expect(await readdir(cwd)).toEqual([]);
  });

  it("an export into a folder is broken off, gone on with and added to, with the same permissions", async () => {
    const { sandbox, env } = await tenant({ users: 150, sessionsPerUser: 20, faults: { latencyMs: 20 } });
    const cwd = await newFolder();
    const data = join(cwd, "data");
    const permissions = [variables, loopback, `--allow-read=${data}`, `--allow-write=${data}`];
    const args = [
      "export",
      "--all-users",
      "--rate",
      "5000/s",
      "--out",
      data,
      "--format",
      "ndjson",
      "--part-rows",
      "200",
    ];
    const running = beginDeno(permissions, args, { env });
    const parts = () => readdir(join(data, "ndjson")).catch(() => []);
    await until(
      async () => (await parts()).filter((name) => name.endsWith(".ndjson")).length > 1,
      "two parts are there",
    );
    running.kill("SIGTERM");
    expect((await running.done).code).toBe(75);
    expect(await beginDeno(permissions, [...args, "--resume", "--quiet"], { env }).done).toMatchObject({
      code: 0,
      err: "",
    });
    const [userId = ""] = sandbox.userIds();
    sandbox.add(userId);
    const added = await beginDeno(permissions, [...args, "--since-last"], { env }).done;
    expect(added.err).toContain("1 session of 150 users in ");
    const texts = await Promise.all(
      (await parts()).map((name) => readFile(join(data, "ndjson", name), "utf8")),
    );
    expect(keysIn(texts.join(""))).toEqual(keysOf(sandbox));
  });

  it("the sandbox serves, and its export says so", async () => {
    const running = beginDeno([loopback], ["sandbox", "--users", "4", "--sessions", "3", "--exactly"]);
    await until(() => running.err().includes("export --all-users"), "the sandbox listens");
    const env = Object.fromEntries(
      [...running.out().toString().matchAll(/^export (\w+)=(\S+)$/gm)].map((
        [, name, value],
      ) => [name!, value!]),
    );
    const { out } = await run(["export", "--all-users", "--out", "-", "--format", "ndjson"], { env });
    expect(keysIn(out)).toHaveLength(12);
    running.kill("SIGINT");
    expect((await running.done).code).toBe(75);
  });

  it("the sandbox's fetch is a handler for Deno.serve", async () => {
    const sandbox = new URL("../../src/sandbox/mod.ts", import.meta.url);
    const script = `
      import { make } from ${JSON.stringify(sandbox.href)};
      const sandbox = make({ users: 4, sessionsPerUser: 3 });
      Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: ({ port }) => console.log(port) }, sandbox.fetch);
    `;
    const running = start(deno, ["run", "--no-prompt", "--ext=ts", loopback, "-"], {
      env: { NO_COLOR: "1" },
      input: script,
    });
    await until(() => running.out().includes("\n"), "the sandbox listens");
    const env = {
      MONOCLOUD_DOMAIN: `http://127.0.0.1:${running.out().toString().trim()}`,
      MONOCLOUD_API_KEY: "sandbox-key",
    };
    const { out } = await run(["export", "--all-users", "--out", "-", "--format", "ndjson"], { env });
    expect(keysIn(out)).toHaveLength(12);
    running.kill("SIGTERM");
    await running.done;
  });
});
