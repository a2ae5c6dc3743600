import * as Either from "effect/Either";
import * as fc from "fast-check";
import { describe, expect, expectTypeOf, it } from "vitest";
import * as Population from "../../../src/sandbox/data/Population.ts";
import { decode, type Session } from "../../../src/session/Session.ts";

const seeds = fc.maxSafeInteger();
const text = fc.oneof(fc.string(), fc.string({ unit: "binary" }), fc.stringMatching(/^[A-Za-z0-9_-]{21}$/));

const every = (population: Population.Population): Population.SandboxSession[] =>
  Array.from(
    { length: population.users },
    (_, user) =>
      Array.from({ length: population.sessionCount(user) }, (_, index) => population.session(user, index)),
  ).flat();

describe("sessions of a population", () => {
  it("have the type that the library reads", () => {
    expectTypeOf<Population.SandboxSession>().toExtend<Session>();
  });

  it("all decode, for any seed", () => {
    fc.assert(fc.property(seeds, fc.nat(2 ** 31), fc.nat(2 ** 31), (seed, user, index) => {
      const session = Population.make({ seed }).session(user, index);
      const served = JSON.parse(JSON.stringify(session));
      expect(Either.getOrThrow(decode(served))).toEqual(session);
      expect(session.session_id).toMatch(/^[0-9A-F]{32}$/);
      expect(session.session_key ?? "0".repeat(64)).toMatch(/^[0-9A-F]{64}$/);
      expect(session.expires_at).toBeGreaterThanOrEqual(session.initiated_at);
      expect(session.last_updated).toBeGreaterThanOrEqual(session.initiated_at);
    }));
  });

  it("are the same for the same seed, in whatever order they are asked for, and others for another", () => {
    const make = (seed: number) => Population.make({ seed, users: 20, sessionsPerUser: { mean: 8 } });
    const once = JSON.stringify(every(make(7)));
    const again = make(7);
    for (let user = 19; user >= 0; user--) again.session(user, user);
    expect(JSON.stringify(every(again))).toBe(once);
    expect(JSON.stringify(every(make(8)))).not.toBe(once);
  });

  it("never share an id, and any id leads back to its session", () => {
    const place = fc.tuple(fc.nat(2 ** 32 - 1), fc.nat(2 ** 31));
    fc.assert(fc.property(seeds, place, place, (seed, [user, index], [user2, index2]) => {
      const population = Population.make({ seed });
      const id = population.session(user, index).session_id;
      expect(population.indexOf(user, id)).toBe(index);
      expect(population.session(user2, index2).session_id === id).toBe(user2 === user && index2 === index);
      if (user2 !== user) expect(population.indexOf(user2, id)).toBeUndefined();
    }));
    const ids = every(Population.make({ users: 100, sessionsPerUser: 300 })).map((session) =>
      session.session_id
    );
    expect(new Set(ids).size).toBe(30_000);
  });

  it("never sign in earlier than the one before, and some share a second", () => {
    fc.assert(
      fc.property(
        seeds,
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 1e6 }),
        (seed, n, tie) => {
          const population = Population.make({ seed, users: 1, sessionsPerUser: n, tieSeconds: tie });
          const times = Array.from({ length: n }, (_, index) => population.session(0, index).initiated_at);
          expect(times).toEqual([...times].sort((a, b) => a - b));
          expect(times.every((time) => time % tie === 0 && time <= population.until)).toBe(true);
        },
      ),
    );
    const times = every(Population.make({ users: 1, sessionsPerUser: 1000 })).map((session) =>
      session.initiated_at
    );
    expect(new Set(times).size).toBeLessThan(1000);
    expect(new Set(times).size).toBeGreaterThan(900);
  });

  it("hold everything that breaks exports, in a few percent of rows", () => {
    const rows = every(Population.make({ users: 50, sessionsPerUser: 800 }));
    const texts = new Set(rows.flatMap(({ last_metadata }) => Object.values(last_metadata ?? {})));
    const some = (pattern: RegExp) =>
      [...texts].some((text) => typeof text === "string" && pattern.test(text));
    for (
      const pattern of [
        /"/,
        /,/,
        /\n/,
        /\r\n/,
        /^\t/,
        /.\t/,
        /^ /,
        / $/,
        /^=HYPERLINK\(/,
        /^\+1$/,
        /^-1\+1$/,
        /^@SUM/,
      ]
    ) expect(some(pattern), String(pattern)).toBe(true);
    for (const script of ["Han", "Cyrillic", "Arabic", "Hebrew", "Greek", "Devanagari", "Thai", "Hangul"]) {
      expect(some(new RegExp(`\\p{Script=${script}}`, "u")), script).toBe(true);
    }
    expect(some(/\p{Extended_Pictographic}/u)).toBe(true);
    expect(texts).toContain("");
    expect(texts).toContain(null);
    expect(rows.some((row) => row.last_metadata === null)).toBe(true);
    expect(rows.some((row) => !("last_metadata" in row))).toBe(true);
    expect(rows.some((row) => row.last_metadata != null && !("city" in row.last_metadata))).toBe(true);
    expect(rows.some((row) => !("session_key" in row))).toBe(true);
    expect(rows.some((row) => row.session_key === null)).toBe(true);
    expect(new Set(rows.map((row) => row.client_ids.length))).toEqual(new Set([1, 2, 3]));
    const latitudes = rows.map((row) => row.last_metadata?.latitude);
    for (const sample of ["unknown", "-0.000001"]) expect(latitudes).toContain(sample);
    expect(latitudes.some((latitude) => latitude?.startsWith("-"))).toBe(true);
    const odd = rows.filter((row) =>
      typeof row.last_metadata?.user_agent !== "string" || row.last_metadata.city === ""
    );
    expect(odd.length / rows.length).toBeLessThan(0.05);
  });
});

