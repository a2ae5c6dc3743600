/**
 * A dataset that 0.1 wrote, finished and broken off, is one of this version: read, resumed, extended, pruned, verified and
 * replayed. `version1.json.gz` holds its files: two runs in NDJSON, CSV and Parquet with rows quarantined, tombstones and
 * marks, and a third that the tenant ended.
 */
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import * as Replay from "../../src/dataset/quarantine/Replay.ts";
import * as Verify from "../../src/dataset/verify/Verify.ts";
import type { Sandbox } from "../../src/sandbox/mod.ts";
import * as Batch from "../../src/session/Batch.ts";
import * as SessionSource from "../../src/source/SessionSource.ts";
import { clientFor } from "../source/paging/histories.ts";
import { tenantAt, unpack } from "./version1.ts";
import { choices, exportInto, manifestOf, type Options, present } from "./written.ts";

const options = (sandbox: Sandbox, more: Options = {}): Options => ({
  formats: choices("ndjson", "csv.gz", "parquet"),
  users: { ids: Stream.fromIterable(sandbox.userIds()), identity: "fixture" },
  partRows: 20,
  walk: { concurrency: 1, pageSize: 20 },
  ...more,
});

const verify = async (root: string): Promise<Verify.Report> => {
  const report = await Effect.runPromise(Verify.run(root));
  expect(report.problems).toEqual([]);
  return report;
};

/** What the tenant lists, by the keys of the sessions. */
const listed = async (sandbox: Sandbox): Promise<ReadonlyArray<string>> => {
  const batches = await SessionSource.batches(Stream.fromIterable(sandbox.userIds())).pipe(
    Stream.runCollect,
    Effect.provide(clientFor(sandbox)),
    Effect.runPromise,
  );
  return [...batches].flatMap((batch) =>
    Batch.sessions(batch).map(({ session_id }) => `${batch.userId} ${session_id}`)
  ).sort();
};

describe("a dataset of 0.1", () => {
  it("that is finished is verified, replayed, extended and pruned", async () => {
    const root = await unpack("finished");
    const { sandbox, users, pass } = tenantAt("finished");
    expect(await verify(root)).toMatchObject({ sessions: 73, parts: 21, unfinished: false });

    // Some sessions were quarantined, as if that version had not known a field of theirs.
    const replayed = await Effect.runPromise(Replay.run(root));
    expect(replayed).toMatchObject({ rows: 26, sessions: 12, quarantined: 2 });
    await verify(root);

    sandbox.add(users[0]!);
    const [gone] = sandbox.sessions(users[1]!);
    sandbox.remove(users[1]!, gone!.session_id);
    pass();
    const report = await exportInto(
      sandbox,
      root,
      options(sandbox, { changes: "since-last", prune: true }),
    );
    expect(report).toMatchObject({ verified: true, sessions: 1, tombstones: { gone: 1, again: 0 } });
    await verify(root);
    expect(await present(root)).toEqual(await listed(sandbox));
    const { manifest_version, runs } = await manifestOf(root);
    expect([manifest_version, runs.map(({ kind }: { readonly kind: string }) => kind)]).toEqual([
      1,
      ["full", "changes", "replay", "changes"],
    ]);
  });

  it("that was broken off is verified, and gone on with from where it stood", async () => {
    const root = await unpack("unfinished");
    const { sandbox } = tenantAt("unfinished");
    const before = await verify(root);
    expect(before.unfinished).toBe(true);
    const requests = sandbox.counts.total;
    const report = await exportInto(
      sandbox,
      root,
      options(sandbox, { changes: "since-last", mode: "resume" }),
    );
    expect(report).toMatchObject({ run: 3, verified: true });
    // Its first users were walked before it was broken off.
    expect(sandbox.counts.total - requests).toBeLessThan(6 + 1);
    expect((await verify(root)).sessions).toBeGreaterThan(before.sessions);
    await Effect.runPromise(Replay.run(root));
    await verify(root);
    expect(await present(root)).toEqual(await listed(sandbox));
  });
});
