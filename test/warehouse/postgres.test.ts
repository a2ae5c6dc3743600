import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { connect as dial } from "node:net";
import { dirname, join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { start, until } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { program } from "../program.ts";
import { isLong } from "../size.ts";
import { makeCluster } from "./cluster.ts";
import {
  allVersions,
  connect,
  type Database,
  hasPostgres,
  postgresForFile,
  startPostgres,
  versions,
} from "./postgres.ts";

/** A client of a database, which ends with the test. */
const connected = async (database: Database) => {
  const client = connect(database);
  onTestFinished(() => client.end());
  await client.connect();
  return client;
};

const listens = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = dial(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });

describe.each(allVersions)("$name", (version) => {
  describe.skipIf(!version.isThere)("where it is installed", () => {
    const postgres = postgresForFile({ version, settings: { work_mem: "7MB" } });

    it("is the version it says, with the settings that are given, and writes as safely as it does by default", async () => {
      const [row] = await postgres().sql(
        "SELECT current_setting('server_version') AS v, current_setting('work_mem') AS m, current_setting('fsync') AS f",
      );
      expect(row).toEqual({ v: expect.stringMatching(`^${version.major}\\.`), m: "7MB", f: "on" });
    });

    it("refuses a wrong password, and a user what was not granted", async () => {
      const database = await postgres().createDatabase();
      const wrong = connect({ ...database, password: "wrong" });
      await expect(wrong.connect()).rejects.toMatchObject({ code: "28P01" });
      const reader = await connected(await postgres().createUser(database, "reader"));
      await postgres().sql("CREATE TABLE t (a int)", database.name);
      await expect(reader.query("SELECT a FROM t")).rejects.toMatchObject({ code: "42501" });
      await postgres().sql("GRANT SELECT ON t TO reader", database.name);
      expect((await reader.query("SELECT a FROM t")).rows).toEqual([]);
    });

    it("that is killed amid a transaction has what was committed when it starts again", async () => {
      const database = await postgres().createDatabase();
      const client = await connected(database);
      await client.query("CREATE TABLE t (a int); INSERT INTO t VALUES (1)");
      await client.query("BEGIN");
      await client.query("INSERT INTO t VALUES (2)");
      const waits = expect(client.query("SELECT pg_sleep(60)")).rejects.toThrow();
      await postgres().kill();
      await waits;
      expect(postgres().pid()).toBeUndefined();
      expect(await listens(postgres().port)).toBe(false);
      await postgres().start();
      expect(await postgres().sql("SELECT a FROM t", database.name)).toEqual([{ a: 1 }]);
      expect(postgres().log()).toContain("automatic recovery in progress");
    });

    it("that is stopped needs no recovery, and tells its clients", async () => {
      const database = await postgres().createDatabase();
      const client = await connected(database);
      const waits = expect(client.query("SELECT pg_sleep(60)")).rejects.toMatchObject({ code: "57P01" });
      await postgres().stop();
      await waits;
      const already = postgres().log().length;
      await postgres().start();
      expect(await postgres().sql("SELECT 1 AS one", database.name)).toEqual([{ one: 1 }]);
      expect(postgres().log().slice(already)).not.toContain("recovery");
    });
  });
});

describe.skipIf(!hasPostgres)("a server (needs PostgreSQL)", () => {
  const [version] = versions;

  it("that does not start says why, and leaves nothing", async () => {
    const failed = startPostgres({ settings: { no_such_setting: 1 } });
    await expect(failed).rejects.toThrow(/did not start:[^]*unrecognized configuration parameter/);
  });

  it("goes with the process that started it, even by SIGKILL", async () => {
    const run = await program(new URL("abandoned.ts", import.meta.url));
    const running = run([version!.bin]);
    await until(() => running.out().includes("\n"), "the server is there");
    const { folder, port } = JSON.parse(running.out().toString());
    expect(await listens(port)).toBe(true);
    expect(existsSync(folder)).toBe(true);
    running.kill("SIGKILL");
    await running.done;
    await until(async () => !(await listens(port)), "the server is gone");
    await until(() => !existsSync(folder), "its folder is gone");
  });

  it.skipIf(!isLong || !allVersions[0]!.isThere)(
    "runs from a package that its user cannot read, and whose links nobody made (long; needs the package)",
    async () => {
      // Its owner alone can read this folder. Hard links are enough, where there can be any.
      const native = join(await newFolder(), "native");
      const copy = 'cp -al "$1" "$2" 2>/dev/null || { rm -rf "$2"; cp -a "$1" "$2"; }';
      await start("sh", ["-c", copy, "sh", dirname(allVersions[0]!.bin), native]).done;
      const lib = join(native, "lib");
      for (const entry of await readdir(lib, { withFileTypes: true })) {
        if (entry.isSymbolicLink()) await rm(join(lib, entry.name));
      }
      const cluster = await makeCluster({ bin: join(native, "bin") });
      onTestFinished(() => cluster.remove());
      expect(await listens(cluster.port)).toBe(true);
    },
  );
});
