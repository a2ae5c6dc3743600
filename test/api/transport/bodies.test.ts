/**
 * Bodies as hostile as servers can make them: over real connections, by every transport.
 */
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import type * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import * as fc from "fast-check";
import { once } from "node:events";
import type * as http from "node:http";
import { type AddressInfo, createServer } from "node:net";
import * as zlib from "node:zlib";
import { describe, expect, it } from "vitest";
import * as BodyBounds from "../../../src/api/transport/BodyBounds.ts";
import * as TenantClient from "../../../src/api/TenantClient.ts";
import * as SessionsApi from "../../../src/api/SessionsApi.ts";
import * as Transport from "../../../src/api/transport/Transport.ts";
import * as Batch from "../../../src/session/Batch.ts";
import * as SessionSource from "../../../src/source/SessionSource.ts";
import { onDeno } from "../../runtime.ts";
import { errorOf, tenantAt } from "../asking.ts";
import { serving } from "./serving.ts";
import { transports } from "./transports.ts";

const MIB = 2 ** 20;

const headers = { "content-type": "application/json" };

/** Writes for as long as somebody reads. */
const endless = (begin: string, chunk: string) => (_: unknown, response: http.ServerResponse): void => {
  response.writeHead(200, headers).write(begin);
  const more = () => {
    while (!response.destroyed && response.write(chunk));
  };
  response.on("drain", more);
  more();
};

const pageOf = (userId: string, size = 10) => SessionsApi.page(userId, { page: 1, size });

const asking = <A, E>(
  transport: Layer.Layer<Transport.Transport>,
  origin: string,
  options: TenantClient.TenantClientOptions,
  program: Effect.Effect<A, E, TenantClient.TenantClient>,
) =>
  Effect.runPromiseExit(program.pipe(
    Effect.provide(
      TenantClient.layerOf(tenantAt(origin), { rate: 1e5, baseDelay: 1, maxDelay: 5, ...options }),
    ),
    Effect.provide(transport),
  ));

const SPACES = " ".repeat(65_536);
const body = Buffer.from(JSON.stringify([{ session_id: "S1" }, { session_id: "ü".repeat(40_000) }]));

const utf8 = new TextDecoder();

