/** Pages whose size is found out: few requests, whatever the tenant gives, and every session once. */
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import type { TenantClientOptions } from "../../../src/api/TenantClient.ts";
import { make, type Sandbox, type SandboxOptions } from "../../../src/sandbox/mod.ts";
import * as Batch from "../../../src/session/Batch.ts";
import * as SessionSource from "../../../src/source/SessionSource.ts";
import * as UserSource from "../../../src/source/UserSource.ts";
import * as PageSizes from "../../../src/source/paging/PageSizes.ts";
import * as PageWalk from "../../../src/source/paging/PageWalk.ts";
import * as WalkCheckpoint from "../../../src/source/paging/WalkCheckpoint.ts";
import { isLong } from "../../size.ts";
import { clientFor } from "./histories.ts";

type Sizes = SessionSource.WalkOptions["pageSize"];

interface Read {
  readonly pageSize?: Sizes;
  readonly concurrency?: number | "auto";
  readonly sizes?: PageSizes.PageSizes;
  /** Answers in the tenant's place. */
  readonly answer?: (size: number, page: number) => Response | Promise<Response> | undefined;
}

/** Reads all sessions of a tenant, and gives the requests and bytes that took. */
const read = async (options: SandboxOptions, { answer, ...walk }: Read = {}) => {
  const sandbox = make(options);
  let [requests, bytes] = [0, 0];
  const sizes: Array<number> = [];
  const fetch = async (request: Request) => {
    requests++;
    const { searchParams } = new URL(request.url);
    const [size, page] = [Number(searchParams.get("size")), Number(searchParams.get("page"))];
    sizes.push(size);
    const served = await answer?.(size, page) ?? await sandbox.fetch(request);
    const body = await served.arrayBuffer();
    bytes += body.byteLength;
    return new Response(body, served);
  };
  const batches = await SessionSource.batches(Stream.fromIterable(sandbox.userIds()), walk)
    .pipe(Stream.runCollect, Effect.provide(clientFor({ ...sandbox, fetch })), Effect.runPromise);
  const found = [...batches].flatMap((batch) => Batch.sessions(batch)).map(({ session_id }) => session_id);
  const all = [...sandbox.userIds()].flatMap((userId) => [...sandbox.sessions(userId)]);
  expect(found.length).toBe(all.length);
  expect(new Set(found)).toEqual(new Set(all.map(({ session_id }) => session_id)));
  expect([...batches].every(({ end }) => end === undefined || end.verified)).toBe(true);
  return { requests, bytes, sizes };
};

const sessions = isLong ? 20_000 : 5000;
const one = { users: 1, sessionsPerUser: sessions };
const tenth = (at100: number) => Math.ceil(at100 / 7);

