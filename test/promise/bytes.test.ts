/** Streams and responses: gzip, what is told before a status is sent, and Node's own streams. */
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { gunzipSync } from "node:zlib";
import { describe, expect, it, onTestFinished } from "vitest";
import * as promise from "../../src/promise.ts";
import { make, serve } from "../../src/sandbox/mod.ts";
import { csvTable, keysFrom, parquetTable } from "../duckdb.ts";
import { newFolder } from "../folders.ts";
import { endless, forbiddenAfter, keysOf, reasonOf, requestsAfterwards, tenant } from "./tenant.ts";

const CHOICES = ["ndjson", "ndjson.gz", "csv", "csv.gz", "parquet"] as const;

/** The keys in a file of a format. */
const keysIn = async (choice: promise.FormatChoice, bytes: Uint8Array): Promise<ReadonlyArray<string>> => {
  const path = join(await newFolder(), `sessions.${choice}`);
  await writeFile(path, bytes);
  return await keysFrom(
    choice === "parquet"
      ? parquetTable(path)
      : choice.startsWith("csv")
      ? csvTable(path)
      : `read_ndjson('${path}')`,
  );
};

const bytesOf = async (body: ReadableStream<Uint8Array<ArrayBuffer>>) =>
  new Uint8Array(await new Response(body).arrayBuffer());

describe("stream()", () => {
  it.each(CHOICES)("gives a whole %s file, over HTTP", async (choice) => {
    const sandbox = make({ users: 4, sessionsPerUser: 120 });
    const server = await serve(sandbox);
    onTestFinished(() => server.close());
    const given = { domain: server.url, apiKey: sandbox.key, rate: 10_000, users: "all" } as const;
    expect(await keysIn(choice, await bytesOf(promise.stream(choice, given)))).toEqual(keysOf(sandbox));
  });

  it.each(["csv.gz", "ndjson.gz"] as const)(
    "errors when it fails midway, and never ends, as %s",
    async (choice) => {
      const { sandbox, options } = tenant({ users: 3000 });
      const fetch = forbiddenAfter(sandbox, 800);
      const error = await reasonOf(
        bytesOf(promise.stream(choice, { ...options, fetch, users: sandbox.userIds() })),
      );
      expect(error).toSatisfy(promise.isApiError);
      expect(error).toMatchObject({ reason: "Forbidden" });
    },
  );

  it("ends all requests when it is cancelled, compressed as well", async () => {
    const { sandbox, options } = tenant(endless);
    const reader = promise.stream("ndjson.gz", { ...options, users: "all" }).getReader();
    await reader.read();
    await reader.cancel();
    expect(await requestsAfterwards(sandbox)).toBe(0);
  });

  it("gives what changed since a time, and refuses an order along with it", async () => {
    const { sandbox, options } = tenant({ sessionsPerUser: 40 });
    const all = [...sandbox.userIds()].flatMap((id) =>
      [...sandbox.sessions(id)].map((one) => one.last_updated)
    );
    const since = all.toSorted((one, other) => one - other)[70]!;
    const given = { ...options, users: "all", since: new Date(since * 1000 + 999) } as const;
    expect(await keysIn("csv", await bytesOf(promise.stream("csv", given)))).toHaveLength(
      all.filter((time) => time >= since).length,
    );
    expect(() => promise.stream("csv", { ...given, sort: "session_id:1" })).toThrow(
      new TypeError("Cannot export as 'since' reads newest change first: leave out 'sort'"),
    );
  });
});

