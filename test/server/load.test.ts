/** Many downloads and exports at once, under one rate: the tenant is never asked more, nobody waits for ever, nothing is lost. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { make } from "../../src/sandbox/mod.ts";
import { answering, keysIn, keysOf } from "../cli/command.ts";
import { keysFrom, parquetTable } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { bothRuntimes, ended, serve, startExport } from "./serving.ts";
import { isLong } from "../size.ts";

const RATE = 100;
const DOWNLOADS = isLong ? 200 : 40;
const EXPORTS = isLong ? 20 : 4;
const SESSIONS = 330;

describe.each(bothRuntimes)("on %s", (runtime) => {
  it(`${DOWNLOADS} downloads and ${EXPORTS} exports share 100 requests a second`, async () => {
    const sandbox = make({ users: 2 * DOWNLOADS, sessionsPerUser: SESSIONS });
    const all = [...sandbox.userIds()];
    const [downloaded, exported] = [all.slice(0, DOWNLOADS), all.slice(DOWNLOADS)];
    const asked: Array<{ readonly at: number; readonly userId: string }> = [];
    const { env } = await answering(async ({ url = "", headers }, response) => {
      const userId = decodeURIComponent(/users\/([^/]+)\/sessions/.exec(url)?.[1] ?? "");
      asked.push({ at: performance.now(), userId });
      const request = new Request(`http://sandbox.example${url}`, {
        headers: new Headers(headers as HeadersInit),
      });
      const answer = await sandbox.fetch(request);
      response.writeHead(answer.status, Object.fromEntries(answer.headers)).end(await answer.text());
    }, sandbox.key);
    const folder = await newFolder();
    const server = await serve(runtime, {
      ...env,
      WORKER_FOLDER: folder,
      WORKER_EXPORTS: String(EXPORTS),
      MONOCLOUD_RATE: String(RATE),
    });
    const ids = await Promise.all(
      Array.from(
        { length: EXPORTS },
        (_, index) =>
          startExport(server, {
            users: exported.slice(index * 10, index * 10 + 10),
            formats: ["parquet"],
            page_size: 100,
          }),
      ),
    );
    const texts = await Promise.all(downloaded.map(async (userId) => {
      const answer = await server.ask(`/v1/users/${userId}/sessions.ndjson?page_size=100`);
      expect(answer.status).toBe(200);
      return answer.text();
    }));
    for (const id of ids) {
      expect((await ended(server, id, "done")).report).toMatchObject({ users: 10, verified: true });
    }
    const parts = ids.map((id) => join(folder, id, "data", "parquet", "*.parquet"));
    const keys = await Promise.all(parts.map((path) => keysFrom(parquetTable(path))));
    expect([...keysIn(texts.join("")), ...keys.flat()].sort()).toEqual(keysOf(sandbox));

    // Never more than the burst and what the rate gives until then, whichever moment one begins to count at.
    const burst = RATE / 10;
    let most = -Infinity;
    let lowest = Infinity;
    asked.forEach(({ at }, index) => {
      lowest = Math.min(lowest, index - at * RATE / 1000);
      most = Math.max(most, index + 1 - at * RATE / 1000 - lowest);
    });
    // A process that pauses lets requests arrive together that left one by one: some more than the burst is its doing.
    expect(most).toBeLessThanOrEqual(burst + 50);
    const seconds = (asked.at(-1)!.at - asked[0]!.at) / 1000;
    expect(asked.length).toBeLessThanOrEqual(burst + 20 + RATE * seconds);

    // Between two requests for one user, everyone else has a few turns and no more.
    const last = new Map<string, number>();
    let longest = 0;
    asked.forEach(({ userId }, index) => {
      longest = Math.max(longest, index - (last.get(userId) ?? index));
      last.set(userId, index);
    });
    expect(asked.length).toBeGreaterThan(7.5 * DOWNLOADS);
    expect(longest).toBeLessThan(2 * (DOWNLOADS * 2 + EXPORTS * 8));

    const metrics = await (await server.ask("/metrics")).text();
    const value = (name: string) => Number(new RegExp(`^${name} (\\d+)$`, "m").exec(metrics)?.[1]);
    const statuses = [...metrics.matchAll(/^monocloud_tenant_requests_total\{status="(\w+)"\} (\d+)$/gm)];
    const { 200: answered = 0, interrupted = 0, ...others } = Object.fromEntries(
      statuses.map(([, status, count]) => [status, Number(count)]),
    );
    // A page that was asked for ahead in vain is broken off, on its way there or back.
    expect(others).toEqual({});
    expect(answered).toBeLessThanOrEqual(asked.length);
    expect(answered + interrupted).toBeGreaterThanOrEqual(asked.length);
    expect(interrupted).toBeLessThan(10);
    expect(sandbox.counts.byStatus).toEqual({ 200: asked.length });
    expect(value("monocloud_tenant_retries_total")).toBe(0);
    expect(value("monocloud_sessions_total")).toBe(2 * DOWNLOADS * SESSIONS);
    expect(value('monocloud_downloads_total\\{outcome="complete"\\}')).toBe(DOWNLOADS);
    expect(value('monocloud_exports\\{status="done"\\}')).toBe(EXPORTS);
    expect(value("monocloud_tenant_request_seconds_count")).toBe(answered + interrupted);
    expect(value('monocloud_bytes_total\\{kind="export"\\}')).toBeGreaterThan(0);
  }, 120_000);
});
