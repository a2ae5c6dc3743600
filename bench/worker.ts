/**
 * A million sessions of one user streamed by the worker to a client that reads slowly, in each format, on Node and on Deno:
 * how much memory the worker holds once a tenth has left, at the end, and at most; and how soon the tenant is left alone once a client
 * is killed. `npm run bench:worker`.
 */
import { type ChildProcess, spawn } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { names } from "../src/server/Variables.ts";
import { memoryOf, startSandbox } from "./processes.ts";

const SESSIONS = Number(process.env["SESSIONS"] ?? 1_000_000);
const TOKEN = "a-token-that-is-long-enough";
const pathOf = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));

/** Bytes the client takes a second, some way below what the worker could send. */
const PACE = { ndjson: "40M", csv: "20M", parquet: "8M" } as const;

const serve = async (runtime: "Node" | "Deno", environment: Readonly<Record<string, string>>) => {
  const env = { ...process.env, ...environment, MONOCLOUD_RATE: "100000", WORKER_TOKEN: TOKEN };
  const where = ["--host", "127.0.0.1", "--port", "0"];
  const child = runtime === "Node"
    ? spawn("node", [pathOf("dist/cli.js"), "serve", ...where], { env, stdio: ["ignore", "ignore", "pipe"] })
    : spawn(pathOf("node_modules/.bin/deno"), [
      ...["serve", "--no-prompt", "--unstable-no-legacy-abort", ...where, `--allow-env=${names.join(",")}`],
      ...["--allow-net=127.0.0.1", pathOf("src/server/serve.ts")],
    ], { env: { ...env, NO_COLOR: "1" }, stdio: ["ignore", "ignore", "pipe"] });
  for await (const line of createInterface({ input: child.stderr! })) {
    const [, url] = /Listening on (http:\S+?)\/?$/.exec(line) ?? [];
    if (url !== undefined) return { child, url };
  }
  throw new Error("The worker did not start: run `npm run build` first");
};

/** What is held while the sessions from one share of all to another leave, in MB. */
const median = (
  samples: ReadonlyArray<{ readonly share: number; readonly memory: number }>,
  from: number,
  to: number,
): number => {
  const held = samples.filter(({ share }) => share >= from && share <= to).map(({ memory }) => memory).sort((
    a,
    b,
  ) => a - b);
  return Math.round((held[held.length >> 1] ?? NaN) / 1e6);
};

const ended = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once("exit", resolve));

const client = (url: string, ...more: ReadonlyArray<string>) =>
  spawn("curl", ["-sS", "-H", `Authorization: Bearer ${TOKEN}`, "-o", "/dev/null", ...more, url], {
    stdio: ["ignore", "ignore", "inherit"],
  });

const counts = async (url: string) => {
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } });
  const text = await answer.text();
  const value = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
  return { sessions: value("monocloud_sessions_total"), open: value("monocloud_downloads") };
};

const requests = async (url: string) => {
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } });
  return [...(await answer.text()).matchAll(/^monocloud_tenant_requests_total\{.*?\} (\d+)$/gm)]
    .reduce((sum, [, count]) => sum + Number(count), 0);
};

const sandbox = await startSandbox(["--users", "1", "--sessions", String(SESSIONS), "--exactly"]);
const listed = await fetch(`${sandbox.environment["MONOCLOUD_DOMAIN"]}/api/users`, {
  headers: { "x-api-key": sandbox.environment["MONOCLOUD_API_KEY"]! },
});
const [{ user_id: userId }] = await listed.json();

const rows: Array<Record<string, unknown>> = [];
for (const runtime of ["Node", "Deno"] as const) {
  for (const format of ["ndjson", "csv", "parquet"] as const) {
    const { child, url } = await serve(runtime, sandbox.environment);
    const path = `${url}/v1/users/${userId}/sessions.${format}?page_size=1000`;
    const began = performance.now();
    const reading = client(path, "--limit-rate", PACE[format]);
    const over = ended(reading);
    const samples: Array<{ readonly share: number; readonly memory: number }> = [];
    let code: number | null | undefined;
    void over.then((value) => (code = value));
    while (code === undefined) {
      await new Promise((resume) => setTimeout(resume, 100));
      const memory = await memoryOf(child.pid!, "VmRSS");
      samples.push({ share: (await counts(url)).sessions / SESSIONS, memory });
    }
    const seconds = (performance.now() - began) / 1000;
    if (code !== 0) throw new Error(`curl ended with code ${code}`);
    const { sessions } = await counts(url);
    if (sessions !== SESSIONS) throw new Error(`${sessions} sessions were sent`);

    const killed = client(path);
    while ((await counts(url)).sessions < SESSIONS * 1.05) {
      await new Promise((resume) => setTimeout(resume, 20));
    }
    killed.kill("SIGKILL");
    const at = performance.now();
    while ((await counts(url)).open > 0) await new Promise((resume) => setTimeout(resume, 5));
    const quiet = performance.now() - at;
    const before = await requests(url);
    await new Promise((resume) => setTimeout(resume, 1000));
    if (await requests(url) !== before) throw new Error("The tenant is still asked");
    child.kill("SIGTERM");
    await ended(child);
    const row = {
      runtime,
      format,
      "MB, second tenth": median(samples, 0.1, 0.2),
      "MB, last tenth": median(samples, 0.9, 1),
      "MB, peak": Math.round(Math.max(...samples.map(({ memory }) => memory)) / 1e6),
      seconds: Math.round(seconds),
      "ms from kill to quiet": Math.round(quiet),
    };
    console.error(JSON.stringify(row));
    rows.push(row);
  }
}
sandbox.stop();
console.table(rows);
