/** The suite for targets, on each PostgreSQL that is there. */
import { describe, expect, it, test } from "vitest";
import { contract } from "../../src/warehouse/contract.ts";
import { isLong } from "../size.ts";
import { allVersions, type Database, postgresForFile } from "./postgres.ts";
import { goThrough } from "./rounds.ts";
import { targetOf } from "./targets.ts";

describe.each(allVersions)("$name", (version) => {
  describe.skipIf(!version.isThere)("as a target", () => {
    const server = postgresForFile({ version });
    let database: Promise<Database> | undefined;
    const shared = () => database ??= server().createDatabase();

    test.each(contract.map((check, number) => ({ ...check, number })))("$name", async ({ run, number }) => {
      const its = await shared();
      await run(() => targetOf(its, `schema ${number}`));
    });

    it("through rounds of changes and interruptions, the table equals the tenant", async () => {
      let breaks = 0;
      for (let seed = 1; seed <= (isLong ? 20 : 1); seed++) {
        const target = targetOf(await shared(), `rounds ${seed}`);
        breaks += await goThrough({ target, seed, rounds: 9, pruneEvery: 4 });
      }
      expect(breaks).toBeGreaterThan(isLong ? 20 : 0);
    }, 600_000);
  });
});
