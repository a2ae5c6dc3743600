import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { make } from "../../../src/sandbox/mod.ts";
import { keysIn, keysOf } from "../../cli/command.ts";
import { newFolder } from "../../folders.ts";
import { choices, exportInto, manifestOf } from "../written.ts";

const options = { users: 12, sessionsPerUser: 100, seed: 3 };
const ndjson = { formats: choices("ndjson"), partRows: 1e6, walk: { concurrency: 1 } };

it.each([{ count: 5 }, { percent: 1 }])(
  "a run that rejects more than %o keeps what has come, and goes on from there",
  async (maxQuarantined) => {
    const root = await newFolder();
    const sandbox = make({ ...options, malformed: 0.02 });
    const error = await exportInto(sandbox, root, { ...ndjson, maxQuarantined }).catch((error) => error);
    expect(String(error)).toMatch(
      /\d+ of \d+ rows are not sessions, and at most (5|1 %) may be\. The first: User /,
    );
    const [, cut] = (await readFile(join(root, "journal.ndjson"), "utf8")).trimEnd().split("\n");
    const { sessions, quarantined } = JSON.parse(cut!).run_progress.progress;
    expect(sessions + quarantined).toBe("count" in maxQuarantined ? 400 : 1000);

    const again = await exportInto(sandbox, root, { ...ndjson, maxQuarantined, mode: "resume" }).catch((
      error,
    ) => error);
    expect(String(error)).toContain("rows are not sessions");
    expect(String(again)).toContain("rows are not sessions");
    const report = await exportInto(sandbox, root, {
      ...ndjson,
      mode: "resume",
      maxQuarantined: { count: 100 },
    });
    expect(report.sessions + report.quarantined).toBe(1200);
    expect(report.requests).toBe(sandbox.counts.total);
    expect((await manifestOf(root)).runs[0].quarantined).toBe(report.quarantined);
  },
);

it("a share of few rows is judged at the end, and what has come is kept as well", async () => {
  const root = await newFolder();
  const sandbox = make({ ...options, users: 3, malformed: 0.05 });
  const error = await exportInto(sandbox, root, { ...ndjson, maxQuarantined: { percent: 1 } }).catch((
    error,
  ) => error);
  expect(String(error)).toMatch(/\d+ of 300 rows are not sessions, and at most 1 % may be/);
  const before = sandbox.counts.total;
  const report = await exportInto(sandbox, root, {
    ...ndjson,
    mode: "resume",
    maxQuarantined: { percent: 50 },
  });
  expect([report.sessions + report.quarantined, sandbox.counts.total]).toEqual([300, before]);
  const keys = keysIn(await readFile(join(root, "ndjson/part-00000.ndjson"), "utf8"));
  expect(keysOf(sandbox)).toEqual(expect.arrayContaining(keys));
  expect(keys).toHaveLength(report.sessions);
});
