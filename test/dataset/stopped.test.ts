/**
 * A writer that is stopped right before any one of the changes it makes to the disk, when it has just proven that the lease is
 * its own, and that goes on when another one has taken over: in one process, so that every such moment can be had.
 */
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import * as Verify from "../../src/dataset/verify/Verify.ts";
import { make, type Sandbox } from "../../src/sandbox/mod.ts";
import { keysOf } from "../cli/command.ts";
import { keysInEach } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { onDeno } from "../runtime.ts";
import { choices, exportInto, exportOf, manifestOf, type Options, present } from "./written.ts";
import { shardedOf } from "./sharding.ts";
import { stoppingAt } from "./stoppingAt.ts";
import { witness } from "./witness.ts";
import { isLong } from "../size.ts";

const options: Options = { formats: choices("ndjson", "csv", "parquet"), partRows: 40, mode: "resume" };

const change = (sandbox: Sandbox) => {
  for (const userId of sandbox.userIds()) {
    const [first] = sandbox.sessions(userId);
    sandbox.remove(userId, first!.session_id);
    for (let i = 0; i < 12; i++) sandbox.add(userId);
  }
};

/** As it is, but the tenant refuses the key after so many answers. */
const refusing = (sandbox: Sandbox, after: number): Sandbox => {
  let answers = 0;
  return {
    ...sandbox,
    fetch: (request) =>
      answers++ < after ? sandbox.fetch(request) : Promise.resolve(new Response("", { status: 401 })),
  };
};

const successors = [
  { what: "finishes its run", broken: false },
  { what: "is broken off, and a third one finishes its run", broken: true },
] as const;

interface Case {
  readonly run: string;
  readonly more: Options;
  readonly before: boolean;
  /** The number of shards, of a run in shards. */
  readonly shards?: number;
}

const writers: ReadonlyArray<Case> = [
  { run: "a first export", more: {}, before: false },
  { run: "a first export in shards", more: {}, before: false, shards: 3 },
  {
    run: "a run in shards that adds and tells what was removed",
    more: { changes: "since-last", prune: true },
    before: true,
    shards: 3,
  },
  {
    run: "a run that adds and tells what was removed",
    more: { changes: "since-last", prune: true },
    before: true,
  },
];

it.skipIf(onDeno || process.platform !== "linux").each(
  writers.flatMap((writer) => successors.map((successor) => ({ ...writer, ...successor }))),
)(
  "$run, stopped before any change, harms nothing when the next one $what",
  async ({ more, before, broken, shards }) => {
    const runOf = (sandbox: Sandbox, root: string, options: Options) =>
      shards === undefined ? exportOf(sandbox, root, options) : shardedOf(sandbox, root, shards, options);
    const runInto = (...args: Parameters<typeof runOf>) => Effect.runPromise(runOf(...args));
    const prepared = await newFolder();
    // Changes when a stopped writer may not see it, so each moment has a tenant of its own.
    const tenantOf = () => make({ users: 6, sessionsPerUser: 25 });
    if (before) await exportInto(tenantOf(), prepared, { ...options, changes: "since-last" });
    const mine: Options = { ...options, ...more };
    const next: Options = { ...options, changes: "since-last", ...(before && { prune: true }) };
    const [counted, lost] = [new Set<string>(), { count: 0, all: 0 }];
    const step = isLong ? 1 : shards === undefined ? 40 : 120;
    const whole = join(await newFolder(), "data");
    await cp(prepared, whole, { recursive: true });
    const counting = tenantOf();
    if (before) change(counting);
    const changes = await stoppingAt(
      Infinity,
      () => runInto(counting, whole, mine),
      () => Promise.resolve(),
    );
    for (let at = 1 + Math.floor(Math.random() * step); at <= changes; at += step) {
      const root = join(await newFolder(), "data");
      await cp(prepared, root, { recursive: true });
      const sandbox = tenantOf();
      if (before) change(sandbox);
      const look = witness(root);
      let runs = 0;
      let outcome = "";
      await stoppingAt(at, async () => {
        const exit = await Effect.runPromise(Effect.either(runOf(sandbox, root, mine)));
        outcome = exit._tag === "Right"
          ? "done"
          : (exit.left as { readonly reason?: string }).reason ?? exit.left._tag;
      }, async () => {
        await look();
        // Its successor finds that it is no more: a heartbeat that was silent would tell the same.
        const path = join(root, "lock.json");
        const text = await readFile(path, "utf8").catch(() => undefined);
        if (text !== undefined) await writeFile(path, JSON.stringify({ ...JSON.parse(text), process: "1" }));
        const after = (sandbox: Sandbox) => Effect.runPromise(Effect.either(runOf(sandbox, root, next)));
        await after(broken ? refusing(sandbox, 9) : sandbox);
        if (!broken) {
          // A second run of the successor is one that a stale manifest would erase.
          change(sandbox);
          const second = await after(sandbox);
          if (second._tag === "Left") throw second.left;
          runs = second.right.run;
        }
        await look();
      });
      const what = `stopped before change ${at} of ${changes}: ${outcome}`;
      lost.all++;
      if (outcome === "LeaseLost") lost.count++;
      counted.add(outcome);
      expect(["done", "LeaseLost", "Locked"], what).toContain(outcome);
      await look();
      if (!broken && at <= changes) {
        expect((await manifestOf(root)).runs.length, what)
          .toBeGreaterThanOrEqual(runs);
      }
      const last = await Effect.runPromise(Effect.either(runOf(sandbox, root, next)));
      if (last._tag === "Left") throw Object.assign(last.left, { message: `${what}: ${last.left.message}` });
      const again = await runInto(sandbox, root, next);
      expect(again.run, what).toBeGreaterThan(runs);
      await look();
      expect((await Effect.runPromise(Verify.run(root))).problems, what).toEqual([]);
      if (before) expect(await present(root), what).toEqual(keysOf(sandbox));
      else {
        const [keys = []] = await keysInEach(root);
        expect(keysOf(sandbox).filter((key) => !keys.includes(key)), what).toEqual([]);
      }
      expect((await readdir(root)).filter((name) => !/^(manifest\.json|[a-z]+)$/.test(name)), what).toEqual(
        [],
      );
    }
    process.stdout.write(`${lost.all} stops, ${lost.count} leases lost (${[...counted].join()})\n`);
    expect(lost.count).toBeGreaterThan(0);
  },
  900_000,
);
