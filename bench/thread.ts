/**
 * Measures the longest stall of the main thread's event loop while a million sessions are exported, on it and off it, in
 * turn and in one process. `npm run bench:thread`.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { Formats, SessionSource, TenantClient, Transport } from "monocloud-sessions";
import * as inThread from "monocloud-sessions/promise";
import * as offThread from "monocloud-sessions/thread";
import { elsewhere } from "./encodeElsewhere.ts";

const SESSIONS_A_USER = 500;
const ROUNDS = 5;

const canned = new URL("./cannedTenant.js", import.meta.url);
const server = fork(fileURLToPath(canned), [String(SESSIONS_A_USER)]);
const [{ port }] = await once(server, "message");
const tenant = { domain: `http://127.0.0.1:${port}`, apiKey: "sandbox-key", rate: 1_000_000 };
const users = (sessions: number) => Array.from({ length: sessions / SESSIONS_A_USER }, (_, n) => String(n));
const folder = await mkdtemp(join(tmpdir(), "monocloud-sessions-"));

/** Milliseconds that the event loop stood still at most and 99 % of the time, and seconds that the work took. */
const watch = async (work: () => Promise<unknown>) => {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  // What is under way already has its say before, not within.
  await new Promise((resume) => setTimeout(resume, 100));
  delay.enable();
  const began = performance.now();
  await work();
  const seconds = (performance.now() - began) / 1000;
  delay.disable();
  return { max: delay.max / 1e6, p99: delay.percentile(99) / 1e6, seconds };
};

const drain = async (stream: ReadableStream<Uint8Array>) => {
  for await (const _ of stream);
};

const stalls = async (sessions: number) => {
  const options = { ...tenant, users: users(sessions) };
  const files = (name: string) => Formats.builtInNames.map((format) => join(folder, `${name}.${format}`));
  const works: ReadonlyArray<readonly [string, string, () => Promise<unknown>]> = [
    ["three files", "this thread", () => inThread.exportSessions({ ...options, out: files("here") })],
    ["three files", "own thread", () => offThread.exportSessions({ ...options, out: files("there") })],
    ...Formats.builtInNames.flatMap((format): typeof works => [
      [`${format} stream`, "this thread", () => drain(inThread.stream(format, options))],
      [`${format} stream`, "own thread", () => drain(offThread.stream(format, options))],
    ]),
  ];
  const rows = [];
  for (const [what, where, work] of works) {
    const { max, p99, seconds } = await watch(work);
    rows.push({
      export: what,
      where,
      "longest stall ms": Math.round(max),
      "99 % ms": Number(p99.toFixed(1)),
      seconds: Math.round(seconds),
    });
  }
  console.log(
    `\n${sessions.toLocaleString("en")} sessions: how long the main thread's event loop stood still`,
  );
  console.table(rows);
};

const secondsOf = async (work: () => Promise<unknown>) => {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
};

const median = (values: ReadonlyArray<number>) =>
  [...values].sort((one, other) => one - other)[values.length >> 1]!;

/** Two ways, in turn, after one round each that does not count. */
const compare = async (one: () => Promise<unknown>, other: () => Promise<unknown>) => {
  await one();
  await other();
  const ratios: Array<number> = [];
  const times: [Array<number>, Array<number>] = [[], []];
  for (let round = 0; round < ROUNDS; round++) {
    // The first of a round changes, for whatever drifts.
    const order = round % 2 === 0 ? [0, 1] : [1, 0];
    for (const which of order) times[which as 0 | 1].push(await secondsOf(which === 0 ? one : other));
    ratios.push(times[0].at(-1)! / times[1].at(-1)!);
  }
  return {
    "one s": Number(median(times[0]).toFixed(2)),
    "two s": Number(median(times[1]).toFixed(2)),
    "times as fast": Number(median(ratios).toFixed(2)),
    "least to most": `${Math.min(...ratios).toFixed(2)} to ${Math.max(...ratios).toFixed(2)}`,
  };
};

/** Walked here, and encoded here or on another thread. */
const encoding = async (sessions: number) => {
  const http = TenantClient.layer(tenant).pipe(Layer.provide(Transport.fetch()));
  const batches = SessionSource.batches(Stream.fromIterable(users(sessions)));
  const rows = [];
  for (const format of Formats.builtInNames) {
    const here = () => {
      const encoder = Formats.make(format).make();
      const work = Stream.runForEach(batches, (batch) => Effect.sync(() => void encoder.encode(batch)));
      return Effect.runPromise(Effect.provide(Effect.tap(work, () => encoder.finish()), http));
    };
    const there = () => {
      const { write, end } = elsewhere(format);
      const work = Stream.runForEach(batches, (batch) => Effect.promise(() => write(batch)));
      return Effect.runPromise(Effect.provide(Effect.zipRight(work, Effect.promise(end)), http));
    };
    rows.push({ format, ...await compare(here, there) });
  }
  console.log(
    `\n${
      sessions.toLocaleString("en")
    } sessions walked on one thread, encoded on it (one) or on another (two)`,
  );
  console.table(rows);
};

try {
  await stalls(1_000_000);
  await encoding(200_000);
} finally {
  server.kill();
  await rm(folder, { recursive: true });
}
