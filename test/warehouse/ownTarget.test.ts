/** The suite for targets, on the one in SQLite that the examples show. */
import { mkdtemp, rm } from "node:fs/promises";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { contract } from "../../src/warehouse/contract.ts";
import type { Target } from "../../src/warehouse/Target.ts";
import { isLong } from "../size.ts";
import { goThrough } from "./rounds.ts";

const hasSqlite = builtinModules.includes("node:sqlite") ||
  process.getBuiltinModule?.("node:sqlite") !== undefined;

describe.skipIf(!hasSqlite)("a file of SQLite, which Node 22.5 and Deno 2 have", () => {
  let folder: string;
  let make: (options: { readonly path: string }) => Target;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "sqlite-"));
    // By a path that the compiler does not follow: the types of Node 20 know no SQLite.
    ({ make } = await import(new URL("../../docs/examples/ownTarget.ts", import.meta.url).href));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test.each(contract.map((check, number) => ({ ...check, number })))("$name", async ({ run, number }) => {
    await run(() => make({ path: join(folder, `${number}.sqlite`) }));
  });

  it("through rounds of changes and interruptions, the table equals the tenant", async () => {
    let breaks = 0;
    for (let seed = 1; seed <= (isLong ? 20 : 1); seed++) {
      const target = make({ path: join(folder, `rounds-${seed}.sqlite`) });
      breaks += await goThrough({ target, seed, rounds: 9, pruneEvery: 4 });
    }
    expect(breaks).toBeGreaterThan(isLong ? 20 : 0);
  }, 600_000);
});
