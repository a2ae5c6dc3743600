/** The suite for targets, on DuckDB files. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { contract } from "../../src/warehouse/contract.ts";
import * as DuckDb from "../../src/warehouse/targets/duckdb.ts";
import { isLong } from "../size.ts";
import { goThrough } from "./rounds.ts";

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
      rounds: 9,
      pruneEvery: 4,
    });
  }
  expect(breaks).toBeGreaterThan(isLong ? 20 : 0);
}, 600_000);
