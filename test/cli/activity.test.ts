/** `--by-activity`, as an operator sees it. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { newFolder } from "../folders.ts";
import { run, tenant } from "./command.ts";

it("asks only who changed, says whom, and is refused where it can't be had", async () => {
  const { sandbox, env } = await tenant({ users: 30, sessionsPerUser: 3 });
  const cwd = await newFolder();
  const flags = ["--all-users", "--by-activity", "--rate", "1000/s"];
  const exporting = ["export", ...flags, "--since-last", "--resume", "--out", "out", "--format", "ndjson"];
  const syncing = ["sync", ...flags, "--to", "s.duckdb"];
  for (const args of [exporting, syncing]) {
    const first = await run(args, { env, cwd });
    expect(first.err).toMatch(/By activity: asked 30 of 30 users; all were last asked at 20\d\d-/);
    const [userId = ""] = sandbox.userIds();
    sandbox.add(userId);
    const next = await run([...args, "--json"], { env, cwd });
    expect(next).toMatchObject({ code: 0 });
    const { by_activity } = JSON.parse(next.out);
    expect(by_activity).toMatchObject({ of: 30 });
    expect(by_activity.asked).toBeLessThan(10);
    const swept = await run([...args, "--sweep-every", "0.001s", "--json"], { env, cwd });
    expect(JSON.parse(swept.out).by_activity).toMatchObject({ asked: 30, of: 30, late: 0 });
  }
  expect(await readdir(join(cwd, "out", "tombstones"))).toHaveLength(1);

  for (
    const args of [
      ["export", "--all-users", "--by-activity", "--out", "other", "--format", "csv"],
      ["export", "--user", "a", "--by-activity", "--since-last", "--out", "other", "--format", "csv"],
      ["sync", "--user", "a", "--by-activity", "--to", "s.duckdb"],
    ]
  ) {
    const refused = await run(args, { env, cwd });
    expect(refused).toMatchObject({ code: 2, out: "" });
    expect(refused.err).toMatch(/^Error: --by-activity goes with /);
  }
});
