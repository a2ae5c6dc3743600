import * as Either from "effect/Either";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { make, type SandboxSession } from "../../src/sandbox/mod.ts";
import { decode } from "../../src/session/Session.ts";
import { ask, askJson, firstUser, sessionsPath, walk } from "./ask.ts";

const keys = ["session_id", "initiated_at", "expires_at", "last_updated"] as const;
const orders = [1, -1] as const;

const isSorted = (rows: readonly SandboxSession[], key: typeof keys[number], order: number): boolean =>
  rows.every((row, at) => {
    const before = rows[at - 1]?.[key] ?? row[key];
    return order === 1 ? before <= row[key] : before >= row[key];
  });

describe("walking the pages", () => {
  it("finds every session exactly once for any key, order and size", async () => {
    const asked = fc.record({
      seed: fc.nat(),
      sessionsPerUser: fc.nat(60),
      tieSeconds: fc.constantFrom(1, 86_400, 10_000_000),
      changed: fc.boolean(),
      key: fc.constantFrom(...keys),
      order: fc.constantFrom(...orders),
      size: fc.integer({ min: 1, max: 25 }),
    });
    await fc.assert(fc.asyncProperty(asked, async ({ changed, key, order, size, ...options }) => {
      const sandbox = make({ users: 3, ...options });
      const userId = firstUser(sandbox);
      if (changed) {
        for (const at of [0, 1, 2]) sandbox.add(userId, at === 1 ? { initiated_at: 1_766_000_000 } : {});
        const [first] = sandbox.sessions(userId);
        sandbox.remove(userId, first?.session_id ?? "");
      }
      const rows = await walk(sandbox, userId, { size, sort: `${key}:${order}` });
      const expected = [...sandbox.sessions(userId)];
      expect(rows.map((row) => row.session_id).sort()).toEqual(expected.map((row) => row.session_id).sort());
      expect(isSorted(rows, key, order)).toBe(true);
    }));
  });

  it("goes through a user of a hundred thousand sessions", async () => {
    const sandbox = make({ users: 1, sessionsPerUser: 100_000 });
    const rows = await walk(sandbox, firstUser(sandbox), { size: 5_000, sort: "expires_at:-1" });
    expect(new Set(rows.map((row) => row.session_id)).size).toBe(100_000);
    expect(isSorted(rows, "expires_at", -1)).toBe(true);
  });
});

describe("ties: unstable", () => {
  it("gives equals another order on every request, and on one request each row once", async () => {
    const make1 = () => make({ users: 1, sessionsPerUser: 60, tieSeconds: 30 * 86_400, ties: "unstable" });
    const sandbox = make1();
    const userId = firstUser(sandbox);
    for (const sort of ["initiated_at:1", "initiated_at:-1"]) {
      const path = sessionsPath(userId, { size: 60, sort });
      const [one, two] = [await askJson(sandbox, path), await askJson(sandbox, path)];
      expect(one).not.toEqual(two);
      const ids = (rows: SandboxSession[]) => rows.map((row) => row.session_id).sort();
      expect(ids(one)).toEqual(ids(two));
      expect(new Set(ids(one)).size).toBe(60);
      expect(isSorted(one, "initiated_at", sort.endsWith(":1") ? 1 : -1)).toBe(true);
    }
    const first = await askJson(make1(), sessionsPath(userId));
    expect(await askJson(make1(), sessionsPath(userId))).toEqual(first);
  });

  it("leaves rows alone that have no equals", async () => {
    const sandbox = make({ users: 1, sessionsPerUser: 60, ties: "unstable" });
    const path = sessionsPath(firstUser(sandbox), { size: 60, sort: "session_id:1" });
    expect(await askJson(sandbox, path)).toEqual(await askJson(sandbox, path));
  });
});

