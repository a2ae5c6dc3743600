/** What the cursor of a run claims, and what the next run makes of it: times asked for, clocks, unverified walks, users that come back. */
import * as Batch from "../../../src/session/Batch.ts";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import { describe, expect, it } from "vitest";
import type { WalkEnd } from "../../../src/session/Batch.ts";
import { make, type Sandbox } from "../../../src/sandbox/mod.ts";
import type * as Changes from "../../../src/source/incremental/Changes.ts";
import * as Fingerprints from "../../../src/source/incremental/Fingerprints.ts";
import * as SessionSource from "../../../src/source/SessionSource.ts";
import { doubtful } from "../../doubtful.ts";
import { clientFor } from "../paging/histories.ts";
import { keyOf, putDown, walk } from "./walks.ts";

const NOW = 1_767_225_600;

interface Run {
  /** Ids and times, sorted. */
  readonly keys: ReadonlyArray<string>;
  readonly redelivered: number;
  readonly end: WalkEnd | undefined;
  readonly cursor: Changes.Cursor | undefined;
}

/** Walks the only user once; the cursor is stored as JSON between runs. */
const run = async (
  sandbox: Sandbox,
  cursor?: unknown,
  options: SessionSource.ChangesOptions = {},
): Promise<Run> => {
  const { batches, keys, end, cursor: left } = await walk(sandbox, { cursor }, options);
  const redelivered = batches.reduce((sum, { redelivered = 0 }) => sum + redelivered, 0);
  return { keys: keys.sort(), redelivered, end, cursor: left };
};

/** A tenant of one user whose clock a test sets. */
const tenant = (sessions = 0) => {
  const clock = { now: NOW };
  const sandbox = make({ users: 1, sessionsPerUser: sessions, now: () => clock.now });
  const [userId = ""] = sandbox.userIds();
  const add = (id: string, time: number) =>
    sandbox.add(userId, { session_id: id, initiated_at: time, last_updated: time });
  const listed = () => [...sandbox.sessions(userId)].map(keyOf).sort();
  return { sandbox, userId, clock, add, listed };
};

/** The same tenant, whose answers say another time, or none. */
const dated = (sandbox: Sandbox, date: string | undefined): Sandbox => ({
  ...sandbox,
  fetch: async (request) => {
    const answer = await sandbox.fetch(request);
    answer.headers.delete("date");
    if (date !== undefined) answer.headers.set("date", date);
    return answer;
  },
});

/** The same tenant, of which no walk can be verified. */
const unverifiable = (sandbox: Sandbox): Sandbox => ({
  ...sandbox,
  fetch: async (request) => doubtful(await sandbox.fetch(request)),
});

