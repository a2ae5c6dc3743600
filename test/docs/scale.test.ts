/** Runs the rights, the files of names and the commands of `docs/scale.md`, with a real worker and a real queue. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { read } from "../../docs/prose.ts";
import { make } from "../../src/sandbox/mod.ts";
import * as Postgres from "../../src/warehouse/targets/postgres.ts";
import { begin, run } from "../cli/command.ts";
import { problemsOf } from "../dataset/written.ts";
import { newFolder } from "../folders.ts";
import { hasPostgres, postgresForFile } from "../warehouse/postgres.ts";
import { expectRows, listedBy, rowsOf } from "../warehouse/tables.ts";
import { serving } from "../warehouse/tenants.ts";

const page = await read("docs/scale.md");

/** Give the commands of the page that are about something, as arguments. */
const commandsWith = (what: RegExp): ReadonlyArray<ReadonlyArray<string>> =>
  [...page.matchAll(/^monocloud-sessions (.*?)(?: +#.*)?$/gm)].map(([, line = ""]) => line)
    .filter((line) => what.test(line)).map((line) => line.split(" "));

/** Give the files that the page shows, by their paths. */
const files = (): ReadonlyMap<string, string> => {
  const [, shown = ""] = /^```\n(\/etc\/monocloud[\s\S]*?)^```$/m.exec(page) ?? [];
  const found = new Map<string, string>();
  let path = "";
  for (const [, named, line] of shown.matchAll(/^(\/\S+)? +(\S+)$/gm)) {
    path = named ?? path;
    found.set(path, `${found.get(path) ?? ""}${line}\n`);
  }
  return found;
};

describe.skipIf(!hasPostgres)("docs/scale.md", () => {
  const postgres = postgresForFile({ settings: { max_connections: 200 } });

  /** A tenant, an empty table, and a queue that is open to the role that the page makes. */
  const place = async () => {
    const sandbox = make({ users: 30, sessionsPerUser: 5 });
    const { env } = await serving(sandbox);
    const table = await postgres().createDatabase();
    const login = new URL(table.url);
    login.password = table.password;
    return { sandbox, env, table, login: login.href };
  };

  const queueUrl = async (): Promise<string> => {
    const database = await postgres().createDatabase("jobs");
    const [, rights = ""] = /^```sql\n([\s\S]*?)^```$/m.exec(page) ?? [];
    await postgres().sql(rights, database.name);
    const url = new URL(database.url);
    [url.username, url.password] = ["queue", /PASSWORD '(.*)'/.exec(rights)![1]!];
    return url.href;
  };
  let made: Promise<string> | undefined;
  const queue = () => made ??= queueUrl();

  it("runs by its first commands, with the rights that it gives", async () => {
    const { sandbox, env: tenant, login, table } = await place();
    const env = { ...tenant, MONOCLOUD_QUEUE: await queue(), MONOCLOUD_TO: login };
    const [work = [], ...others] = commandsWith(/--rate 200\/s$/).filter((args) => !args.includes("--queue"));
    const [sync = []] = others;
    expect([work[0], sync[0]]).toEqual(["work", "sync"]);
    const worker = begin(work, { env });
    expect(await run(sync, { env })).toMatchObject({ code: 0 });
    expectRows(await rowsOf(Postgres.make(table)), listedBy(sandbox));
    // The role may make its schema again.
    const second = begin(work, { env });
    expect(await run([...sync, "--prune"], { env })).toMatchObject({ code: 0 });
    for (const { kill, done } of [worker, second]) {
      kill("SIGTERM");
      expect(await done).toMatchObject({ code: 0 });
    }
  });

  it("runs by its commands with names, over the files that it shows", async () => {
    const { sandbox, env: tenant, login, table } = await place();
    const folder = await newFolder();
    const here = (text: string) =>
      text.replace("/etc/monocloud", join(folder, "etc")).replace("/mnt/export", join(folder, "export"));
    const values: Readonly<Record<string, string>> = {
      MONOCLOUD_DOMAIN: tenant.MONOCLOUD_DOMAIN,
      MONOCLOUD_API_KEY: tenant.MONOCLOUD_API_KEY,
    };
    expect(files().size).toBe(3);
    for (const [path, text] of files()) {
      await mkdir(dirname(here(path)), { recursive: true });
      const lines = text.trim().split("\n").map((line) => {
        const [name = "", value = ""] = line.split("=");
        return `${name}=${values[name] ?? (/^postgres:/.test(value) ? login : here(value))}\n`;
      });
      await writeFile(here(path), lines.join(""), { mode: 0o600 });
    }
    const env = { MONOCLOUD_QUEUE: await queue() };
    const [work = [], sync = [], exporting = []] = commandsWith(/--tenants/).map((args) => args.map(here));
    const worker = begin(work, { env });
    expect(await run(sync, { env })).toMatchObject({ code: 0 });
    expectRows(await rowsOf(Postgres.make({ ...table, schema: "acme" })), listedBy(sandbox));
    expect(await run(exporting, { env })).toMatchObject({ code: 0 });
    expect(await problemsOf(join(folder, "export"))).toEqual([]);
    const manifest = JSON.parse(await readFile(join(folder, "export", "manifest.json"), "utf8"));
    expect(manifest.runs[0].sessions).toBe(listedBy(sandbox).length);
    worker.kill("SIGTERM");
    expect(await worker.done).toMatchObject({ code: 0 });
  });
});
