import * as Either from "effect/Either";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as Session from "../../src/session/Session.ts";
import { example, served } from "../contract/sessions.ts";

const problem = (row: unknown): string =>
  Either.match(Session.decode(row), { onLeft: ({ message }) => message, onRight: () => "none" });

describe("decode()", () => {
  it("accepts any session, and returns it with every member it came with", () => {
    fc.assert(fc.property(served, ({ session, source }) => {
      const decoded = Either.getOrThrow(Session.decode(session));
      expect(JSON.stringify(decoded)).toBe(JSON.stringify(JSON.parse(source)));
      expect(Object.getPrototypeOf(decoded)).toBe(Object.prototype);
    }));
  });

  it("keeps unknown members, also those named __proto__", () => {
    const text = '{"session_id":"S","client_ids":[],"initiated_at":1,"expires_at":1,"last_updated":1,' +
      '"__proto__":{"user_id":"bob"},"last_metadata":{"__proto__":1,"new":[2]}}';
    expect(JSON.stringify(Either.getOrThrow(Session.decode(JSON.parse(text))))).toBe(text);
  });

  it.each([
    ["session_id", ""],
    ["session_id", null],
    ["session_key", 1],
    ["client_ids", null],
    ["client_ids", [1]],
    ["initiated_at", "1640975400"],
    ["initiated_at", -1],
    ["expires_at", 1.5],
    ["last_updated", 1_640_975_400_000],
    ["last_metadata", []],
    ["last_metadata", { latitude: 34.04 }],
  ])("refuses %s %j, and says which field it is", (name, value) => {
    expect(problem(example({ [name]: value }))).toMatch(new RegExp(`^${name}`));
  });

  it.each([null, [], "text", 1])("refuses %j", (row) => expect(problem(row)).not.toBe("none"));

  it("accepts null and absence wherever a session may lack something", () => {
    const { session_key: _, last_metadata: __, ...least } = example();
    expect(problem(least)).toBe("none");
    expect(problem({ ...least, session_key: null, last_metadata: null })).toBe("none");
    expect(problem({ ...least, last_metadata: {} })).toBe("none");
  });
});

describe("describe()", () => {
  it("names every field that is wrong", () => {
    expect(problem({ ...example(), expires_at: 1.5, last_metadata: { city: 1 } }))
      .toMatch(/expires_at: .*1\.5; last_metadata\.city: /);
  });
});

describe("flaws()", () => {
  const flaws = (row: unknown): string =>
    Session.flawedFields(Either.getOrThrow(Either.flip(Session.decode(row))));

  it("names every field that is wrong, once, and nothing of its value", () => {
    expect(flaws({ ...example(), session_id: "", client_ids: ["a", 1], last_metadata: { city: 7 } }))
      .toBe("session_id, client_ids.1, last_metadata.city, last_metadata"); // no null either
    expect(flaws({ ...example(), expires_at: undefined })).toBe("expires_at");
    expect(flaws("203.0.113.7")).toBe("the row as a whole");
  });
});