describe("users of a population", () => {
  it("have ids that lead back to them, and any other text never does", () => {
    const population = Population.make({ users: 5_000 });
    const ids = Array.from({ length: 5_000 }, (_, user) => population.userId(user));
    expect(new Set(ids).size).toBe(5_000);
    expect(ids.every((id, user) => /^[A-Za-z0-9_-]{21}$/.test(id) && population.userOf(id) === user)).toBe(
      true,
    );
    fc.assert(fc.property(text, (other) => {
      expect(population.userOf(other)).toBe(ids.includes(other) ? ids.indexOf(other) : undefined);
    }));
    fc.assert(
      fc.property(fc.nat(4_999), fc.nat(20), fc.stringMatching(/^[A-Za-z0-9_-]$/), (user, at, letter) => {
        const id = ids[user] as string;
        const other = id.slice(0, at) + letter + id.slice(at + 1);
        expect(population.userOf(other)).toBe(other === id ? user : undefined);
      }),
    );
    expect(population.userOf(population.userId(5_000))).toBeUndefined();
  });

  it("have exactly the sessions asked for, or many few and some a lot", () => {
    const exact = Population.make({ users: 10, sessionsPerUser: 7 });
    expect(Array.from({ length: 10 }, (_, user) => exact.sessionCount(user))).toEqual(Array(10).fill(7));
    const skewed = Population.make({ users: 20_000, sessionsPerUser: { mean: 50 } });
    const counts = Array.from({ length: 20_000 }, (_, user) => skewed.sessionCount(user)).sort((a, b) =>
      a - b
    );
    const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
    expect(mean).toBeGreaterThan(40);
    expect(mean).toBeLessThan(60);
    expect(counts[10_000]).toBeLessThan(20);
    expect(counts.at(-1)).toBeGreaterThan(2_000);
  });
});

describe("make() of a population", () => {
  it("names the option that is out of range", () => {
    const cases: readonly (readonly [Population.PopulationOptions, string])[] = [
      [{ users: -1 }, "'users' must be an integer from 0 to 4294967295: found -1"],
      [{ users: 1.5 }, "'users'"],
      [{ seed: Number.NaN }, "'seed' must be an integer"],
      [{ sessionsPerUser: -3 }, "'sessionsPerUser'"],
      [{ sessionsPerUser: { mean: -3 } }, "'sessionsPerUser.mean' must be a number of at least 0: found -3"],
      [{ tieSeconds: 0 }, "'tieSeconds'"],
      [{ from: 10, until: 9 }, "'from' must be an integer from 0 to 9: found 10"],
    ];
    for (const [options, message] of cases) {
      expect(() => Population.make(options)).toThrow(RangeError);
      expect(() => Population.make(options)).toThrow(message);
    }
  });
});