describe("a time that is asked for", () => {
  it("later than the cursor leaves the cursor where it was: the next run delivers what lies between, and nothing twice", async () => {
    const { sandbox, add, clock } = tenant();
    add("old", NOW - 9000);
    const first = await run(sandbox);
    add("between", NOW - 5000);
    add("late", NOW - 100);
    const second = await run(sandbox, first.cursor, { since: NOW - 1000 });
    expect([second.keys, second.redelivered]).toEqual([[`late ${NOW - 100}`], 0]);
    clock.now += 4000;
    add("latest", clock.now);
    const third = await run(sandbox, second.cursor);
    expect(third.keys).toEqual([`between ${NOW - 5000}`, `latest ${clock.now}`]);
    expect(third.redelivered).toBe(0);
    expect(third.cursor).toMatchObject({ at: clock.now });
    expect(third.cursor).not.toHaveProperty("spans");
    expect((await run(sandbox, third.cursor)).keys).toEqual([]);
  });

  it("without a cursor claims nothing of what is older", async () => {
    const { sandbox, listed } = tenant(120);
    const times = [...sandbox.sessions([...sandbox.userIds()][0]!)].map(({ last_updated }) => last_updated);
    const since = times.toSorted((a, b) => b - a)[70]!;
    const first = await run(sandbox, undefined, { since });
    expect(first.keys.length).toBeGreaterThan(70);
    expect(first.cursor).not.toHaveProperty("at");
    const second = await run(sandbox, first.cursor);
    expect([...first.keys, ...second.keys].sort()).toEqual(listed());
    expect(second.redelivered).toBe(0);
    expect((await run(sandbox, second.cursor)).keys).toEqual([]);
  });

  it("without a cursor and without a session since claims nothing at all", async () => {
    const { sandbox, add, listed } = tenant();
    add("old", NOW - 9000);
    const first = await run(sandbox, undefined, { since: NOW - 1000 });
    expect(first.keys).toEqual([]);
    expect((await run(sandbox, first.cursor)).keys).toEqual(listed());
  });

  it("earlier than the cursor delivers again, says so, and moves the cursor on", async () => {
    const { sandbox, add, clock, listed } = tenant();
    for (const age of [9000, 5000, 100]) add(`S${age}`, NOW - age);
    const first = await run(sandbox);
    clock.now += 1000;
    add("new", clock.now);
    const second = await run(sandbox, first.cursor, { since: NOW - 6000 });
    expect(second.keys).toEqual(listed().filter((key) => !key.startsWith("S9000")));
    expect(second.redelivered).toBe(2);
    expect(second.cursor).toMatchObject({ at: clock.now });
    expect((await run(sandbox, second.cursor)).keys).toEqual([]);
  });

  it("within the lookback of the cursor does not pass over what was shown late below it", async () => {
    const { sandbox, add } = tenant();
    add("first", NOW - 100);
    const first = await run(sandbox);
    const second = await run(sandbox, first.cursor, { since: NOW - 120 });
    add("shown-late", NOW - 350);
    expect((await run(sandbox, second.cursor)).keys).toEqual([`shown-late ${NOW - 350}`]);
  });

  it("again and again leaves gaps that are closed all at once, in a cursor that does not grow", async () => {
    const { sandbox, add, clock } = tenant();
    add("first", NOW);
    let { cursor } = await run(sandbox);
    const delivered = new Set<string>();
    const gaps: Array<string> = [];
    for (let i = 0; i < 30; i++) {
      clock.now += 10_000;
      gaps.push(keyOf(add(`gap${i}`, clock.now - 5000)));
      const asked = [keyOf(add(`above${i}`, clock.now - 1000)), keyOf(add(`below${i}`, clock.now - 1500))];
      const next = await run(sandbox, cursor, { since: clock.now - 2000 });
      expect(next.keys).toEqual(asked);
      for (const key of asked) delivered.add(key);
      cursor = next.cursor;
    }
    expect(cursor?.spans).toHaveLength(8);
    const last = await run(sandbox, cursor);
    expect(last.keys).toEqual(expect.arrayContaining(gaps));
    // The lowest spans were forgotten: what lay deep in them comes again, and is counted.
    const again = last.keys.filter((key) => delivered.has(key));
    expect(again.map((key) => key.replace(/\d+ .*/, ""))).toEqual(Array(30 - 8).fill("below"));
    expect(last.redelivered).toBeGreaterThanOrEqual(again.length);
    expect((await run(sandbox, last.cursor)).keys).toEqual([]);
  });

  it("that has not come delivers nothing, and moves no cursor", async () => {
    const { sandbox, add } = tenant();
    add("first", NOW - 1000);
    const { cursor } = await run(sandbox);
    const ahead = await run(sandbox, cursor, { since: NOW + 3600 });
    expect(ahead.keys).toEqual([]);
    add("second", NOW + 60);
    expect((await run(sandbox, ahead.cursor)).keys).toEqual([`second ${NOW + 60}`]);
  });

  it("is not what a walk that broke off was asked for: it is begun anew, and both are delivered", async () => {
    const { sandbox, userId, listed } = tenant(150);
    const times = [...sandbox.sessions(userId)].map(({ last_updated }) => last_updated).sort((a, b) => b - a);
    const state: Array<unknown> = [];
    const keys: Array<string> = [];
    await SessionSource.changes(Stream.make(userId), { since: times[80]!, pageSize: 20, concurrency: 1 })
      .pipe(
        Stream.take(2),
        Stream.runForEach((batch) =>
          Effect.sync(() => {
            keys.push(...Batch.sessions(batch).map(keyOf));
            state.push(JSON.parse(JSON.stringify(batch.state?.())));
          })
        ),
        Effect.provide(clientFor(sandbox)),
        Effect.runPromise,
      );
    expect(keys.length).toBeLessThan(80);
    const batches = await SessionSource.changes(Stream.make({ userId, state: state.at(-1) })).pipe(
      Stream.runCollect,
      Effect.provide(clientFor(sandbox)),
      Effect.runPromise,
    );
    const others = [...batches].flatMap((batch) => Batch.sessions(batch).map(keyOf));
    expect([...keys, ...others].sort()).toEqual(listed());
  });
});

