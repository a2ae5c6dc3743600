/** Runs on many machines beside each other, workers that come and go, and names that are configured or not. */
import { chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { begin, run } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { hasPostgres, postgresForFile } from "../warehouse/postgres.ts";
import { expectRows, listedBy, rowsOf } from "../warehouse/tables.ts";
import { placesOn, said, sleep, sync, work } from "./place.ts";

describe.skipIf(!hasPostgres)("over a queue in PostgreSQL", () => {
  const postgres = postgresForFile({ settings: { max_connections: 200 } });
  const place = placesOn(postgres);

  it("takes turns between runs of one tenant, and no tenant holds another up", async () => {
    const folder = await newFolder();
    const [tenants, targets] = [join(folder, "tenants"), join(folder, "targets")];
    const [slow, fast, second] = [await place({ users: 80 }), await place({ users: 60 }), await place()];
    for (const path of [tenants, targets]) await mkdir(path);
    const write = async (path: string, name: string, values: Readonly<Record<string, string>>) => {
      const file = join(path, `${name}.env`);
      await writeFile(file, Object.entries(values).map(([key, value]) => `${key}=${value}\n`).join(""));
      await chmod(file, 0o600);
    };
    const tenantOf = ({ env }: typeof fast) => ({
      MONOCLOUD_DOMAIN: env.MONOCLOUD_DOMAIN,
      MONOCLOUD_API_KEY: env.MONOCLOUD_API_KEY,
    });
    await write(tenants, "slow", { ...tenantOf(slow), MONOCLOUD_RATE: "5" });
    await write(tenants, "fast", { ...tenantOf(fast), MONOCLOUD_RATE: "1000" });
    await write(targets, "one", { MONOCLOUD_TO: slow.table.url });
    await write(targets, "two", { MONOCLOUD_TO: fast.table.url });
    await write(targets, "three", { MONOCLOUD_TO: second.table.url });
    const { PGPASSWORD, MONOCLOUD_QUEUE } = fast.env;
    const env = { PGPASSWORD, MONOCLOUD_QUEUE };
    const named = ["--tenants", tenants, "--targets", targets];
    const worker = begin(["work", ...named, "--at-once", "1"], { env });
    const order: Array<string> = [];
    const syncOf = (tenant: string, to: string, shards: number, ...users: ReadonlyArray<string>) => {
      const running = begin([
        ...["sync", ...(users.length > 0 ? users : ["--all-users"]), "--page-size", "10", ...named],
        ...["--tenant", tenant, "--to", to, "--shards", `${shards}`, "--concurrency", "1"],
      ], { env });
      void running.done.then(() => order.push(to));
      return running;
    };
    const first = syncOf("slow", "one", 6);
    await said(worker, /begun/);
    const long = syncOf("fast", "two", 24);
    await said(worker, new RegExp(`\\.23: begun|(begun[^]*){4}`));
    // Of the same tenant, and much shorter.
    const [one = "", two = ""] = fast.sandbox.userIds();
    const short = syncOf("fast", "three", 2, "--user", one, "--user", two);
    for (const running of [first, long, short]) {
      const { code, err } = await running.done;
      expect(err).not.toMatch(/Error/);
      expect(code).toBe(0);
    }
    expect(order).toEqual(["three", "two", "one"]);
    expectRows(await rowsOf(fast.target), listedBy(fast.sandbox));
    expectRows(await rowsOf(slow.target), listedBy(slow.sandbox));
    worker.kill("SIGTERM");
    await worker.done;
  });

  it("hands shards back at a checkpoint when a worker is told to stop, and one that joins takes them at once", async () => {
    const { sandbox, env, target } = await place({ users: 4, sessionsPerUser: 200 });
    // So long that nothing is handed on because of it.
    const lease = ["--lease", "10m"];
    const worker = work(env, ...lease);
    const syncing = begin([...sync, "--shards", "2", "--concurrency", "1", "--json"], { env });
    await said(worker, /begun[^]*begun/);
    await sleep(400);
    worker.kill("SIGTERM");
    const left = await worker.done;
    expect(left).toMatchObject({ code: 0 });
    expect(left.err).toMatch(/handed back/);
    expect(left.err).not.toMatch(/done/);
    const next = work(env, ...lease);
    const { code, out } = await syncing.done;
    expect(code).toBe(0);
    expectRows(await rowsOf(target), listedBy(sandbox));
    // As many as without that, but for the few pages that were asked for twice.
    const alone = await run([...sync, "--concurrency", "1", "--json", "--quiet"], {
      env: { ...env, MONOCLOUD_TO: (await postgres().createDatabase()).url },
    });
    expect(JSON.parse(out).requests).toBeLessThan(JSON.parse(alone.out).requests + 20);
    next.kill("SIGTERM");
    await next.done;
  });

  it("hashes with the same secret on all machines, or not at all", async () => {
    const { env } = await place({ users: 6 });
    const [ours, theirs] = ["a".repeat(32), "b".repeat(32)];
    const other = work({ ...env, MONOCLOUD_REDACT_SECRET: theirs });
    const args = [...sync, "--shards", "2", "--redact", "user_agent=drop,session_key=hash", "--quiet"];
    const its = { ...env, MONOCLOUD_REDACT_SECRET: ours };
    const refused = await run(args, { env: its });
    expect(refused).toMatchObject({ code: 75 });
    expect(refused.err).toMatch(/MONOCLOUD_REDACT_SECRET is another here than where the run was begun/);
    other.kill("SIGTERM");
    await other.done;
    const same = work(its);
    expect(await run(args, { env: its })).toMatchObject({ code: 0 });
    same.kill("SIGTERM");
    await same.done;
  });

  it("says that there is no worker, and refuses names that are not configured", async () => {
    const { env } = await place();
    const alone = begin([...sync, "--shards", "2"], { env });
    const refused = await run([...sync, "--to", "elsewhere", "--shards", "2"], { env });
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.err).toMatch(
      /There is no target elsewhere here: give --targets DIR, a folder with elsewhere\.env/,
    );
    const open = await newFolder();
    await writeFile(join(open, "default.env"), "MONOCLOUD_DOMAIN=a\nMONOCLOUD_API_KEY=secret\n");
    await chmod(join(open, "default.env"), 0o644);
    const readable = await run([...sync, "--tenants", open, "--shards", "2"], { env });
    expect(readable).toMatchObject({ code: 2 });
    expect(readable.err).toMatch(/other users of this machine can read it or write to it: chmod 600 it/);
    expect(readable.err).not.toContain("secret");
    const password = await run([...sync, "--queue", "redis://:secret@127.0.0.1"], { env });
    expect(password).toMatchObject({ code: 2 });
    expect(password.err).not.toContain("secret@");
    const waiting = await said(alone, /No worker for the tenant default for 30 s: start one with/);
    expect(waiting).not.toContain(env.PGPASSWORD);
    alone.kill("SIGINT");
    expect((await alone.done).err).toMatch(/Interrupted: /);
  });
});
