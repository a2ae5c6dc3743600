import * as Batch from "../../src/session/Batch.ts";
import * as Cause from "effect/Cause";
import * as Effect from "effect/Effect";
import * as Exit from "effect/Exit";
import * as Fiber from "effect/Fiber";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import * as Sandbox from "../../src/sandbox/mod.ts";
import * as TenantClient from "../../src/api/TenantClient.ts";
import * as Transport from "../../src/api/transport/Transport.ts";
import * as SessionSource from "../../src/source/SessionSource.ts";
import { tenantAt } from "../api/asking.ts";

const over = (transport: Layer.Layer<Transport.Transport>) =>
  Layer.provide(TenantClient.layerOf(tenantAt("https://acme.example"), { rate: 1e5 }), transport);

const pageOf = (rows: ReadonlyArray<unknown>, page: number, size: number): Response => {
  const its = rows.slice((page - 1) * size, page * size);
  if (its.length === 0 && page > 1) {
    return new Response(JSON.stringify({ title: "Not Found", status: 404 }), { status: 404 });
  }
  const pagination = {
    page_size: size,
    current_page: page,
    total_count: rows.length,
    has_previous: page > 1,
    has_next: page * size < rows.length,
  };
  return new Response(JSON.stringify(its), { headers: { "x-pagination": JSON.stringify(pagination) } });
};

interface Shrinking {
  readonly sessions: number;
  /** Whether all were initiated in one second, so that pages in that order do not overlap. */
  readonly areAlike?: boolean;
  readonly options: SessionSource.SessionSourceOptions;
  /** At which request so many are left. */
  readonly at: (request: number, sort: string) => boolean;
  readonly left: number;
  /** How long a page with rows takes, and one without, and how long each batch is worked at, in milliseconds. */
  readonly takes: readonly [page: number, none: number, batch: number];
}

/** Reads a list that shrinks, of a tenant that answers 404 past its end: what was lost, and what came twice. */
const readShrinking = async (
  { sessions, areAlike = false, options, at, left, takes: [page, none, batch] }: Shrinking,
) => {
  let rows = Array.from({ length: sessions }, (_, n) => {
    const times = {
      initiated_at: areAlike ? 1_600_000_000 : 1_600_000_000 - n,
      expires_at: 1_700_000_000 + n,
      last_updated: 1_600_000_000,
    };
    return { session_id: `S${String(n).padStart(5, "0")}`, client_ids: [], ...times };
  });
  let requests = 0;
  let hasShrunk = false;
  const fetch: typeof globalThis.fetch = async (input) => {
    const { searchParams } = new URL(String(input));
    if (!hasShrunk && at(++requests, searchParams.get("sort") ?? "")) {
      hasShrunk = true;
      rows = rows.slice(0, left);
    }
    // The rows lie in every order that is asked for.
    const answer = pageOf(rows, Number(searchParams.get("page")), Number(searchParams.get("size")));
    const delay = answer.status === 200 ? page : none;
    if (delay > 0) await new Promise((resolve) => setTimeout(resolve, delay));
    return answer;
  };
  const ids: Array<string> = [];
  await Effect.runPromise(
    SessionSource.batches(Stream.make("mia"), options).pipe(
      Stream.runForEach((found) =>
        Effect.delay(
          Effect.sync(() => Batch.sessions(found).forEach(({ session_id }) => ids.push(session_id))),
          batch,
        )
      ),
      Effect.provide(over(Transport.fetch(fetch))),
    ),
  );
  expect(hasShrunk).toBe(true);
  return {
    lost: rows.filter(({ session_id }) => !ids.includes(session_id)).length,
    twice: ids.length - new Set(ids).size,
  };
};

describe("batches()", () => {
  it("lose nothing where it is known that a page is not there before those ahead of it have come", async () => {
    const found = await readShrinking({
      sessions: 600,
      areAlike: true,
      options: { concurrency: 8, pageSize: 100 },
      at: (_, sort) => sort === "session_id:1",
      left: 350,
      takes: [6, 0, 0],
    });
    expect(found).toEqual({ lost: 0, twice: 0 });
  });

  it("lose nothing where that is known while a page is being handed on", async () => {
    const found = await readShrinking({
      sessions: 2000,
      options: { concurrency: 8, pageSize: 100, sort: "expires_at:1" },
      at: (request) => request === 15,
      left: 1100,
      takes: [5, 5, 60],
    });
    expect(found).toEqual({ lost: 0, twice: 0 });
  });

  it("end at once where they go on from the state of a walk's last batch", async () => {
    const sandbox = Sandbox.make({ users: 1, sessionsPerUser: 30 });
    const [userId = ""] = sandbox.userIds();
    const tenant = Layer.provide(
      TenantClient.layerOf(tenantAt("https://sandbox.example", sandbox.key), { rate: 1e5 }),
      Transport.fetch((input, init) => sandbox.fetch(new Request(input, init))),
    );
    const read = async (state?: unknown) => [
      ...await Effect.runPromise(
        SessionSource.batches(Stream.make({ userId, state })).pipe(Stream.runCollect, Effect.provide(tenant)),
      ),
    ];
    const state: unknown = (await read()).at(-1)?.state?.();
    const batches = await read(JSON.parse(JSON.stringify(state)));
    expect(batches.map((batch) => [Batch.size(batch), batch.end?.status, batch.end?.verified])).toEqual([
      [0, "complete", true],
    ]);
    expect(sandbox.counts.total).toBe(1);
  });

  const sandbox = Sandbox.make({ users: 30 });
  const ids = [...sandbox.userIds()];
  const fetch: typeof globalThis.fetch = (input, init) => sandbox.fetch(new Request(input, init));
  const whole = Layer.provide(
    TenantClient.layerOf(tenantAt("https://sandbox.example", sandbox.key), { rate: 1e5 }),
    Transport.fetch(fetch),
  );

  it.each([1, 8, "auto"] as const)(
    "end when what they wait for is interrupted, %s at once",
    async (concurrency) => {
      const joined = Effect.flatMap(
        Effect.forkDaemon(Effect.never),
        (fiber) => Effect.zipRight(Fiber.interrupt(fiber), Fiber.join(fiber)),
      );
      for (const interrupted of [Effect.interrupt, joined]) {
        const users = Stream.concat(Stream.fromIterable(ids), Stream.fromEffect(interrupted));
        const exit = await Effect.runPromiseExit(
          SessionSource.batches(users, { concurrency }).pipe(Stream.runDrain, Effect.provide(whole)),
        );
        expect(Exit.isFailure(exit) && Cause.isInterrupted(exit.cause)).toBe(true);
      }
    },
  );

  it.each([1, 8, "auto"] as const)(
    "end when one request interrupts itself, %s at once",
    async (concurrency) => {
      let requests = 0;
      const plain = Transport.ofFetch(fetch);
      const transport = Layer.succeed(Transport.Transport, {
        get: (...request: Parameters<typeof plain.get>) =>
          ++requests === 12 ? Effect.interrupt : plain.get(...request),
      });
      const tenant = Layer.provide(
        TenantClient.layerOf(tenantAt("https://sandbox.example", sandbox.key), { rate: 1e5 }),
        transport,
      );
      const exit = await Effect.runPromiseExit(
        SessionSource.batches(Stream.fromIterable(ids), { concurrency }).pipe(
          Stream.runDrain,
          Effect.provide(tenant),
        ),
      );
      expect(Exit.isFailure(exit) && Cause.isInterrupted(exit.cause)).toBe(true);
    },
  );
});