describe("response()", () => {
  it.each(CHOICES)("answers with a whole %s file, its type and its name", async (choice) => {
    const { sandbox, options } = tenant({ sessionsPerUser: 300 });
    const answer = await promise.response(choice, { ...options, users: "all" });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-disposition")).toBe(`attachment; filename="sessions.${choice}"`);
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(answer.headers.get("content-type")).toMatch(
      choice.endsWith(".gz") ? /^application\/gzip$/ : /ndjson|csv|parquet/,
    );
    expect(await keysIn(choice, new Uint8Array(await answer.arrayBuffer()))).toEqual(keysOf(sandbox));
  });

  it.each(CHOICES)("rejects before a status is sent where it can't work: %s", async (choice) => {
    const { options } = tenant();
    const fail = (change: object) =>
      reasonOf(promise.response(choice, { ...options, users: "all", ...change }));
    expect(await fail({ apiKey: "another-key" })).toMatchObject({ _tag: "ApiError", reason: "Unauthorized" });
    expect(await fail({ users: ["nobody"] })).toMatchObject({ _tag: "ExportError", reason: "NoSuchUsers" });
    expect(await fail({ users: ["nobody", "no one"] })).toMatchObject({ reason: "NoSuchUsers" });
    expect(await fail({ domain: "http://acme.example" })).toMatchObject({ _tag: "TenantError" });
    expect(await fail({ users: [] as Array<string>, signal: AbortSignal.abort("enough") })).toBe("enough");
    expect(await fail({ rate: 0 })).toBeInstanceOf(RangeError);
    expect(await fail({ usrs: "all" })).toBeInstanceOf(TypeError);
    const refused = () => Promise.resolve(new Response(null, { status: 500 }));
    expect(await fail({ fetch: refused, maxAttempts: 2 })).toMatchObject({
      reason: "ServerError",
      attempts: 2,
    });
  });

  it("answers with an empty file where there is no session", async () => {
    const { options } = tenant({ sessionsPerUser: 0 });
    const ndjson = await promise.response("ndjson", { ...options, users: "all" });
    expect([ndjson.status, await ndjson.text()]).toEqual([200, ""]);
    const csv = await promise.response("csv.gz", { ...options, users: "all" });
    expect(gunzipSync(new Uint8Array(await csv.arrayBuffer())).toString()).toMatch(
      /^user_id,session_id,.*\r\n$/,
    );
  });

  it.each(CHOICES)(
    "resolves once the tenant has answered, though no byte has come yet: %s",
    async (choice) => {
      const { options } = tenant({ users: 1, sessionsPerUser: 3000 });
      let asked = 0;
      let release = () => {};
      const held = new Promise<void>((resolve) => (release = resolve));
      const answer = await promise.response(choice, {
        ...options,
        users: "all",
        pageSize: 100,
        concurrency: 1,
        filter: () => false,
        fetch: async (input, init) => {
          if (++asked > 6) await held;
          return options.fetch(input, init);
        },
      });
      expect(answer.status).toBe(200);
      release();
      expect((await answer.arrayBuffer()).byteLength).toBeLessThan(3000);
      expect(asked).toBeGreaterThan(20);
    },
  );

  it("breaks off the body where what comes first is fine, and what follows is not", async () => {
    const { sandbox, options } = tenant({ users: 1, sessionsPerUser: 3000 });
    const given = { ...options, users: "all", pageSize: 100, concurrency: 1, filter: () => false } as const;
    const answer = await promise.response("csv", { ...given, fetch: forbiddenAfter(sandbox, 6) });
    expect(answer.status).toBe(200);
    expect(await reasonOf(answer.text())).toMatchObject({ _tag: "ApiError", reason: "Forbidden" });
  });

  it("resolves long before the export has ended, and ends all requests when its body is cancelled", async () => {
    const { sandbox, options } = tenant(endless);
    const answer = await promise.response("ndjson", { ...options, users: "all" });
    expect(sandbox.counts.total).toBeLessThan(200);
    await answer.body?.cancel();
    expect(await requestsAfterwards(sandbox)).toBe(0);
  });

  it("asks for no more than its reader takes", async () => {
    const { sandbox, options } = tenant({ users: 10_000, sessionsPerUser: 5 });
    const answer = await promise.response("ndjson", { ...options, users: sandbox.userIds() });
    await new Promise((resume) => setTimeout(resume, 200));
    expect(sandbox.counts.total).toBeLessThan(100);
    await answer.body?.cancel();
  });

  it("breaks off the body when it fails later, with the error itself", async () => {
    const { sandbox, options } = tenant({ users: 3000 });
    const fetch = forbiddenAfter(sandbox, 100);
    const answer = await promise.response("ndjson", { ...options, fetch, users: sandbox.userIds() });
    expect(answer.status).toBe(200);
    const reader = answer.body!.getReader();
    const readAll = async () => {
      while (!(await reader.read()).done);
    };
    expect(await reasonOf(readAll())).toMatchObject({ _tag: "ApiError", reason: "Forbidden" });
  });
});

/** As a caller makes it. The types of the DOM and of Node differ over readers that bring their own buffer. */
const readable = (stream: ReadableStream) => Readable.fromWeb(stream as never);

describe("Node's Readable.fromWeb(stream())", () => {
  /** Counts what it takes, a chunk a millisecond. */
  const slowly = (take: (bytes: Uint8Array) => void = () => {}) =>
    new Writable({
      write: (chunk, _, done) => {
        take(chunk);
        setTimeout(done, 1);
      },
    });

  it("serves an HTTP server of Node, whole", async () => {
    const { sandbox, options } = tenant({ sessionsPerUser: 300 });
    const server = createServer((_, response) => {
      response.setHeader("content-type", "text/csv");
      void pipeline(readable(promise.stream("csv", { ...options, users: "all" })), response).catch(
        () => {},
      );
    });
    await new Promise<void>((resume) => server.listen(0, "127.0.0.1", resume));
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const answer = await fetch(`http://127.0.0.1:${port}/`);
    expect(await keysIn("csv", new Uint8Array(await answer.arrayBuffer()))).toEqual(keysOf(sandbox));
  });

  it("errors with the error itself, midway and at once", async () => {
    const { sandbox, options } = tenant({ users: 3000 });
    const fetch = forbiddenAfter(sandbox, 100);
    const broken = readable(promise.stream("csv", { ...options, fetch, users: sandbox.userIds() }));
    expect(await reasonOf(pipeline(broken, slowly()))).toMatchObject({
      _tag: "ApiError",
      reason: "Forbidden",
    });
    const refused = readable(promise.stream("csv", { ...options, apiKey: "another", users: "all" }));
    expect(await reasonOf(pipeline(refused, slowly()))).toMatchObject({ reason: "Unauthorized" });
  });

  it("asks for no more than is taken, and ends all requests when either end is destroyed", async () => {
    const { sandbox, options } = tenant(endless);
    const paced = readable(promise.stream("ndjson", { ...options, users: "all" }));
    await new Promise((resume) => paced.once("readable", resume));
    await new Promise((resume) => setTimeout(resume, 200));
    expect(sandbox.counts.total).toBeLessThan(300);
    paced.destroy();
    expect(await requestsAfterwards(sandbox)).toBe(0);
    const lost = readable(promise.stream("ndjson", { ...options, users: "all" }));
    let chunks = 0;
    const failing = new Writable({
      write: (_, __, done) => ++chunks > 3 ? done(new Error("the disk is full")) : done(),
    });
    expect(await reasonOf(pipeline(lost, failing))).toEqual(new Error("the disk is full"));
    expect(await requestsAfterwards(sandbox)).toBe(0);
  });
});