describe.each(transports)("a body, by %s,", (name, transport) => {
  it.each<[string, (request: unknown, response: http.ServerResponse) => void]>([
    ["endless", endless("[", SPACES)],
    ["a gibibyte by its own words", (_, response) => {
      response.writeHead(200, { ...headers, "content-length": `${2 ** 30}` }).write("[");
    }],
    ["a bomb of gzip that is JSON", (_, response) => {
      response.writeHead(200, { ...headers, "content-encoding": "gzip" });
      response.end(
        zlib.gzipSync(Buffer.concat([Buffer.from("["), Buffer.alloc(64 * MIB, " "), Buffer.from("]")])),
      );
    }],
    ["a bomb of deflate that is none", (_, response) => {
      response.writeHead(200, { ...headers, "content-encoding": "deflate" });
      response.end(zlib.deflateSync(Buffer.alloc(64 * MIB, "[")));
    }],
  ])("that is %s is refused at the limit, once", async (_, answer) => {
    const server = await serving(answer);
    try {
      const exit = await asking(
        transport,
        server.origin,
        { maxBodyBytes: 4 * MIB, maxAttempts: 3 },
        pageOf("mia"),
      );
      expect(errorOf(exit)).toMatchObject({ reason: "TooLarge", attempts: 1 });
      expect(errorOf(exit).message).toContain(
        "TooLarge: the body has more than 4 MiB: 'maxBodyBytes' is the limit. The answer is larger than it may be",
      );
      expect(server.requests()).toBe(1);
    } finally {
      await server.close();
    }
  });

  it("that says another length than its chunks have is bounded all the same", async () => {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.write(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10\r\ntransfer-encoding: chunked\r\n\r\n",
      );
      const chunk = `10000\r\n${SPACES}\r\n`;
      const more = () => {
        while (!socket.destroyed && socket.write(chunk));
      };
      socket.on("drain", more);
      more();
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    try {
      const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
      const exit = await asking(
        transport,
        origin,
        { maxBodyBytes: 4 * MIB, maxAttempts: 1, timeout: 5000 },
        pageOf("mia"),
      );
      // Node takes no such answer at all.
      expect(errorOf(exit).reason).toMatch(/^(TooLarge|Transport)$/);
    } finally {
      server.close();
    }
  });

  it("of a refusal may have 1 MiB: the refusal counts, and its end is not waited for", async () => {
    const server = await serving((_, response) => {
      response.writeHead(403, { "content-type": "application/problem+json" });
      response.write(`{"title": "No", "detail": "${"x".repeat(2 * MIB)}`);
    });
    try {
      const exit = await asking(transport, server.origin, {}, pageOf("mia"));
      expect(errorOf(exit)).toMatchObject({ reason: "Forbidden", status: 403 });
    } finally {
      await server.close();
    }
  });

  it("of more than 1 MiB is taken in while no other such is: none is lost, and all come in the end", async () => {
    // Each begins at once, and goes on only where it is read.
    const rows = Array.from({ length: 40 }, (_, n) => ({ session_id: `S${n}`, filler: "x".repeat(65_536) }));
    const server = await serving((_, response) => {
      response.writeHead(200, headers).end(JSON.stringify(rows));
    });
    try {
      const users = Array.from({ length: 12 }, (_, n) => `user${n}`);
      const exit = await asking(
        transport,
        server.origin,
        {},
        Effect.forEach(users, (user) => pageOf(user, 40), { concurrency: "unbounded" }),
      );
      expect(Exit.map(exit, (pages) => pages.map(({ rows }) => JSON.parse(utf8.decode(rows.slices.bytes)))))
        .toEqual(
          Exit.succeed(users.map(() => rows)),
        );
      expect(server.requests()).toBe(12);
    } finally {
      await server.close();
    }
  });

  it("of more than 1 MiB is waited for by those behind it, though it has to be asked for again", async () => {
    const count = 600;
    const sessions = Array.from({ length: count }, (_, n) => ({
      session_id: `S${n}`,
      client_ids: [],
      initiated_at: 1_700_000_000 - n,
      expires_at: 1_800_000_000,
      last_updated: 1_700_000_000,
      filler: "x".repeat(30_000),
    }));
    const refused = new Set<string>();
    const server = await serving(({ url = "" }, response) => {
      const query = new URL(url, "http://tenant.example").searchParams;
      const [page, size] = [Number(query.get("page")), Number(query.get("size"))];
      // Every second page fails at first: those behind it are there before it is.
      if (page % 2 === 0 && !refused.has(url)) {
        refused.add(url);
        return response.writeHead(503).end();
      }
      const pagination = {
        page_size: size,
        current_page: page,
        total_count: count,
        has_next: page * size < count,
      };
      const rows = sessions.slice((page - 1) * size, page * size);
      response.writeHead(200, { ...headers, "x-pagination": JSON.stringify(pagination) }).end(
        JSON.stringify(rows),
      );
    });
    try {
      const exit = await asking(
        transport,
        server.origin,
        { baseDelay: 100, maxDelay: 100 },
        SessionSource.batches(Stream.make("mia"), { pageSize: 50, concurrency: 8 }).pipe(
          Stream.runFold(
            { ids: new Set<string>(), verified: false },
            ({ ids }, batch) => ({
              ids: new Set([...ids, ...Batch.sessions(batch).map(({ session_id }) => session_id)]),
              verified: batch.end?.verified === true,
            }),
          ),
        ),
      );
      expect(Exit.map(exit, ({ ids, verified }) => [ids.size, verified])).toEqual(
        Exit.succeed([count, true]),
      );
      expect(refused.size).toBeGreaterThan(3);
    } finally {
      await server.close();
    }
  });

  it.each<[string, Buffer]>([
    ["gzip", zlib.gzipSync(body)],
    ["GZIP", zlib.gzipSync(body)],
    // Deno's own fetch stops after the first piece.
    ...(onDeno && name !== "undici" ? [] : [10, 70_000]).map((at): [string, Buffer] => [
      "gzip",
      Buffer.concat([zlib.gzipSync(body.subarray(0, at)), zlib.gzipSync(body.subarray(at))]),
    ]),
    ["x-gzip", zlib.gzipSync(body)],
    ["deflate", zlib.deflateSync(body)],
    ["Deflate", zlib.deflateRawSync(body)],
    ["br", zlib.brotliCompressSync(body)],
    ["identity", body],
    ...(name === "undici"
      ? [["gzip, br", zlib.brotliCompressSync(zlib.gzipSync(body))] as [string, Buffer]]
      : []),
  ])("in %s is unpacked", async (coding, bytes) => {
    const server = await serving((_, response) => {
      response.writeHead(200, { ...headers, "content-encoding": coding }).end(bytes);
    });
    try {
      const exit = await asking(transport, server.origin, { maxAttempts: 1 }, pageOf("mia"));
      expect(Exit.map(exit, (page) => Buffer.from(page.rows.slices.bytes).equals(body))).toEqual(
        Exit.succeed(true),
      );
    } finally {
      await server.close();
    }
  });

  it.each(["zstandard", "compress, gzip", "constructor"])(
    "in %s is not, and the error names it",
    async (coding) => {
      const server = await serving((_, response) => {
        response.writeHead(200, { ...headers, "content-encoding": coding }).end(
          Buffer.from([0x28, 0xb5, 0x2f, 0xfd]),
        );
      });
      try {
        const exit = await asking(transport, server.origin, { maxAttempts: 1 }, pageOf("mia"));
        expect(errorOf(exit).reason).toMatch(/^(Body|Transport)$/);
        if (errorOf(exit).reason === "Body") {
          expect(errorOf(exit).message).toContain(`content-encoding is ${coding}`);
        }
      } finally {
        await server.close();
      }
    },
  );

  it("that is being unpacked is left as soon as its request is aborted", async () => {
    const packed = zlib.gzipSync(Buffer.alloc(64 * MIB, " "), { level: 1 });
    const server = await serving((_, response) => {
      response.writeHead(200, { ...headers, "content-encoding": "gzip" }).end(packed);
    });
    try {
      let growths = 0;
      let abort: ((reason: Error) => void) | undefined;
      const exit = await Effect.runPromiseExit(Effect.provide(
        Effect.flatMap(Transport.Transport, ({ get }) =>
          get(`${server.origin}/`, {}, {
            whenAborted: (its) => abort = its,
            onHead: () => {},
            onGrowth: (bytes) => {
              growths++;
              if (bytes > 8 * MIB && abort !== undefined) {
                abort(new Error("enough"));
                abort = undefined;
                growths = 0;
              }
              return undefined;
            },
          })),
        transport,
      ));
      expect(Exit.isFailure(exit)).toBe(true);
      // What the one step that is under way unpacks may still be told of; the rest is 56 MiB.
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(growths).toBeLessThan(40);
    } finally {
      await server.close();
    }
  });
});

