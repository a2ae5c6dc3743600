/** A real Redis for tests: by {@link redisForFile}, one for all tests of a file. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { afterAll, beforeAll } from "vitest";
import { has } from "../programs.ts";

export const hasRedis: boolean = has("redis-server");

export interface Redis {
  readonly port: number;
  readonly password: string;
  /** `redis://:password@127.0.0.1:port/0`. */
  readonly url: string;
  /** Starts it again, with the same data on the same port. */
  readonly start: () => Promise<void>;
  readonly kill: () => Promise<void>;
  /** Kills it and removes its folder. */
  readonly remove: () => Promise<void>;
}

const freePort = async (): Promise<number> => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
};

/** Start a server of its own folder, port and password. */
export const startRedis = async (): Promise<Redis> => {
  const folder = await mkdtemp(join(tmpdir(), "monocloud-sessions-redis-"));
  const port = await freePort();
  const password = "a:secret/of@redis";
  let child: ChildProcess | undefined;
  const start = async () => {
    const words = ["--port", `${port}`, "--bind", "127.0.0.1", "--dir", folder, "--requirepass", password];
    const server = spawn("redis-server", [...words, "--appendonly", "yes", "--save", ""], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    child = server;
    let said = "";
    for await (const chunk of server.stdout) {
      said += chunk;
      if (said.includes("Ready to accept connections")) break;
    }
    if (server.exitCode !== null) throw new Error(`Redis did not start:\n${said}`);
    server.stdout.resume();
  };
  const kill = async () => {
    const server = child;
    child = undefined;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const ended = once(server, "exit");
    process.kill(server.pid!, "SIGKILL");
    await ended;
  };
  const atExit = () => child?.kill("SIGKILL");
  process.once("exit", atExit);
  await start();
  return {
    port,
    password,
    url: `redis://:${encodeURIComponent(password)}@127.0.0.1:${port}/0`,
    start,
    kill,
    remove: async () => {
      process.off("exit", atExit);
      await kill();
      await rm(folder, { recursive: true, force: true });
    },
  };
};

/** Start a server before the tests of this `describe`, and end it after them. */
export const redisForFile = (): () => Redis => {
  let redis: Redis | undefined;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis?.remove());
  return () => {
    if (redis === undefined) throw new Error("The server starts before the tests, not before that");
    return redis;
  };
};
