/** The suite for targets, on DuckDB files. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { contract } from "../../src/warehouse/contract.ts";
import * as DuckDb from "../../src/warehouse/targets/duckdb.ts";
import { isLong } from "../size.ts";
import { make } from "../../src/sandbox/mod.ts";
import { goThrough } from "./rounds.ts";
import { expectRows, listedBy, rowsOf, select, sync } from "./tables.ts";

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "duckdb-"))));
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("a DuckDB file", () => {
  test.each(contract.map((check, number) => ({ ...check, number })))("$name", async ({ run, number }) => {
    await run(() => DuckDb.make({ path: join(folder, `${number}.duckdb`) }));
  });
});

it("through rounds of changes and interruptions, the table equals the tenant", async () => {
  let breaks = 0;
  for (let seed = 1; seed <= (isLong ? 20 : 1); seed++) {
    breaks += await goThrough({
      target: DuckDb.make({ path: join(folder, `rounds-${seed}.duckdb`) }),
      seed,
      rounds: isLong ? 9 : 5,
      pruneEvery: isLong ? 4 : 2,
    });
  }
  expect(breaks).toBeGreaterThan(isLong ? 20 : 0);
}, 600_000);

it("a run that is gone on with has what changed at users that were done, and a prune keeps what it was told", async () => {
  for (const prune of [false, true]) {
    const target = DuckDb.make({ path: join(folder, `continued-${prune}.duckdb`) });
    const sandbox = make({ users: 8, sessionsPerUser: 25, seed: 3 });
    if (prune) await sync(sandbox, target);
    let left = prune ? 14 : 9;
    const fetch = (request: Request) =>
      --left < 0 ? Promise.resolve(new Response("no", { status: 401 })) : sandbox.fetch(request);
    const options = { prune, checkpointRows: 1, walk: { pageSize: 10, concurrency: 1 } } as const;
    await expect(sync({ ...sandbox, fetch }, target, options)).rejects.toMatchObject({
      message: expect.stringContaining("401"),
    });
    const done = await select(
      target,
      ({ table }) => `SELECT "user_id" FROM ${table("_cursors")} WHERE "run" = ${prune ? 2 : 1}`,
    );
    expect(done.length).toBeGreaterThan(0);
    for (const { user_id } of done) {
      sandbox.add(String(user_id));
      const [any] = sandbox.sessions(String(user_id));
      sandbox.update(String(user_id), any!.session_id);
    }
    expect(await sync(sandbox, target, options)).toMatchObject({
      run: prune ? 2 : 1,
      users: 8,
      verified: true,
      ended: 0,
    });
    expectRows(await rowsOf(target), listedBy(sandbox));
  }
});

it("what memory does not hold lies in a folder of each connection, and goes with it", async () => {
  const target = DuckDb.make({ path: join(folder, "small.duckdb"), memoryLimit: "24MB" });
  const foldersThere = async () =>
    (await readdir(folder)).filter((name) => /^small.*\.tmp$/.test(name)).length;
  const connections = await Promise.all([target.connect(), target.connect()]);
  const rows = "SELECT range AS i, md5(CAST(range AS VARCHAR)) AS text FROM range(1000000)";
  await Promise.all(connections.map(({ run }) => run(`CREATE TEMPORARY TABLE t AS ${rows}`)));
  expect(await foldersThere()).toBe(2);
  for (const { query, close } of connections) {
    const altered = "SELECT count(*) AS n FROM t WHERE text <> md5(CAST(i AS VARCHAR))";
    expect(Number((await query(altered))[0]?.["n"])).toBe(0);
    await close();
  }
  expect(await foldersThere()).toBe(0);
});
