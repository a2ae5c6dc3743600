import { describe, expect, it } from "vitest";
import { make, type SessionsRequest } from "../../src/sandbox/mod.ts";
import { askJson, firstUser, sessionsPath, walk } from "./ask.ts";

const ids = (rows: Iterable<{ readonly session_id: string }>): string[] =>
  [...rows].map((row) => row.session_id);

describe("changes to the sessions", () => {
  it("add() signs in now, which is after every earlier session", async () => {
    const sandbox = make({ users: 2, sessionsPerUser: 30 });
    const userId = firstUser(sandbox);
    const before = [...sandbox.sessions(userId)];
    const [one, two] = [sandbox.add(userId), sandbox.add(userId)];
    expect(one.initiated_at).toBeGreaterThan(before.at(-1)?.last_updated ?? Infinity);
    expect(two.initiated_at).toBeGreaterThan(one.initiated_at);
    expect([...sandbox.sessions(userId)]).toEqual([...before, one, two]);
    expect(await walk(sandbox, userId, { size: 10 })).toEqual([...before, one, two]);
    expect(sandbox.sessionCount(userId)).toBe(32);
  });

  it("add() puts a back-dated session where it belongs", () => {
    const sandbox = make({ users: 1, sessionsPerUser: 30 });
    const userId = firstUser(sandbox);
    const sixth = [...sandbox.sessions(userId)][5];
    const late = sandbox.add(userId, { initiated_at: sixth?.initiated_at ?? 0, client_ids: ["another"] });
    expect(ids(sandbox.sessions(userId)).indexOf(late.session_id)).toBe(6);
    expect(late.client_ids).toEqual(["another"]);
    expect(() => sandbox.add(userId, { session_id: late.session_id })).toThrow("'session_id' must be new");
  });

  it("remove() takes one session out, once", async () => {
    const sandbox = make({ users: 1, sessionsPerUser: 30 });
    const userId = firstUser(sandbox);
    const before = ids(sandbox.sessions(userId));
    expect(sandbox.remove(userId, before[7] as string)).toBe(true);
    expect(sandbox.remove(userId, before[7] as string)).toBe(false);
    const after = before.filter((_, at) => at !== 7);
    expect(ids(sandbox.sessions(userId))).toEqual(after);
    expect(ids(await walk(sandbox, userId, { size: 10, sort: "initiated_at:-1" }))).toEqual(after.reverse());
  });

  it("update() moves a session to the end of last_updated, and nowhere in initiated_at", async () => {
    const sandbox = make({ users: 1, sessionsPerUser: 30 });
    const userId = firstUser(sandbox);
    await walk(sandbox, userId, { size: 10, sort: "last_updated:1" });
    const before = ids(sandbox.sessions(userId));
    expect(sandbox.update(userId, before[7] as string)).toBe(true);
    expect(sandbox.update(userId, "gone")).toBe(false);
    expect(ids(sandbox.sessions(userId))).toEqual(before);
    expect(ids(await walk(sandbox, userId, { size: 10, sort: "last_updated:1" })).at(-1)).toBe(before[7]);
  });

  it("of a user who is not there throw", () => {
    const sandbox = make({ users: 1 });
    for (const change of [sandbox.add, sandbox.remove, sandbox.update, sandbox.sessions]) {
      expect(() => change("nobody", "nothing" as never)).toThrow('The sandbox has no user "nobody"');
    }
  });

  it("happen by the clock given, which also ends the generated time", () => {
    let now = 1_800_000_000.7;
    const sandbox = make({ users: 1, sessionsPerUser: 10, now: () => now });
    const userId = firstUser(sandbox);
    expect([...sandbox.sessions(userId)].every((session) => session.last_updated <= now)).toBe(true);
    now += 3_600;
    expect(sandbox.add(userId).initiated_at).toBe(1_800_003_600);
  });
});

describe("beforeAnswer", () => {
  it("is told of each list of sessions, and what it changes is in the answer", async () => {
    const seen: SessionsRequest[] = [];
    const sandbox = make({
      users: 1,
      sessionsPerUser: 12,
      beforeAnswer(request) {
        seen.push(request);
        if (request.number === 2) sandbox.remove(request.userId, first as string);
      },
    });
    const userId = firstUser(sandbox);
    const all = ids(sandbox.sessions(userId));
    const [first] = all;
    await askJson(sandbox, sessionsPath(userId, { size: 5 }));
    await askJson(sandbox, "/api/users");
    const second = await askJson(sandbox, sessionsPath(userId, { size: 5, page: 2, sort: "initiated_at:1" }));
    // Sessions moved up by one: the page after the removal skips one, as offset paging does.
    expect(ids(second)).toEqual(all.slice(6, 11));
    expect(seen).toEqual([
      { userId, page: 1, size: 5, sort: "initiated_at:1", number: 1 },
      { userId, page: 2, size: 5, sort: "initiated_at:1", number: 2 },
    ]);
  });
});

describe("churn", () => {
  it("changes the user asked about alone, by about the numbers given, the same way every time", async () => {
    const run = async () => {
      const sandbox = make({
        users: 2,
        sessionsPerUser: 200,
        faults: { churn: { deletes: 0.5, inserts: 1.5, updates: 1 } },
      });
      const [userId, other] = [...sandbox.userIds()] as [string, string];
      const [before, untouched] = [[...sandbox.sessions(userId)], [...sandbox.sessions(other)]];
      for (let time = 0; time < 100; time++) await askJson(sandbox, sessionsPath(userId));
      const after = [...sandbox.sessions(userId)];
      expect([...sandbox.sessions(other)]).toEqual(untouched);
      const inserted = ids(after).filter((id) => !ids(before).includes(id)).length;
      const updated = after.filter((row) =>
        row.last_updated > 1_767_225_600 && row.initiated_at <= 1_767_225_600
      );
      expect(inserted).toBeGreaterThan(100);
      expect(inserted).toBeLessThan(160);
      expect(before.length + inserted - after.length).toBeGreaterThanOrEqual(0);
      expect(updated.length).toBeGreaterThan(20);
      return after;
    };
    expect(await run()).toEqual(await run());
  });

  it("leaves an empty list empty when nothing comes in", async () => {
    const sandbox = make({ users: 1, sessionsPerUser: 2, faults: { churn: { deletes: 1, updates: 1 } } });
    for (let time = 0; time < 5; time++) await askJson(sandbox, sessionsPath(firstUser(sandbox)));
    expect([...sandbox.sessions(firstUser(sandbox))]).toEqual([]);
  });
});
