/** The suite for targets, on DuckDB files. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, test } from "vitest";
import { contract } from "../../src/warehouse/contract.ts";
import * as DuckDb from "../../src/warehouse/targets/duckdb.ts";

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "duckdb-"))));
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("a DuckDB file", () => {
  test.each(contract.map((check, number) => ({ ...check, number })))("$name", async ({ run, number }) => {
    await run(() => DuckDb.make({ path: join(folder, `${number}.duckdb`) }));
  });
});
