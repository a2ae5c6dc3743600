/**
 * Clients that mean no good, many at once: whoever else asks is answered, and nothing is left of them once they have gone.
 * `npm run test:long` has hundreds of each.
 */
import { readdir, readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { make } from "../../src/sandbox/mod.ts";
import * as Events from "../../src/server/jobs/Events.ts";
import type { Summary } from "../../src/server/jobs/Job.ts";
import { intercepted, tenant, until } from "../cli/command.ts";
import { newFolder } from "../folders.ts";
import { heldBytes, runtimes, serve, type Serving, startExport, stop, token } from "./serving.ts";
import { isLong } from "../size.ts";

const COUNT = isLong ? 500 : 40;
const ROUNDS = isLong ? 4 : 1;

/** How long the server lets a request take to arrive, and an answer wait for its reader, in seconds. */
const PATIENCE = isLong ? 10 : 1;

/** Connections of this test's own that may still be open. */
const OWN = 3;

/** A connection on which a client does what it likes. */
interface Client {
  readonly socket: Socket;
  /** What has come back, as far as it is read. */
  readonly heard: () => string;
  readonly isOver: () => boolean;
}

interface Manners {
  /** Sent at once. */
  readonly first?: string;
  /** Sent again and again after that. */
  readonly drip?: string;
  /** Whether it reads no more than the beginning of its first answer. */
  readonly deaf?: boolean;
}

const open = (server: Serving, { first = "", drip, deaf = false }: Manners): Promise<Client> =>
  new Promise((resolve, reject) => {
    const { hostname, port } = new URL(server.url);
    const socket = connect(Number(port), hostname);
    let heard = "";
    let timer: ReturnType<typeof setInterval> | undefined;
    socket.on("error", reject);
    socket.on("close", () => clearInterval(timer));
    if (!deaf) socket.on("data", (chunk) => heard = (heard + chunk).slice(0, 4000));
    // Room for 64 kB or less is filled, and the rest stays with the system.
    else socket.on("readable", () => heard ||= String(socket.read(12) ?? ""));
    socket.on("connect", () => {
      if (first !== "") socket.write(first);
      if (drip !== undefined) timer = setInterval(() => socket.writable && socket.write(drip), 200);
      resolve({ socket, heard: () => heard, isOver: () => socket.destroyed || socket.readableEnded });
    });
    onTestFinished(() => void socket.destroy());
  });

/** As many, within a second or so: more at once than that is a matter of how fast one processor accepts. */
const many = async (server: Serving, count: number, manners: Manners): Promise<ReadonlyArray<Client>> => {
  const clients: Array<Client> = [];
  while (clients.length < count) {
    const next = Array.from({ length: Math.min(25, count - clients.length) }, () => open(server, manners));
    clients.push(...await Promise.all(next));
    await new Promise((resume) => setTimeout(resume, 25));
  }
  return clients;
};

const head = (method: string, path: string, ...more: ReadonlyArray<string>): string =>
  [`${method} ${path} HTTP/1.1`, "host: localhost", ...more].join("\r\n");

const authorized = `authorization: Bearer ${token}`;

const request = (method: string, path: string, ...more: ReadonlyArray<string>): string =>
  `${head(method, path, authorized, ...more)}\r\n\r\n`;

/** What the system knows of the server's process: its open files, the connections to it among them, and its memory. */
const look = async ({ running, url }: Serving) => {
  const { pid } = running.child;
  const [status, table, files] = await Promise.all([
    readFile(`/proc/${pid}/status`, "utf8"),
    readFile(`/proc/${pid}/net/tcp`, "utf8"),
    readdir(`/proc/${pid}/fd`),
  ]);
  const own = Number(new URL(url).port).toString(16).toUpperCase().padStart(4, "0");
  const connections = table.split("\n").map((line) => line.trim().split(/\s+/)).filter(
    // Held by a process, and not the one that listens.
    ([, local = "", , state = "0A", , , , , , inode = "0"]) =>
      local.endsWith(`:${own}`) && state !== "0A" && inode !== "0",
  ).length;
  return {
    connections,
    files: files.length,
    megabytes: Math.round(Number(/VmRSS:\s*(\d+)/.exec(status)?.[1]) / 1024),
  };
};

const metric = async ({ ask }: Serving, name: string): Promise<number> =>
  Number(new RegExp(`^${name} (\\d+)$`, "m").exec(await (await ask("/metrics")).text())?.[1]);

/** Reads all of some answers, one after the other, and gives the server's memory after that, in megabytes. */
const afterReading = async (server: Serving, paths: ReadonlyArray<string>): Promise<number> => {
  for (const path of paths) await (await server.ask(path)).arrayBuffer();
  return (await look(server)).megabytes;
};

/** Gives the least memory of a server that is used as usual: its code is compiled, and its heap has the room that it needs. */
const usualMemory = async (server: Serving, paths: ReadonlyArray<string>): Promise<number> => {
  const looks: Array<number> = [];
  while (looks.length < 12) looks.push(await afterReading(server, paths));
  return Math.min(...looks.slice(6));
};

/**
 * Expects that a server which goes on to be used soon has less than so many megabytes above the usual: what is let go of is
 * collected some time, and what is held stays.
 */
const expectGrowthBelow = (bound: number, server: Serving, paths: ReadonlyArray<string>, usual: number) =>
  expect.poll(async () => await afterReading(server, paths) - usual, { timeout: 30_000 }).toBeLessThan(bound);

/** Asks for its health until it is told to stop; gives the longest that it took, in milliseconds, and how often it asked. */
const pulse = ({ url }: Serving) => {
  let isOver = false;
  const measured = (async () => {
    let [longest, asked] = [0, 0];
    while (!isOver) {
      const began = performance.now();
      const answer = await fetch(`${url}/health`, { signal: AbortSignal.timeout(5000) });
      expect(answer.status).toBe(200);
      await answer.arrayBuffer();
      longest = Math.max(longest, Math.round(performance.now() - began));
      asked++;
      await new Promise((resume) => setTimeout(resume, 50));
    }
    return { longest, asked };
  })();
  measured.catch(() => {});
  return () => {
    isOver = true;
    return measured;
  };
};

const answered = (clients: ReadonlyArray<Client>, status: number): number =>
  clients.filter(({ heard }) => heard().startsWith(`HTTP/1.1 ${status}`)).length;

const over = (clients: ReadonlyArray<Client>): number => clients.filter(({ isOver }) => isOver()).length;

describe.each(runtimes)("on %s", (runtime) => {
  it(
    `${COUNT} streams of events, ${COUNT} slow requests and ${COUNT} idle sockets at once keep nobody waiting, and leave nothing`,
    async () => {
      const { env } = await tenant({ users: 10_000 });
      const server = await serve(runtime, {
        ...env,
        WORKER_FOLDER: await newFolder(),
        MONOCLOUD_RATE: "2",
        WORKER_STREAMS: String(COUNT - 5),
        WORKER_REQUEST_SECONDS: String(PATIENCE),
      });
      const id = await startExport(server, { users: "all", formats: ["ndjson"] });
      const paths = ["/docs", `/v1/exports/${id}`];
      const usual = await usualMemory(server, paths);
      const before = await look(server);
      const half = COUNT / 2;
      const told: Array<unknown> = [{ runtime, before, usual }];
      const after: Array<number> = [];
      for (let round = 0; round < ROUNDS; round++) {
        const stopPulse = pulse(server);
        const watching = await many(server, COUNT, { first: request("GET", `/v1/exports/${id}/events`) });
        const idle = await many(server, COUNT, {});
        const slowHeads = await many(server, half, { first: head("GET", "/health", "x: "), drip: "a" });
        const length = "content-length: 100000";
        const post = (...more: ReadonlyArray<string>) =>
          `${head("POST", "/v1/exports", length, ...more)}\r\n\r\n{`;
        // Half of them send a byte at a time, and half nothing more.
        const bodies = [
          ...await many(server, half / 2 - 5, { first: post(authorized), drip: " " }),
          ...await many(server, half / 2 - 5, { first: post(authorized) }),
        ];
        const strangers = await many(server, 5, { first: post(), drip: " " });
        const deaf = await many(server, 5, { first: request("GET", "/docs").repeat(20), deaf: true });
        const opened = 3 * COUNT - 10;
        await until(
          async () => (await look(server)).connections > opened,
          "all of them are connected",
        );
        const during = await look(server);
        await expectGrowthBelow(400, server, paths, usual);
        await until(
          () => answered(watching, 200) === COUNT - 5 && answered(watching, 429) === 5,
          "as many watch as may, and the others are told to come back",
        );
        expect(watching.find(({ heard }) => heard().includes(" 429 "))!.heard()).toMatch(/retry-after: 30/i);
        expect(await metric(server, "monocloud_event_streams")).toBe(COUNT - 5);

        // A body has its time; who may not send one is told so at once.
        await until(() => answered(bodies, 408) === bodies.length, "slow bodies have had their time");
        expect(answered(strangers, 401)).toBe(strangers.length);
        // Deno closes no connection of those who don't go by themselves: the documentation says so.
        if (runtime === "Node") {
          const silent = [idle, slowHeads, bodies, strangers].flat();
          await until(() => over(silent) === silent.length, "those who send no whole request are left");
          // What is sent to one who still sends may not be read any more.
          expect(answered(slowHeads, 408)).toBeGreaterThan(0);
        }
        const worst = await look(server);
        const { longest, asked } = await stopPulse();
        expect(longest).toBeLessThan(1000);
        await expectGrowthBelow(400, server, paths, usual);

        for (const { socket } of [watching, idle, slowHeads, bodies, strangers, deaf].flat()) {
          socket.destroy();
        }
        await until(async () => await metric(server, "monocloud_event_streams") === 0, "nobody watches");
        await until(async () => (await look(server)).connections <= OWN, "all connections are closed");
        const left = await look(server);
        // The export that is watched has files of its own, and asks the tenant.
        expect(left.files).toBeLessThan(before.files + 20);
        after.push(left.megabytes);
        told.push({ during, worst, left, health: `${longest} ms at most, of ${asked}` });
      }
      if (isLong) console.log(told.map((line) => JSON.stringify(line)).join("\n"));
      // What is held is held once, and not once a round: the first two make room.
      if (isLong) await expectGrowthBelow(80, server, paths, after[1]!);
      expect(await stop(server)).toMatchObject({ code: 0 });
    },
    240_000,
  );

  it("whoever stops reading holds nothing for long: a page, a report", async () => {
    const sandbox = make({ users: 3 });
    let isHeld = true;
    const { env } = await intercepted(
      sandbox,
      () => isHeld ? new Response(null, { status: 500 }) : undefined,
    );
    const server = await serve(runtime, {
      ...env,
      WORKER_FOLDER: await newFolder(),
      WORKER_IDLE_SECONDS: "5",
    }, { isMeasured: true });
    const users = Array.from({ length: 60_000 }, (_, index) => `user-${index}-${"x".repeat(180)}`);
    const id = await startExport(server, { users, formats: ["ndjson"] });
    const report = `/v1/exports/${id}`;
    const paths = [report, "/docs"];
    const usual = await usualMemory(server, paths);
    const heldBefore = await heldBytes(server);
    const reportBytes = (await (await server.ask(report)).arrayBuffer()).byteLength;
    const clients: Array<Client> = [];
    let unread = 0;
    // A few at once: those that wait for their answers are no matter here.
    for (let round = 0; round < (isLong ? 8 : 2); round++) {
      clients.push(...await many(server, 5, { first: request("GET", report), deaf: true }));
      unread += 5 * reportBytes;
      clients.push(...await many(server, 2, { first: request("GET", "/docs").repeat(8), deaf: true }));
      await until(() => answered(clients, 200) === clients.length, "all answers have begun");
    }
    const held = async () => await heldBytes(server) - heldBefore;
    await expect.poll(held, { timeout: 30_000 }).toBeLessThan(unread / 10);
    // Nor does the runtime hold it; its allocator keeps some room for later.
    await expectGrowthBelow(unread / 2 ** 20, server, paths, usual);
    const areGone = async () => (await look(server)).connections <= OWN;
    // Deno does not close the connection of one who has stopped reading, but keeps nothing else for it.
    if (runtime === "Node") await until(areGone, "they are not waited for");
    expect(clients.every(({ socket }) => !socket.destroyed)).toBe(true);
    for (const { socket } of clients) socket.destroy();
    await until(areGone, "nothing of them is left");
    isHeld = false;
    expect((await server.ask("/health")).status).toBe(200);
  }, 240_000);
});

it("a stream of events ends after a quarter of an hour, and nothing of it is left", async () => {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  let users = 0;
  const summary = (): Summary => ({
    id: "20261124T000000000Z-000000000000",
    status: "running",
    created: "",
    formats: ["csv"],
    users: users++,
  });
  const open = new Set<() => void>();
  const watch = Events.track(summary);
  const [one, other] = [0, 1].map(() => Events.stream(watch, open).getReader());
  expect(open.size).toBe(2);
  const read = async () => new TextDecoder().decode((await one!.read()).value);
  expect(await read()).toContain('"users":2}');
  vi.advanceTimersByTime(1000);
  // Of what has happened meanwhile, the latest alone is told.
  expect(await read()).toContain(`"users":${users - 1}}`);
  await other!.cancel();
  expect(open.size).toBe(1);
  vi.advanceTimersByTime(15 * 60_000);
  await read();
  expect(await one!.read()).toEqual({ done: true, value: undefined });
  expect([open.size, vi.getTimerCount()]).toEqual([0, 0]);
});