describe("a body", () => {
  it("that waits for others is let go once its request is aborted, by a fetch that does not heed that", async () => {
    const sources: Array<{ isLeft: boolean }> = [];
    const stubborn = (): Promise<Response> => {
      const source = { isLeft: false };
      sources.push(source);
      const stream = new ReadableStream({
        pull: async (controller) => {
          await new Promise((resolve) => setTimeout(resolve, 20));
          controller.enqueue(new Uint8Array(MIB + 1).fill(0x20));
        },
        cancel: () => void (source.isLeft = true),
      }, { highWaterMark: 0 });
      return Promise.resolve(new Response(stream, { headers }));
    };
    const users = ["a", "b", "c", "d"];
    await asking(
      Transport.fetch(stubborn),
      "https://tenant.example",
      { maxAttempts: 1, maxBodyBytes: 2 ** 40, timeout: 300 },
      Effect.forEach(users, (user) => Effect.exit(pageOf(user)), { concurrency: "unbounded" }),
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(sources.map(({ isLeft }) => isLeft)).toEqual(users.map(() => true));
  });
});

describe("a refusal", () => {
  it.each([
    ["a title that never ends", 403, "text/html", `<html>${"<title".repeat(150_000)}`],
    [
      "messages without end",
      422,
      "application/problem+json",
      JSON.stringify({ errors: Array(300_000).fill({}) }),
    ],
    [
      "fields without end",
      422,
      "application/problem+json",
      JSON.stringify({
        errors: Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`f${n}`, ["no"]])),
      }),
    ],
  ])("with %s is read in a moment, and told in a few words", async (_, status, type, body) => {
    const server = await serving((_, response) => {
      response.writeHead(status, { "content-type": type }).end(body);
    });
    try {
      let longest = 0;
      let last = Date.now();
      const beat = setInterval(() => {
        longest = Math.max(longest, Date.now() - last);
        last = Date.now();
      }, 5);
      const exit = await asking(transports[2]![1], server.origin, { maxAttempts: 1 }, pageOf("mia"));
      clearInterval(beat);
      expect(errorOf(exit).message.length).toBeLessThan(3000);
      // Where it is not bounded, a minute and more.
      expect(longest).toBeLessThan(5000);
    } finally {
      await server.close();
    }
  });
});

