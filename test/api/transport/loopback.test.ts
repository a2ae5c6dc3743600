/**
 * The policy over real connections, on loopback, and in real time.
 */
import * as Effect from "effect/Effect";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Random from "effect/Random";
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as undici from "undici";
import { describe, expect, it } from "vitest";
import { make, type SandboxOptions, serve } from "../../../src/sandbox/mod.ts";
import * as TenantClient from "../../../src/api/TenantClient.ts";
import * as SessionsApi from "../../../src/api/SessionsApi.ts";
import * as Transport from "../../../src/api/transport/Transport.ts";
import * as Undici from "../../../src/api/transport/Undici.ts";
import { onDeno } from "../../runtime.ts";
import * as Batch from "../../../src/session/Batch.ts";
import { errorOf, pageOf, tenantAt } from "../asking.ts";
import { serving } from "./serving.ts";
import { transports } from "./transports.ts";

const fast = { rate: 1e5, baseDelay: 1, maxDelay: 5 } as const;

const over = <A, E>(
  transport: Layer.Layer<Transport.Transport>,
  origin: string,
  key: string | undefined,
  options: TenantClient.TenantClientOptions,
  program: Effect.Effect<A, E, TenantClient.TenantClient>,
): Effect.Effect<A, E> =>
  program.pipe(
    Effect.provide(TenantClient.layerOf(tenantAt(origin, key), options)),
    Effect.provide(transport),
    Effect.withRandom(Random.make("loopback")),
  );

describe.each(transports)("list() over faulty connections, by %s,", (name, transport) => {
  it.each<[string, NonNullable<SandboxOptions["faults"]>]>([
    ["resets", { reset: 0.5 }],
    ["cut bodies", { cut: 0.5 }],
    ["bodies that end too early", { truncated: 0.5 }],
    ["all of it", { reset: 0.1, cut: 0.1, truncated: 0.1, html: 0.1, 500: 0.1, 502: 0.1 }],
  ])("reads every page in the end, through %s", async (_, faults) => {
    const sandbox = make({ users: 3, sessionsPerUser: 40, seed: 5, faults });
    const server = await serve(sandbox);
    try {
      const program = Effect.gen(function* () {
        const { traffic } = yield* TenantClient.TenantClient;
        const read = yield* Effect.forEach([...sandbox.userIds()], (userId) =>
          Effect.map(
            Effect.forEach([1, 2, 3, 4, 5], (page) =>
              SessionsApi.page(userId, { page, size: 10, sort: "initiated_at:1" }), { concurrency: 2 }),
            (pages) => ({ userId, pages }),
          ));
        return { read, traffic: traffic() };
      });
      const { read, traffic } = await Effect.runPromise(
        over(transport, server.url, sandbox.key, fast, program),
      );
      for (const { userId, pages } of read) {
        expect(pages.flatMap(({ rows: { slices } }) => Batch.sessions({ rows: { _tag: "Bytes", slices } })))
          .toEqual([...sandbox.sessions(userId)].slice(0, 50));
        expect(pages[0]?.pagination?.total).toBe(sandbox.sessionCount(userId));
      }
      expect(traffic.retries).toBeGreaterThan(0);
      expect(traffic.requests).toBe(15 + traffic.retries);
      // Deno by itself sends a request again, and tells nobody, if the connection it had kept for it is reset.
      if (onDeno) expect(sandbox.counts.total).toBeGreaterThanOrEqual(traffic.requests);
      else expect(sandbox.counts.total).toBe(traffic.requests);
    } finally {
      await server.close();
    }
  });

  it("gives up on a tenant that is down, and says so", async () => {
    const sandbox = make({ users: 1, faults: { reset: 1, maxInARow: Infinity } });
    const server = await serve(sandbox);
    try {
      const exit = await Effect.runPromiseExit(
        over(
          transport,
          server.url,
          sandbox.key,
          { ...fast, maxAttempts: 8 },
          SessionsApi.page("mia", { page: 1, size: 1 }),
        ),
      );
      expect(errorOf(exit)).toMatchObject({ reason: "Transport", attempts: 8 });
      expect(errorOf(exit).message).toMatch(
        name === "undici" ? /Transport: (read ECONNRESET|other side closed)/ : /fetch failed: /,
      );
      expect(sandbox.counts.total).toBe(8);
    } finally {
      await server.close();
    }
  });

  it("names what the system says of a port where nobody listens", async () => {
    const server = http.createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const exit = await Effect.runPromiseExit(
      over(
        transport,
        `http://127.0.0.1:${port}`,
        undefined,
        { ...fast, maxAttempts: 2 },
        SessionsApi.page("mia", {
          page: 1,
          size: 1,
        }),
      ),
    );
    expect(errorOf(exit).message).toContain(
      onDeno && name !== "undici"
        ? "Connection refused (os error "
        : `connect ECONNREFUSED 127.0.0.1:${port}`,
    );
  });
});

