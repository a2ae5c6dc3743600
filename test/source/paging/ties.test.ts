/** Many rows with one sort key: nothing is missing, and few more requests are made than plain paging takes. */
import * as Batch from "../../../src/session/Batch.ts";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import { make, type SandboxOptions } from "../../../src/sandbox/mod.ts";
import * as SessionSource from "../../../src/source/SessionSource.ts";
import * as UserSource from "../../../src/source/UserSource.ts";
import * as Transport from "../../../src/api/transport/Transport.ts";
import * as TenantClient from "../../../src/api/TenantClient.ts";
import { tenantAt } from "../../api/asking.ts";
import { clientFor } from "./histories.ts";
import { make as makeLying } from "../lyingTenant.ts";
import * as Layer from "effect/Layer";
import { isLong, oneIn } from "../../size.ts";

const T0 = 1_700_000_000;

interface Tied {
  /** How many sessions share one second, and how many older ones there are, each in a second of its own. */
  readonly block: number;
  readonly older: number;
  readonly pageSize: number;
  readonly concurrency: number | "auto";
  readonly isIncremental?: boolean;
  /** Whether sessions come and go while the list is read. */
  readonly isChanging?: boolean;
  readonly sandbox?: SandboxOptions;
}

const read = async (
  { block, older, pageSize, concurrency, isIncremental = false, isChanging = false, sandbox: options }: Tied,
) => {
  let isReading = false;
  const gone = new Set<string>();
  const sandbox = make({
    users: 1,
    sessionsPerUser: 0,
    now: () => T0 + 10_000,
    ...options,
    beforeAnswer: ({ number }) => {
      if (!isReading || !isChanging) return;
      if (number % 2 === 0) sandbox.add(userId);
      const present = [...sandbox.sessions(userId)];
      const one = present[(number * 7919) % present.length];
      if (one !== undefined && number % 3 === 0) {
        gone.add(one.session_id);
        sandbox.remove(userId, one.session_id);
      }
    },
  });
  const [userId = ""] = sandbox.userIds();
  const at = (time: number) => ({ initiated_at: time, expires_at: time + 86_400, last_updated: time });
  for (let n = 1; n <= older; n++) sandbox.add(userId, at(T0 - 10 * n));
  for (let n = 0; n < block; n++) sandbox.add(userId, at(T0));
  const there = [...sandbox.sessions(userId)].map(({ session_id }) => session_id);
  isReading = true;
  const walk = { pageSize, concurrency };
  const since = isIncremental ? T0 - 5 : undefined;
  const batches = [
    ...await (since === undefined
      ? SessionSource.batches(Stream.make(userId), walk)
      : SessionSource.changes(Stream.make(userId), { ...walk, since }))
      .pipe(Stream.runCollect, Effect.provide(clientFor(sandbox)), Effect.runPromise),
  ];
  const delivered = new Set(
    batches.flatMap((batch) => Batch.sessions(batch).map(({ session_id }) => session_id)),
  );
  const wanted = isIncremental ? there.slice(older) : there;
  return {
    missing: wanted.filter((id) => !gone.has(id) && !delivered.has(id)).length,
    repeated: batches.reduce((sum, batch) => sum + Batch.size(batch), 0) - delivered.size,
    verified: batches.at(-1)?.end?.verified,
    requests: sandbox.counts.total,
  };
};

const whole = { missing: 0, repeated: 0, verified: true };

describe("many sessions in one second", () => {
  it("cost few requests: those that were seen to cost hundreds", async () => {
    const cases: ReadonlyArray<readonly [Tied, most: number]> = [
      [{ block: 199, older: 60, pageSize: 100, concurrency: 1 }, 3],
      [{ block: 150, older: 60, pageSize: 100, concurrency: 1, isIncremental: true }, 4],
      [{ block: 1500, older: 60, pageSize: 1000, concurrency: 1 }, 2],
      [{ block: 450, older: 0, pageSize: 100, concurrency: 1 }, 20],
      [{ block: 450, older: 200, pageSize: 100, concurrency: "auto" }, 20],
      [
        { block: 450, older: 0, pageSize: 100, concurrency: 1, sandbox: { maxSize: 100, ties: "unstable" } },
        20,
      ],
    ];
    for (const [tied, most] of cases) {
      const found = await read(tied);
      expect(found, JSON.stringify(tied)).toMatchObject(whole);
      expect(found.requests, JSON.stringify(tied)).toBeLessThanOrEqual(most);
    }
  });

  it.each([10, 100, 1000])(
    "of 2 to 2,000, quiet and changing, full and incremental, at %i a page",
    async (pageSize) => {
      const table: Array<string> = [];
      const all = oneIn(5, [2, 5, 9, 15, 20, 50, 150, 199, 450, 1000, 1999, 2000]);
      const blocks = all.filter((block) => isLong || block <= 50 * pageSize);
      for (const concurrency of [1, "auto"] as const) {
        for (const isIncremental of [false, true]) {
          for (const isChanging of [false, true]) {
            const cells: Array<string> = [];
            for (const block of blocks) {
              const older = 60;
              const found = await read({ block, older, pageSize, concurrency, isIncremental, isChanging });
              const plain = Math.ceil((isIncremental ? block + 1 : block + older) / pageSize) || 1;
              cells.push(`${block}: ${found.requests}/${plain}`);
              expect(found, `${block} ${concurrency} ${isIncremental} ${isChanging}`).toMatchObject(whole);
              if (!isChanging && block <= 2 * pageSize) {
                expect(found.requests, `${block} ${concurrency} ${isIncremental}`).toBeLessThanOrEqual(
                  5 * plain,
                );
              }
            }
            table.push(
              `${concurrency} at once, ${isIncremental ? "incremental" : "full"}, ${
                isChanging ? "changing" : "quiet"
              }: ${cells.join("  ")}`,
            );
          }
        }
      }
      if (isLong) console.log(`${pageSize} a page, requests/plain paging:\n${table.join("\n")}`);
    },
  );
});

describe("350 users created in one second", () => {
  const list = async (options: { readonly span: number; readonly maxSize?: number }) => {
    const tenant = makeLying({ seed: 1, sessions: Array.from({ length: 350 }, () => 0), ...options });
    const batches = [
      ...await UserSource.all().pipe(
        Stream.runCollect,
        Effect.provide(TenantClient.layerOf(tenantAt("https://acme.example"), { rate: 1e6 })),
        Effect.provide(Layer.succeed(Transport.Transport, tenant.transport)),
        Effect.runPromise,
      ),
    ];
    const ids = batches.flatMap(({ userIds }) => userIds);
    expect(new Set(ids)).toEqual(new Set(tenant.userIds));
    expect(ids).toHaveLength(350);
    expect(batches.at(-1)?.unverifiedReasons).toEqual([]);
    return tenant.requests();
  };

  it("are all named and verified, at most three times the requests of users in seconds of their own", async () => {
    for (const maxSize of [undefined, 100]) {
      const options = maxSize === undefined ? {} : { maxSize };
      const [tied, apart] = [await list({ span: 1, ...options }), await list({ span: 1e9, ...options })];
      console.log(`at most ${maxSize ?? "any"} a page: ${tied} requests, ${apart} without ties`);
      expect(tied).toBeLessThanOrEqual(3 * apart);
    }
  });
});
