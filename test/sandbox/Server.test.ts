import * as http from "node:http";
import * as net from "node:net";
import { describe, expect, it } from "vitest";
import { make, type Sandbox, type SandboxOptions, serve } from "../../src/sandbox/mod.ts";
import { ask, firstUser, sessionsPath } from "./ask.ts";

/** Runs a test against a served sandbox and stops the server whatever happens. */
const served = async <A>(
  options: SandboxOptions,
  test: (url: string, sandbox: Sandbox) => Promise<A>,
): Promise<A> => {
  const sandbox = make({ users: 3, sessionsPerUser: 40, ...options });
  const server = await serve(sandbox);
  try {
    return await test(server.url, sandbox);
  } finally {
    await server.close();
  }
};

/** What arrives when asked for the users: bytes, and how the connection ended. */
const receive = (url: string, key: string) =>
  new Promise<{ headers: http.IncomingHttpHeaders; bytes: number; end: string }>((resolve) => {
    let bytes = 0;
    const request = http.get(
      `${url}/api/users`,
      { headers: { "x-api-key": key }, agent: false },
      (response) => {
        const { headers } = response;
        response.on("data", (chunk) => bytes += chunk.length);
        response.on("end", () => resolve({ headers, bytes, end: "whole" }));
        response.on(
          "error",
          (error: NodeJS.ErrnoException) => resolve({ headers, bytes, end: String(error.code) }),
        );
      },
    );
    request.on(
      "error",
      (error: NodeJS.ErrnoException) => resolve({ headers: {}, bytes, end: String(error.code) }),
    );
  });

describe("serve()", () => {
  it("answers over HTTP what fetch answers in process", () =>
    served({}, async (url, sandbox) => {
      const path = sessionsPath(firstUser(sandbox), { size: 40 });
      const response = await fetch(url + path, { headers: { "x-api-key": sandbox.key } });
      const inProcess = await ask(sandbox, path);
      expect(response.headers.get("x-pagination")).toBe(inProcess.headers.get("x-pagination"));
      expect(response.headers.get("content-type")).toBe(inProcess.headers.get("content-type"));
      expect(await response.text()).toBe(await inProcess.text());
    }));

  it("keeps a connection for many requests", () =>
    served({}, async (url, sandbox) => {
      const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
      const ports = new Set<number | undefined>();
      for (let time = 0; time < 5; time++) {
        await new Promise<void>((resolve, reject) => {
          http.get(`${url}/api/users`, { agent, headers: { "x-api-key": sandbox.key } }, (response) => {
            ports.add(response.socket.localPort);
            response.resume().on("end", resolve);
          }).on("error", reject);
        });
      }
      agent.destroy();
      expect(ports.size).toBe(1);
    }));

  it("resets the connection before any byte", () =>
    served({ faults: { reset: 1 } }, async (url, sandbox) => {
      expect(await receive(url, sandbox.key)).toEqual({ headers: {}, bytes: 0, end: "ECONNRESET" });
      expect(sandbox.counts).toEqual({ total: 1, byStatus: {}, byFault: { reset: 1 } });
    }));

  it("cuts a body off in the middle of the length it promised", () =>
    served({ faults: { cut: 1 } }, async (url, sandbox) => {
      const { headers, bytes, end } = await receive(url, sandbox.key);
      const length = Number(headers["content-length"]);
      expect([bytes, end]).toEqual([length >> 1, "ECONNRESET"]);
      await expect(
        fetch(`${url}/api/users?page=1`, { headers: { "x-api-key": sandbox.key } }).then((it) => it.text()),
      ).rejects.toThrow();
    }));

  it("ends a truncated body as if it were whole", () =>
    served({ faults: { truncated: 1 } }, async (url, sandbox) => {
      const { headers, bytes, end } = await receive(url, sandbox.key);
      expect(headers["content-length"]).toBeUndefined();
      expect([bytes > 0, end]).toEqual([true, "whole"]);
    }));

  it("recovers for clients that try again", () =>
    served({ faults: { reset: 0.3, cut: 0.3, 503: 0.3, retryAfterSeconds: 0 } }, async (url, sandbox) => {
      for (let page = 1; page <= 10; page++) {
        let tries = 0;
        for (let done = false; !done; tries++) {
          done = await fetch(`${url}/api/users?page=${page}`, { headers: { "x-api-key": sandbox.key } })
            .then(async (response) => response.ok && Array.isArray(await response.json()))
            .catch(() => false);
        }
        expect(tries).toBeLessThanOrEqual(4);
      }
    }));

  it("never matches a path by taking its dots for directories", () =>
    served({}, async (url, sandbox) => {
      const { port } = new URL(url);
      const status = (target: string) =>
        new Promise<string>((resolve, reject) => {
          const socket = net.connect(Number(port), "127.0.0.1");
          socket.once("data", (chunk) => {
            resolve(chunk.toString().slice(9, 12));
            socket.destroy();
          });
          socket.on("error", reject);
          socket.write(
            `GET ${target} HTTP/1.1\r\nHost: x\r\nX-API-KEY: ${sandbox.key}\r\nConnection: close\r\n\r\n`,
          );
        });
      expect(await status("/api/users")).toBe("200");
      expect(await status("http://sandbox.test/api/users?page=1")).toBe("200");
      expect(await status(`/api/users/${firstUser(sandbox)}/sessions`)).toBe("200");
      for (
        const target of ["/api/users/../users", "/api/users/./sessions", "/api/users/%2e%2e/sessions", "*"]
      ) {
        expect(await status(target), target).toBe("404");
      }
    }));

  it("refuses headers beyond 16 KiB", () =>
    served({}, async (url) => {
      const response = await fetch(`${url}/api/users`, { headers: { "x-api-key": "k".repeat(20_000) } });
      expect(response.status).toBe(431);
    }));

  it("shows what beforeAnswer throws, and goes on", () =>
    served({ beforeAnswer: ({ number }) => number === 1 && expect.fail("seen") }, async (url, sandbox) => {
      const get = () =>
        fetch(url + sessionsPath(firstUser(sandbox)), { headers: { "x-api-key": sandbox.key } });
      const failed = await get();
      expect([failed.status, await failed.text()]).toEqual([500, expect.stringContaining("seen")]);
      expect((await get()).status).toBe(200);
    }));

  it("closes at once, with answers still to come", async () => {
    const started = performance.now();
    const lost = await served({ faults: { slow: 1, slowMs: 60_000 } }, async (url, sandbox) => {
      const lost = receive(url, sandbox.key);
      await new Promise((resolve) => setTimeout(resolve, 50));
      return [lost];
    });
    expect(await lost[0]).toEqual({ headers: {}, bytes: 0, end: "ECONNRESET" });
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  it("gives the faults that fetch gives in process", () =>
    served({ faults: { 429: 0.3, 502: 0.3 } }, async (url, sandbox) => {
      for (let page = 1; page <= 20; page++) {
        const path = `/api/users?page=${page}`;
        const other = make({ users: 3, faults: { 429: 0.3, 502: 0.3 } });
        const { status } = await fetch(url + path, { headers: { "x-api-key": sandbox.key } });
        expect(status).toBe((await ask(other, path)).status);
      }
    }));

  it("rejects where it can't listen", () =>
    served({}, async (url, sandbox) => {
      await expect(serve(sandbox, { port: Number(new URL(url).port) })).rejects.toThrow("EADDRINUSE");
    }));
});