describe("pages whose size is found out", { timeout: isLong ? 600_000 : 120_000 }, () => {
  it.each<[string, SandboxOptions, (at100: number) => number]>([
    ["gives any size", {}, tenth],
    ["gives 1,000", { maxSize: 1000 }, tenth],
    ["refuses more than 1,000", { maxSize: 1000, overSize: "reject" }, tenth],
    ["cuts to 100", { maxSize: 100 }, (at100) => 1.02 * at100],
    ["refuses more than 100", { maxSize: 100, overSize: "reject" }, (at100) => at100 + 3],
    ["refuses more than 200", { maxSize: 200, overSize: "reject" }, (at100) => at100 / 1.8],
    ["refuses more than 50", { maxSize: 50, overSize: "reject" }, (at100) => 1.05 * at100],
    ["does not count", { paginationHeader: "absent" }, (at100) => at100],
  ])("cost few requests where the tenant %s", async (name, options, limit) => {
    const { requests: at100 } = await read({ ...one, ...options, overSize: "clamp" }, { pageSize: 100 });
    const each = await read({ ...one, ...options }, { concurrency: 1 });
    const several = await read({ ...one, ...options });
    console.log(
      `${sessions} sessions, ${name}: ${at100} requests for pages of 100, ${each.requests} in auto`,
    );
    expect(each.requests).toBeLessThanOrEqual(limit(at100));
    expect(several.requests).toBeLessThanOrEqual(limit(at100) + 1);
    if (isLong && limit === tenth) expect(each.requests).toBeLessThanOrEqual(32);
  });

  it("cost no more where most users have few sessions", async () => {
    // The sandbox draws how many each has: most have fewer than ten, some have hundreds.
    const options = { users: isLong ? 5000 : 500, sessionsPerUser: { mean: 10 }, seed: 3 };
    const fixed = await read(options, { pageSize: 100 });
    const found = await read(options);
    console.log(`${fixed.requests} and ${found.requests} requests, ${fixed.bytes} and ${found.bytes} bytes`);
    expect(found.requests).toBeLessThanOrEqual(fixed.requests);
    expect(found.bytes).toBeLessThanOrEqual(1.05 * fixed.bytes);
  });

  it("are not learned from a refusal that is not of the size", async () => {
    let times = 0;
    const { sizes } = await read(one, {
      concurrency: 1,
      answer: (size) => size > 100 && times++ < 2 ? new Response("{}", { status: 503 }) : undefined,
    });
    expect(sizes.map((size) => size > 500).slice(0, 6)).toEqual([false, true, false, true, false, true]);
  });

  it("stay small for a run where large ones fail again and again, and each such page is asked for once", async () => {
    const { sizes } = await read({ users: 8, sessionsPerUser: 1000 }, {
      concurrency: 1,
      answer: (size) => size > 100 ? new Response("{}", { status: 502 }) : undefined,
    });
    expect(sizes.filter((size) => size > 100).length).toBe(3);
  });

  it("are not taken from an answer that gives the default in place of a size", async () => {
    const sandbox = make(one);
    const { sizes } = await read(one, {
      concurrency: 1,
      answer: (size, page) => {
        if (size <= 250) return undefined;
        const url = `https://sandbox.example/api/users/${
          [...sandbox.userIds()][0]
        }/sessions?page=${page}&size=10`;
        return sandbox.fetch(
          new Request(`${url}&sort=initiated_at:-1`, { headers: { "x-api-key": sandbox.key } }),
        );
      },
    });
    expect(sizes.filter((size) => size > 250)).toEqual([1000, 500]);
    expect(Math.max(...sizes.slice(4))).toBeGreaterThan(150);
  });

  it("go down where answers are long in coming, or large", () => {
    const sizes = PageSizes.auto();
    const answer = (size: number, milliseconds: number, bytes: number) =>
      sizes.answered(size, {
        count: size,
        pagination: { page: 1, pageSize: size, total: 1e6, hasNext: true },
        bytes,
        milliseconds,
      });
    answer(100, 20, 50_000);
    expect(sizes.rest()).toBe(1000);
    answer(1000, 10_000, 500_000);
    expect(sizes.rest()).toBe(500);
    answer(500, 1000, 250_000);
    expect(sizes.rest()).toBe(1000);
    answer(1000, 1000, 2 ** 25);
    expect(sizes.rest()).toBe(250);
    answer(100, 60_000, 50_000);
    expect(sizes.rest()).toBe(100);
  });

  it("of a run are known to the next", async () => {
    const found = async (options: SandboxOptions, known?: number) => {
      const sizes = PageSizes.auto({ known });
      const { requests } = await read({ ...one, ...options }, { sizes, concurrency: 1 });
      return [sizes.found(), requests] as const;
    };
    const [large, first] = await found({});
    expect(large).toBe(1000);
    expect(await found({}, large)).toEqual([1000, first]);
    const [small, more] = await found({ maxSize: 100, overSize: "reject" });
    expect(small).toBe(100);
    expect(await found({ maxSize: 100, overSize: "reject" }, small)).toEqual([100, more - 3]);
    expect((await found({ maxSize: 200 }))[0]).toBe(200);
    // A tenant that takes less than it did costs what finding out costs.
    expect((await found({ maxSize: 100, overSize: "reject" }, 1000))[0]).toBe(100);
  });
});