describe("pages of surprising shape", () => {
  it("are cut to maxSize, and say so", async () => {
    const sandbox = make({ users: 1, sessionsPerUser: 60, maxSize: 20 });
    const response = await ask(sandbox, sessionsPath(firstUser(sandbox), { size: 50, page: 2 }));
    expect(JSON.parse(response.headers.get("x-pagination") ?? "")).toMatchObject({
      page_size: 20,
      has_next: true,
    });
    expect(await response.json()).toEqual([...sandbox.sessions(firstUser(sandbox))].slice(20, 40));
  });

  it("are refused beyond maxSize when overSize is reject", async () => {
    const sandbox = make({ users: 1, maxSize: 20, overSize: "reject" });
    const response = await ask(sandbox, sessionsPath(firstUser(sandbox), { size: 21 }));
    expect(response.status).toBe(422);
    expect((await response.json()).errors.size[0]).toContain("at most 20");
    expect((await ask(sandbox, sessionsPath(firstUser(sandbox), { size: 20 }))).status).toBe(200);
  });

  it("come without a pagination header, or with a wrong one", async () => {
    const absent = make({ paginationHeader: "absent" });
    expect((await ask(absent, "/api/users")).headers.has("x-pagination")).toBe(false);
    const malformed = make({ paginationHeader: "malformed" });
    for (let page = 1; page < 20; page++) {
      const text = (await ask(malformed, `/api/users?page=${page}`)).headers.get("x-pagination") ?? "";
      const pagination = () => JSON.parse(text);
      expect(
        text.endsWith("}") || text.endsWith("]") || text === "null"
          ? typeof pagination()?.total_count
          : "cut",
      )
        .not.toBe("number");
    }
  });

  it("carry fields that no version knows, and numbers that JavaScript cannot hold", async () => {
    const sandbox = make({ users: 1, sessionsPerUser: 300, unknownFields: true });
    const userId = firstUser(sandbox);
    const text = await (await ask(sandbox, sessionsPath(userId, { size: 300 }))).text();
    const digits = [...text.matchAll(/"sequence":(\d+)/g)].map(([, number]) => number as string);
    expect(digits).toHaveLength(300);
    expect(digits.every((number) => String(Number(number)) !== number)).toBe(true);
    const rows = JSON.parse(text);
    const sound = [...sandbox.sessions(userId)];
    for (const [at, row] of rows.entries()) {
      const { sequence: _, device, last_metadata, ...rest } = row;
      const { asn, as_name, ...metadata } = last_metadata ?? {};
      expect(device).toBeTypeOf("object");
      if (Object.keys(metadata).length > 0) {
        expect([typeof asn, typeof as_name]).toEqual(["number", "string"]);
      }
      const { last_metadata: expected, ...others } = sound[at] as SandboxSession;
      expect(rest).toEqual(others);
      expect(metadata).toEqual(expected ?? {});
      expect(Either.isRight(decode(row))).toBe(true);
    }
  });
});

describe("malformed", () => {
  it("never breaks a row at 0, and breaks every row at 1", async () => {
    await fc.assert(fc.asyncProperty(fc.nat(), fc.constantFrom(0, 1), async (seed, malformed) => {
      const sandbox = make({ seed, users: 1, sessionsPerUser: 30, malformed });
      const rows = await askJson(sandbox, sessionsPath(firstUser(sandbox), { size: 30 }));
      expect(rows.map((row: unknown) => Either.isRight(decode(row)))).toEqual(
        Array(30).fill(malformed === 0),
      );
    }));
  });

  it("breaks about its share, always the same rows, which keep their places", async () => {
    const sandbox = make({ users: 1, sessionsPerUser: 1_000, malformed: 0.1 });
    const userId = firstUser(sandbox);
    const rows = await walk(sandbox, userId, { size: 1_000 });
    const broken = rows.flatMap((row, at) => Either.isLeft(decode(row)) ? [at] : []);
    expect(broken.length).toBeGreaterThan(60);
    expect(broken.length).toBeLessThan(140);
    expect(await walk(sandbox, userId, { size: 7 })).toEqual(rows);
    const sound = [...sandbox.sessions(userId)];
    for (const [at, row] of rows.entries()) if (!broken.includes(at)) expect(row).toEqual(sound[at]);
  });
});

describe("make() of a sandbox", () => {
  it("names the option that is out of range", () => {
    expect(() => make({ malformed: 1.1 })).toThrow("'malformed' must be a rate from 0 to 1: found 1.1");
    expect(() => make({ maxSize: 0 })).toThrow("'maxSize'");
    expect(() => make({ ties: "loose" as never })).toThrow(
      '\'ties\' must be one of "stable", "unstable": found loose',
    );
    expect(() => make({ faults: { reset: -0.1 } })).toThrow(
      "'faults.reset' must be a rate from 0 to 1: found -0.1",
    );
    expect(() => make({ faults: { reset: 0.6, cut: 0.6 } })).toThrow("'faults' must be rates that add up");
    expect(() => make({ faults: { churn: { inserts: -1 } } })).toThrow("'faults.churn.inserts'");
    expect(() => make({ faults: { rateLimit: { perSecond: 0 } } })).toThrow("'faults.rateLimit.perSecond'");
    expect(() => make({ users: Number.NaN })).toThrow(RangeError);
  });
});