describe("a walk that broke off", () => {
  it("of an earlier version, which did not say what it was asked for, is gone on with", async () => {
    const { sandbox, listed } = tenant(150);
    const since = NOW - 365 * 86_400;
    const begun = await putDown(sandbox, 2, { since, pageSize: 20 });
    const state: { watch?: { asked?: unknown } } = JSON.parse(begun.state);
    expect(state.watch?.asked).toBe(since);
    delete state.watch?.asked;
    const { keys } = await walk(sandbox, { state }, { since });
    expect([...begun.keys, ...keys].sort()).toEqual(listed());
  });
});

describe("a lookback that is longer than it was", () => {
  it("delivers what it can't know again, and says how much", async () => {
    const { sandbox, add } = tenant();
    for (const age of [4000, 2000, 200, 0]) add(`S${age}`, NOW - age);
    const first = await run(sandbox);
    const second = await run(sandbox, first.cursor, { lookback: 3000 });
    expect([second.keys, second.redelivered]).toEqual([[`S2000 ${NOW - 2000}`], 1]);
    expect((await run(sandbox, second.cursor, { lookback: 3000 })).keys).toEqual([]);
  });
});

describe("a user that can't be verified", () => {
  it("is not delivered again where nothing changed, from its first run on", async () => {
    const { sandbox, add, clock, listed } = tenant(250);
    const odd = unverifiable(sandbox);
    const first = await run(odd);
    expect(first.end?.verified).toBe(false);
    expect(first.keys).toEqual(listed());
    const second = await run(odd, first.cursor);
    expect([second.keys, second.end?.verified]).toEqual([[], false]);
    expect(second.cursor).toEqual(first.cursor);
    clock.now += 5000;
    add("new", clock.now);
    const third = await run(odd, second.cursor);
    expect(third.keys).toEqual([`new ${clock.now}`]);
    expect((await run(odd, third.cursor)).keys).toEqual([]);
    // Verified in the end, it needs to be known no more.
    const verified = await run(sandbox, third.cursor);
    expect([verified.keys, verified.redelivered]).toEqual([[], 0]);
    expect(verified.cursor).not.toHaveProperty("known");
  });

  it("is not either after it had been verified, however often", async () => {
    const { sandbox, add, clock } = tenant(150);
    let { cursor } = await run(sandbox);
    const { at } = cursor!;
    for (let runs = 0; runs < 5; runs++) {
      clock.now += 3600;
      const key = keyOf(add(`S${runs}`, clock.now));
      const next = await run(unverifiable(sandbox), cursor);
      expect([next.keys, next.end?.verified]).toEqual([[key], false]);
      expect(next.cursor?.at).toBe(at);
      cursor = next.cursor;
    }
    expect(cursor!.seen.length).toBeLessThan(10);
  });

  it("leaves a cursor of bounded size, and says how much comes again beyond that", () => {
    const lists = [[3, 1], Array.from({ length: Fingerprints.MOST }, (_, i) => 10 + i)];
    const { kept, isWhole } = Fingerprints.join(...lists);
    expect([kept.length, isWhole, kept[0], kept[1]]).toEqual([Fingerprints.MOST, false, 1, 3]);
    expect(Fingerprints.join([2, 1], [2])).toEqual({ kept: [1, 2], isWhole: true });
  });
});

describe("a long walk that can't be verified", () => {
  it.each([[4, 0], [13, 1]])(
    "put down after %d answers and gone on with, is in part delivered again once: %d",
    async (count, times) => {
      const { sandbox, listed } = tenant(2000);
      const { keys, state } = await putDown(sandbox, count);
      expect(state.length).toBeLessThan(40_000);
      const { keys: others, end } = await walk(unverifiable(sandbox), { state: JSON.parse(state) });
      expect(end?.verified).toBe(false);
      expect([...keys, ...others].sort()).toEqual(listed());
      const next = await run(unverifiable(sandbox), end?.cursor);
      expect(next.keys.length).toBe(times === 0 ? 0 : next.redelivered);
      expect(next.keys.length > 0).toBe(times > 0);
      expect((await run(unverifiable(sandbox), next.cursor)).keys).toEqual([]);
    },
  );
});