/** A server that never finishes its answer. */
const unfinished = async (withHeaders: boolean) => {
  const server = http.createServer((request, response) => {
    if (withHeaders) response.writeHead(200, { "content-type": "application/json" }).write("[");
    server.emit("asked");
    request.socket.once("close", () => server.emit("gone"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: once(server, "asked"),
    gone: once(server, "gone"),
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
};

const moments = [["before the headers", false], ["in mid-body", true]] as const;

describe.each(
  transports.flatMap(([name, transport]) => moments.map((one) => [name, ...one, transport] as const)),
)(
  "the connection of a request by %s, %s,",
  (_, __, headers, transport) => {
    it("is closed when the request times out", async () => {
      const server = await unfinished(headers);
      try {
        const exit = await Effect.runPromiseExit(
          over(
            transport,
            server.origin,
            undefined,
            { timeout: 300, maxAttempts: 1 },
            Effect.flatMap(TenantClient.TenantClient, ({ list }) => list(pageOf("mia"))),
          ),
        );
        expect(errorOf(exit)).toMatchObject({ reason: "Timeout", attempts: 1 });
        expect(errorOf(exit).message).toContain("no complete answer within 0.3 s");
        await server.gone;
      } finally {
        await server.close();
      }
    });

    it("is closed when the request is interrupted", async () => {
      const server = await unfinished(headers);
      try {
        const fiber = Effect.runFork(
          over(
            transport,
            server.origin,
            undefined,
            {},
            Effect.flatMap(TenantClient.TenantClient, ({ list }) => list(pageOf("mia"))),
          ),
        );
        await server.asked;
        // The headers, where there are any, have to reach the client.
        await new Promise((resolve) => setTimeout(resolve, 50));
        await Effect.runPromise(Fiber.interrupt(fiber));
        await server.gone;
      } finally {
        await server.close();
      }
    });
  },
);

describe("a dispatcher of undici's", () => {
  /** What comes of one request through it to a server that answers like this. */
  const through = async (
    dispatcher: undici.Dispatcher,
    answer: http.RequestListener,
    options: TenantClient.TenantClientOptions,
  ) => {
    const server = await serving(answer);
    try {
      const exit = await Effect.runPromiseExit(over(
        Layer.succeed(Transport.Transport, Undici.ofDispatcher(dispatcher)),
        server.origin,
        undefined,
        options,
        SessionsApi.page("mia", { page: 1, size: 1 }),
      ));
      return { exit, requests: server.requests() };
    } finally {
      await dispatcher.destroy();
      await server.close();
    }
  };

  it("that waits between tries of its own is not waited for when the time is up", async () => {
    const retrying = new undici.RetryAgent(new undici.Agent(), { minTimeout: 60_000, maxTimeout: 60_000 });
    const { exit, requests } = await through(
      retrying,
      (request) => request.socket.destroy(),
      { timeout: 300, maxAttempts: 1 },
    );
    expect(errorOf(exit)).toMatchObject({ reason: "Timeout", attempts: 1 });
    expect(requests).toBe(1);
  });

  it.each([["more", `[${" ".repeat(200_000)}]`], ["less", "[ "]])(
    "that brings %s than the answer has said fails the request",
    async (_, body) => {
      const changing = new undici.Agent().compose((dispatch) => (options, handler) =>
        dispatch(options, {
          onRequestStart: (...its) => handler.onRequestStart?.(...its),
          onResponseStart: (controller, status, headers, text) =>
            handler.onResponseStart?.(controller, status, { ...headers, "content-length": "1000" }, text),
          onResponseData: (...its) => handler.onResponseData?.(...its),
          onResponseEnd: (...its) => handler.onResponseEnd?.(...its),
          onResponseError: (...its) => handler.onResponseError?.(...its),
        })
      );
      const { exit } = await through(
        changing,
        (_, response) => {
          // In two pieces, of which the first is less than what was said.
          response.write(body[0]);
          setTimeout(() => response.end(body.slice(1)), 50);
        },
        { ...fast, maxAttempts: 1 },
      );
      expect(errorOf(exit)).toMatchObject({ reason: "Transport" });
      expect(errorOf(exit).message).toContain("the body is not as long as was told");
    },
  );
});
