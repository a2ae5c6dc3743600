/** Pages whose size is found out: few requests, whatever the tenant gives, and every session once. */
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import { make, type SandboxOptions } from "../../../src/sandbox/mod.ts";
import * as Batch from "../../../src/session/Batch.ts";
import * as SessionSource from "../../../src/source/SessionSource.ts";
import * as PageSizes from "../../../src/source/paging/PageSizes.ts";
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

describe("pages whose size is found out", { timeout: isLong ? 600_000 : 60_000 }, () => {
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