describe("one user's answers", () => {
  /** Reads all sessions of a tenant of which one user's answers are changed. */
  const readAll = async (
    options: SandboxOptions,
    at: number,
    change: (sandbox: Sandbox, request: Request) => Response | Promise<Response>,
    concurrency: number,
    client?: TenantClientOptions,
  ) => {
    const sandbox = make(options);
    const ids = [...sandbox.userIds()];
    const sizes = PageSizes.auto();
    let requests = 0;
    const fetch = async (request: Request) => {
      requests++;
      return await (request.url.includes(`/${ids[at]}/`) ? change(sandbox, request) : sandbox.fetch(request));
    };
    const batches = await SessionSource.batches(Stream.fromIterable(ids), {
      sizes,
      concurrency,
      onFailure: "continue",
    }).pipe(Stream.runCollect, Effect.provide(clientFor({ ...sandbox, fetch }, client)), Effect.runPromise);
    const failed = [...batches].flatMap(({ userId, end }) => end?.status === "failed" ? [userId] : []);
    const count = [...batches].reduce((sum, batch) => sum + Batch.sessions(batch).length, 0);
    return { ids, requests, failed, count, found: sizes.found() };
  };

  const refuse = () => new Response("{}", { status: 422 });

  it.each([1, 8])("are no refusal of a size where none of them is given, %i at once", async (concurrency) => {
    const tenant = { users: 40, sessionsPerUser: 300, seed: 3 };
    for (const at of [0, 20]) {
      const { ids, failed, count, requests, found } = await readAll(tenant, at, refuse, concurrency);
      expect([failed, count, found]).toEqual([[ids[at]], 39 * 300, 1000]);
      expect(requests).toBeLessThanOrEqual(2 * 39 + 10);
    }
  });

  it("are no refusal of a size where they are refused after a first page", async () => {
    const change = (sandbox: Sandbox, request: Request) =>
      request.url.includes("size=100&") ? sandbox.fetch(request) : refuse();
    const tenant = { users: 40, sessionsPerUser: 300, seed: 3 };
    const { ids, failed, requests, found } = await readAll(tenant, 0, change, 1);
    expect([failed, found]).toEqual([[ids[0]], 1000]);
    expect(requests).toBeLessThanOrEqual(2 * 39 + 10);
  });

  it.each([1, 8])("are asked for in smaller pages where they are large, %i at once", async (concurrency) => {
    const change = async (sandbox: Sandbox, request: Request) => {
      const answer = await sandbox.fetch(request);
      const rows = (await answer.json()).map((row: object) => ({ ...row, more: "x".repeat(10_000) }));
      return new Response(JSON.stringify(rows), answer);
    };
    for (const sessionsPerUser of isLong ? [300, 1500] : [300]) {
      const tenant = { users: 6, sessionsPerUser, seed: 3 };
      const read = await readAll(tenant, 4, change, concurrency, { maxBodyBytes: 2 ** 21 });
      expect([read.failed, read.count]).toEqual([[], 6 * sessionsPerUser]);
    }
  });
});

describe("a walk that goes on from an earlier run's, in pages that this one has not had yet,", () => {
  const safe = [
    { sort: "initiated_at:-1", key: "initiated_at", type: "number", descending: true, fixed: true },
  ] as const;
  const states = {
    "has no other size": WalkCheckpoint.save({ orders: safe }, { ...PageWalk.begin(1000), isClamped: true }),
    "reads pages 1, 2, 3…": WalkCheckpoint.save({ orders: safe }, {
      ...PageWalk.begin(1000),
      overlapping: false,
    }),
  };
  const readOn = async (walk: unknown, answer: (sandbox: Sandbox, request: Request) => Promise<Response>) => {
    const sandbox = make({ users: 1, sessionsPerUser: 2500 });
    const [userId = ""] = sandbox.userIds();
    let requests = 0;
    const fetch = (request: Request) => {
      if (++requests > 1000) throw new Error("it asks for ever");
      return answer(sandbox, request);
    };
    const batches = await SessionSource.batches(Stream.make({ userId, state: { walk } })).pipe(
      Stream.runCollect,
      Effect.provide(clientFor({ ...sandbox, fetch }, { baseDelay: "1 millis" })),
      Effect.runPromise,
    );
    return [...batches].reduce((sum, batch) => sum + Batch.sessions(batch).length, 0);
  };

  it.each(Object.entries(states))("where it %s, asks again after failures", async (_, walk) => {
    let failures = 0;
    const read = readOn(
      walk,
      async (sandbox, request) =>
        failures++ < 6 ? new Response("{}", { status: 503 }) : await sandbox.fetch(request),
    );
    expect(await read).toBe(2500);
  });

  it.each(Object.entries(states))("where it %s, takes fewer rows than it asks for", async (_, walk) => {
    const read = readOn(walk, (sandbox, request) => {
      const { url, headers } = request;
      const cut = url.replace(/size=(\d+)/, (_, size) => `size=${Math.min(size, 50)}`);
      return sandbox.fetch(new Request(cut, { headers }));
    });
    expect(await read).toBe(2500);
  });

  it.each([413, 403, 500, 503])("are smaller where a gateway answers large ones with %i", async (status) => {
    const { sizes } = await read(one, {
      concurrency: 1,
      answer: (size) =>
        size > 500 ? new Response("<html>", { status, headers: { "content-type": "text/html" } }) : undefined,
    });
    expect(sizes.filter((size) => size > 500).length).toBeLessThanOrEqual(3);
  });

  it.each([413, 500, 503])("of the list of users as well: %i", async (status) => {
    const sandbox = make({ users: 1500 });
    const fetch = (request: Request) =>
      Number(new URL(request.url).searchParams.get("size")) > 500
        ? Promise.resolve(new Response("{}", { status }))
        : sandbox.fetch(request);
    const found = await UserSource.all().pipe(
      Stream.mapConcat(({ userIds }) => userIds),
      Stream.runCollect,
      Effect.provide(clientFor({ ...sandbox, fetch })),
      Effect.runPromise,
    );
    expect(new Set(found)).toEqual(new Set(sandbox.userIds()));
  });
});