describe("fingerprints", () => {
  it("tell ids and times apart", () => {
    const prints = new Set<number>();
    for (let i = 0; i < 2000; i++) {
      for (const time of [NOW, NOW + 1, NOW + 2 ** 32, i]) prints.add(Fingerprints.of(`session-${i}`, time));
    }
    expect(prints.size).toBe(8000);
    expect([...prints].every((print) => Number.isSafeInteger(print) && print >= 0)).toBe(true);
  });
});

describe("a user that the tenant does not know any more", () => {
  const absent = (sandbox: Sandbox): Sandbox => ({
    ...sandbox,
    fetch: () => Promise.resolve(new Response(`{"title":"Not Found","status":404}`, { status: 404 })),
  });

  it("is delivered whole should it come back", async () => {
    const { sandbox, listed } = tenant(120);
    const first = await run(sandbox);
    const second = await run(absent(sandbox), first.cursor);
    expect(second.end).toMatchObject({ status: "missing", cursor: { seen: [] } });
    const still = await run(absent(sandbox), second.cursor);
    expect(still.cursor).toEqual(second.cursor);
    const back = await run(sandbox, still.cursor);
    expect([back.keys, back.redelivered]).toEqual([listed(), 120]);
    expect((await run(sandbox, back.cursor)).keys).toEqual([]);
  });

  it("has no cursor if it never had one", async () => {
    expect((await run(absent(tenant(3).sandbox))).end).not.toHaveProperty("cursor");
  });
});

describe("a time that has not come", () => {
  // A day beyond any clock that these tests run by.
  const future = Math.floor(Date.now() / 1000) + 86_400 * 400;

  it.each([
    ["no Date", undefined],
    ["a Date that can't be read", "yesterday, or so"],
    ["a Date years ahead", new Date((future + 86_400) * 1000).toUTCString()],
    ["a Date years back", "Thu, 01 Jan 1970 00:00:00 GMT"],
  ])("is no cursor, with %s", async (_, date) => {
    const { sandbox, add } = tenant();
    const now = Math.floor(Date.now() / 1000);
    const told = dated(sandbox, date);
    add("future", future);
    add("first", now - 1000);
    const first = await run(told);
    expect(first.keys).toHaveLength(2);
    expect(first.cursor?.at).toBeLessThanOrEqual(now);
    add("second", now - 500);
    const second = await run(told, first.cursor);
    expect(second.keys).toEqual([`second ${now - 500}`]);
    expect((await run(told, second.cursor)).keys).toEqual([]);
  });

  it.each([
    ["no Date", undefined, /by the clock of this machine, as the tenant tells no time/],
    ["an absurd Date", new Date((future + 86_400) * 1000).toUTCString(), /by the clock of this machine/],
    ["a Date", new Date().toUTCString(), /by the tenant's clock/],
  ])("can't be asked for, with %s", async (_, date, words) => {
    const { sandbox, add } = tenant();
    add("first", NOW);
    const told = dated(sandbox, date);
    await expect(run(told, undefined, { since: future })).rejects.toThrow(words);
    await expect(run(told, { at: future, seen: [] })).rejects.toThrow(words);
    // As far as clocks may differ, it can.
    expect((await run(told, undefined, { since: Math.floor(Date.now() / 1000) + 30 })).keys).toEqual([]);
  });
});

describe("the whole list, compared with what is there", () => {
  it("delivers what is lacking, and what was said to have ended, and nothing else", async () => {
    const { sandbox, add } = tenant();
    for (const id of ["held", "older", "ended", "lacking"]) add(id, NOW - 9000);
    add("newest", NOW);
    const { cursor } = await run(sandbox);
    const has: Record<string, Changes.Holding> = { held: "has", newest: "has", ended: "ended" };
    const second = await run(sandbox, cursor, { whole: true, holds: (_, id) => has[id] ?? "lacks" });
    expect(second.keys.map((key) => key.split(" ")[0])).toEqual(["ended", "lacking", "older"]);
    expect(second.redelivered).toBe(1);
    // A second change within a second is one that no time tells of.
    const changed: Sandbox = {
      ...sandbox,
      fetch: async (request) => {
        const answer = await sandbox.fetch(request);
        const text = await answer.text();
        return new Response(text.replace(/"expires_at":\d/, `"expires_at":2`), answer);
      },
    };
    const third = await run(changed, second.cursor, { whole: true, holds: () => "has" });
    expect(third.keys).toEqual([`newest ${NOW}`]);
  });
});