describe("an answer with more rows than were asked for", () => {
  it.each([
    [
      "and than it says itself",
      { page_size: 10, current_page: 1, total_count: 11, has_next: false },
      11,
      false,
    ],
    [
      "but no more than it says itself",
      { page_size: 11, current_page: 1, total_count: 11, has_next: false },
      11,
      true,
    ],
    ["without a word of it", undefined, 10_000, true],
    ["without a word of it, and beyond all bounds", undefined, 10_001, false],
    [
      "whatever it says itself, and beyond all bounds",
      { page_size: 1e6, current_page: 1, total_count: 1e6, has_next: false },
      10_001,
      false,
    ],
  ])("%s", async (_, pagination, count, isTaken) => {
    for (const row of ["{}", '{"a":"],[,"}']) {
      const server = await serving((_, response) => {
        response.writeHead(200, {
          ...headers,
          ...(pagination && { "x-pagination": JSON.stringify(pagination) }),
        });
        response.end(`[${Array(count).fill(row).join(",")}]`);
      });
      try {
        const exit = await asking(transports[0]![1], server.origin, {}, pageOf("mia"));
        if (isTaken) {
          expect(Exit.map(exit, ({ rows }) => rows.slices.from.length)).toEqual(Exit.succeed(count));
        } else {
          expect(errorOf(exit)).toMatchObject({ reason: "TooLarge", attempts: 1 });
          expect(errorOf(exit).message).toContain(
            `there are more than ${count - 1} rows, and 10 were asked for`,
          );
        }
      } finally {
        await server.close();
      }
    }
  });
});

describe("BodyBounds", () => {
  it("never let two bodies grow beyond 1 MiB at once, nor keep any from its end, for any order of bodies", () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            chunks: fc.array(fc.integer({ min: 1, max: 3 * MIB }), { maxLength: 6 }),
            isCut: fc.boolean(),
          }),
          { maxLength: 12 },
        ),
        fc.scheduler(),
        async (bodies, scheduler) => {
          const bounds = BodyBounds.make(64 * MIB);
          let large = 0;
          let most = 0;
          let ended = 0;
          const work = bodies.map(async ({ chunks, isCut }, n) => {
            const { onGrowth, end } = bounds.watch(
              () => true,
              () => scheduler.schedule(Promise.resolve(), `turn ${n}`),
            );
            let [bytes, isLarge] = [0, false];
            for (const chunk of chunks) {
              await scheduler.schedule(Promise.resolve(), `chunk of ${n}`);
              bytes += chunk;
              await onGrowth(bytes);
              // What it had when it grew beyond was there already; from here on it is alone.
              if (bytes > MIB && !isLarge) {
                isLarge = true;
                most = Math.max(most, ++large);
              }
              if (isCut && isLarge) break;
            }
            if (isLarge) large--;
            end();
            ended++;
          });
          await scheduler.waitFor(Promise.all(work));
          expect(ended).toBe(bodies.length);
          expect(most).toBeLessThanOrEqual(1);
        },
      ),
      { seed: 14, numRuns: 100 },
    ));

  it("let the next one in where the one that waits gives up", async () => {
    const bounds = BodyBounds.make(64 * MIB);
    const [first, second, third] = [0, 1, 2].map(() => bounds.watch(() => true, () => Promise.resolve()));
    await first!.onGrowth(2 * MIB);
    const waits = [second!.onGrowth(2 * MIB)!, third!.onGrowth(2 * MIB)!];
    await new Promise((resolve) => setTimeout(resolve));
    second!.end();
    first!.end();
    await waits[1];
    third!.end();
  });
});
