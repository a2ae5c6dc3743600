/**
 * A writer that is stopped right before any one of the changes it makes to the disk, when it has just proven that the lease is
 * its own, and that goes on when another one has taken over: in one process, so that every such moment can be had.
 */
import fs from "node:fs";
import { cp, readdir, readFile, writeFile } from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
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
import { witness } from "./witness.ts";
import { isLong } from "../size.ts";

type Call = (...args: Array<unknown>) => Promise<unknown>;

/** Stops before the n-th change until what is done meanwhile is done. Gives how many changes there were. */
const stoppingAt = async (at: number, work: () => Promise<unknown>, meanwhile: () => Promise<void>) => {
  let changes = 0;
  let isStopped = false;
  const restored: Array<() => void> = [];
  // deno-lint-ignore no-explicit-any
  const guard = (target: any, name: string, isChange: (...args: Array<unknown>) => boolean = () => true) => {
    const original: Call = target[name];
    restored.push(() => void (target[name] = original));
    target[name] = async function (...args: Array<unknown>) {
      if (isStopped || !isChange(...args) || ++changes !== at) return original.apply(this, args);
      isStopped = true;
      await meanwhile();
      isStopped = false;
      return original.apply(this, args);
    };
  };
  const handle = await fs.promises.open(new URL(import.meta.url), "r");
  for (const name of ["rename", "rm", "link", "mkdir", "writeFile"]) guard(fs.promises, name);
  guard(fs.promises, "open", (_, flags) => flags !== undefined && flags !== "r");
  guard(Object.getPrototypeOf(handle), "appendFile");
  await handle.close();
  syncBuiltinESMExports();
  try {
    await work();
  } finally {
    for (const restore of restored) restore();
    syncBuiltinESMExports();
  }
  return changes;
};

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

const writers: ReadonlyArray<{ readonly run: string; readonly more: Options; readonly before: boolean }> = [
  { run: "a first export", more: {}, before: false },
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
  async ({ more, before, broken }) => {
    const prepared = await newFolder();
    // Changes when a stopped writer may not see it, so each moment has a tenant of its own.
    const tenantOf = () => make({ users: 6, sessionsPerUser: 25 });
    if (before) await exportInto(tenantOf(), prepared, { ...options, changes: "since-last" });
    const mine: Options = { ...options, ...more };
    const next: Options = { ...options, changes: "since-last", ...(before && { prune: true }) };
    const [counted, lost] = [new Set<string>(), { count: 0, all: 0 }];
    const step = isLong ? 1 : 60;
    const whole = join(await newFolder(), "data");
    await cp(prepared, whole, { recursive: true });
    const counting = tenantOf();
    if (before) change(counting);
    const changes = await stoppingAt(
      Infinity,
      () => exportInto(counting, whole, mine),
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
        const exit = await Effect.runPromise(Effect.either(exportOf(sandbox, root, mine)));
        outcome = exit._tag === "Right"
          ? "done"
          : (exit.left as { readonly reason?: string }).reason ?? exit.left._tag;
      }, async () => {
        await look();
        // Its successor finds that it is no more: a heartbeat that was silent would tell the same.
        const path = join(root, "lock.json");
        const text = await readFile(path, "utf8").catch(() => undefined);
        if (text !== undefined) await writeFile(path, JSON.stringify({ ...JSON.parse(text), process: "1" }));
        const after = (sandbox: Sandbox) => Effect.runPromise(Effect.either(exportOf(sandbox, root, next)));
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
      const last = await Effect.runPromise(Effect.either(exportOf(sandbox, root, next)));
      if (last._tag === "Left") throw Object.assign(last.left, { message: `${what}: ${last.left.message}` });
      const again = await exportInto(sandbox, root, next);
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
