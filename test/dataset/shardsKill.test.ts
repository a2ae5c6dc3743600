/**
 * Runs in shards by real processes that are killed between any two changes they make to the disk, and gone on with: who hands
 * the shards out, and workers. `npm run test:long` kills at each change, `npm test` at a few.
 */
import { cp } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import * as Effect from "effect/Effect";
import { expect, it } from "vitest";
import type { Sandbox } from "../../src/sandbox/mod.ts";
import { keysOf, tenant } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { program } from "../program.ts";
import { isLong } from "../size.ts";
import { draws } from "../source/paging/histories.ts";
import { besideParts, contentsOf, type Dispatch, shardedInto } from "./sharding.ts";
import { witness } from "./witness.ts";
import { choices, present, problemsOf } from "./written.ts";

const preload = new URL("killAt.mjs", import.meta.url);

/** Make the program ready. What it gives runs it to its end, hooked or not. */
const prepare = async () => {
  const run = await program(new URL("shardsProgram.ts", import.meta.url));
  return (words: ReadonlyArray<string>, env: Readonly<Record<string, string>>, isHooked = true) =>
    run(words, { env, ...isHooked && { preload } }).done;
};

const changesOf = ({ err }: { readonly err: string }) => Number(/^(\d+) changes/m.exec(err)?.[1]);

const change = (sandbox: Sandbox, draw: () => number) => {
  for (const userId of sandbox.userIds()) {
    const [first, second] = sandbox.sessions(userId);
    if (first !== undefined) sandbox.remove(userId, first.session_id);
    if (second !== undefined) sandbox.update(userId, second.session_id);
    for (let left = Math.floor(draw() * 12); left > 0; left--) sandbox.add(userId);
  }
};

const ways = ["before", "half", "after", "interrupt"];

it.each([
  { what: "a first run", prune: [] },
  { what: "a run that prunes", prune: ["prune"] },
])("$what whose coordinator is killed between any two changes comes to the same", async ({ what, prune }) => {
  const runOf = await prepare();
  const { sandbox, env } = await tenant({ users: 7, sessionsPerUser: 25, malformed: 0.02 });
  const draw = draws(11);
  const begun = await newFolder();
  const command = (root: string) => ["coordinate", join(root, "data"), "3", ...prune];
  if (prune.length > 0) {
    const first = await runOf(["coordinate", join(begun, "data"), "2", ...prune], env, false);
    expect(first).toMatchObject({ code: 0, err: "" });
    change(sandbox, draw);
  }
  const anew = async () => {
    const root = await newFolder();
    await cp(begun, root, { recursive: true });
    return root;
  };
  const whole = await anew();
  const counted = await runOf(command(whole), env);
  expect(counted.code, counted.err).toBe(0);
  const changes = changesOf(counted);
  const expected = await contentsOf(join(whole, "data"));
  expect(expected[0]!.length).toBeGreaterThan(100);
  let kills = 0;
  const step = isLong ? 1 : Math.floor(changes / 2);
  for (let at = 1 + Math.floor(draw() * step), nth = 0; at <= changes; at += step, nth++) {
    for (const how of isLong ? ways : [ways[nth % ways.length]!]) {
      const root = await anew();
      const data = join(root, "data");
      const look = witness(data);
      const killAt = (at: number) => ({ ...env, KILL_HOW: how, KILL_AT: String(at) });
      const killed = await runOf(command(root), killAt(at));
      await look();
      const again = await runOf(command(root), killAt(1 + Math.floor(draw() * 60)));
      await look();
      kills += [killed, again].filter(({ signal, code }) => signal === "SIGKILL" || code === 75).length;
      const last = await runOf(command(root), env, false);
      expect(last, `killed ${how} change ${at}`).toMatchObject({ code: 0, err: "" });
      await look();
      expect(await contentsOf(data), `killed ${how} change ${at}`).toEqual(expected);
      expect(await problemsOf(data)).toEqual([]);
      expect(await besideParts(data)).toEqual(["manifest.json"]);
    }
  }
  expect(kills).toBeGreaterThan(isLong ? 2 : 1);
  process.stdout.write(`${kills} kills between ${changes} changes to the disk by ${what}\n`);
}, 1_800_000);

it("workers that are killed between any two changes are gone on from", async () => {
  const runOf = await prepare();
  const { sandbox, env, url } = await tenant({ users: 4, sessionsPerUser: 60 });
  const counted = { changes: 0, kills: 0, asked: 0 };
  const attempts = (root: string, at: number, how: string): Dispatch => (shards, publish) =>
    Effect.as(
      Effect.forEach(shards, ({ shard, id }) =>
        Effect.gen(function* () {
          const once = (env: Readonly<Record<string, string>>, isHooked?: boolean) =>
            Effect.promise(() => runOf(["attempt", root, id], env, isHooked));
          const first = yield* once(at === 0 ? env : { ...env, KILL_AT: String(at), KILL_HOW: how });
          if (at === 0) counted.changes = Math.max(counted.changes, changesOf(first));
          if (first.signal === "SIGKILL" || first.code === 75) counted.kills++;
          const ended = first.code === 0 ? first : yield* once(env, false);
          expect(ended.code, ended.err).toBe(0);
          yield* publish(shard, JSON.parse(ended.out).attempt);
        })),
      [],
    ).pipe(Effect.orDie);
  const options = { tenant: url, formats: choices("ndjson", "csv", "parquet") };
  const into = async (at: number, how: string) => {
    const root = join(await newFolder(), "data");
    const report = await shardedInto(sandbox, root, 2, options, attempts(root, at, how));
    expect(report.shards).toHaveLength(2);
    expect(await present(root), `killed ${how} change ${at}`).toEqual(keysOf(sandbox));
    expect(await problemsOf(root)).toEqual([]);
    expect(await besideParts(root)).toEqual(["manifest.json"]);
  };
  await into(0, "before");
  const step = isLong ? 1 : Math.floor(counted.changes / 2);
  for (let at = 2, nth = 0; at <= counted.changes; at += step, nth++) {
    for (const how of isLong ? ways : [ways[nth % ways.length]!]) await into(at, how);
  }
  expect(counted.kills).toBeGreaterThan(isLong ? 4 : 1);
  process.stdout.write(`${counted.kills} kills of workers between ${counted.changes} changes to the disk\n`);
}, 1_800_000);
