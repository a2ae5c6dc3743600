import { describe, expect, it } from "vitest";
import * as JsonRows from "../../src/scan/JsonRows.ts";
import * as Batch from "../../src/session/Batch.ts";
import { examples } from "../contract/sessions.ts";

const sessions = examples(4);
const served: Batch.Batch = {
  ...Batch.make("alice", sessions),
  source: JsonRows.of(sessions.map((session) => JSON.stringify(session))),
  end: { status: "complete", verified: true, doubts: [] },
};

describe("make()", () => {
  it("makes a batch of sessions, without text and without an end", () => {
    expect(Batch.make("alice", sessions)).toEqual({ userId: "alice", sessions, rejected: [] });
  });
});

describe("filter()", () => {
  it("keeps sessions and their text together, and the rest of the batch", () => {
    const kept = Batch.filter(served, ({ session_id }, userId) => userId === "alice" && session_id !== "S1");
    expect(kept.sessions.map(({ session_id }) => session_id)).toEqual(["S0", "S2", "S3"]);
    expect(kept.sessions.map((_, index) => JSON.parse(JsonRows.text(kept.source!, index)))).toEqual(
      kept.sessions,
    );
    expect(kept.end).toBe(served.end);
  });

  it("leaves a batch without text without text", () => {
    expect(Batch.filter(Batch.make("alice", sessions), () => true)).toEqual(Batch.make("alice", sessions));
  });
});

describe("map()", () => {
  it("changes each session and drops the text, which no longer says the same", () => {
    const changed = Batch.map(served, (session, userId) => ({ ...session, session_key: userId }));
    expect(changed.sessions.map(({ session_key }) => session_key)).toEqual([
      "alice",
      "alice",
      "alice",
      "alice",
    ]);
    expect(changed.source).toBeUndefined();
    expect(changed.end).toBe(served.end);
  });
});

describe("sourceOf()", () => {
  const source = JsonRows.of(sessions.map((session) => JSON.stringify(session)));
  const lazily = () => Object.assign(Batch.served(source, () => sessions), { userId: "alice", rejected: [] });

  it("is the text of sessions that are as served, whether anybody has looked at them or not", () => {
    const batch = lazily();
    expect(Batch.sourceOf(batch)).toBe(source);
    // To ask was not to look.
    expect(Object.getOwnPropertyDescriptor(batch, "sessions")?.get).toBeDefined();
    expect(batch.sessions).toBe(sessions);
    expect(Batch.sourceOf(batch)).toBe(source);
    expect(Batch.sourceOf(Object.assign({}, batch, { userId: "bob" }))).toBe(source);
    expect(Batch.sourceOf(Batch.filter(batch, () => true))).toBe(source);
  });

  it("is none of other sessions that a copy of the batch was given", () => {
    const others = sessions.map(({ session_key: _, ...session }) => session);
    expect(Batch.sourceOf({ ...lazily(), sessions: others })).toBeUndefined();
    expect(Batch.size({ ...lazily(), sessions: others.slice(1) })).toBe(3);
    const some = Batch.filter({ ...lazily(), sessions: others }, ({ session_id }) => session_id !== "S1");
    expect(some.source).toBeUndefined();
    const kept = Batch.filter(lazily(), ({ session_id }) => session_id !== "S1");
    expect(Batch.sourceOf({ ...kept, sessions: [...kept.sessions] })).toBeUndefined();
  });

  it("is none of a clone, nor of a batch whose sessions are found in another way", () => {
    const { userId, rejected, ...rest } = { ...lazily() };
    const clone = structuredClone({ userId, rejected, ...rest });
    expect(Batch.sourceOf({ ...clone, sessions: [] })).toBeUndefined();
    expect(Batch.sourceOf(clone)).toBeUndefined();
    const others = Object.defineProperty({ ...lazily() }, "sessions", { get: () => [], enumerable: true });
    expect(Batch.sourceOf(others)).toBeUndefined();
  });

  it("may be taken off a batch, whose sessions are there all the same", () => {
    const batch = Object.assign(lazily(), { source: undefined });
    expect(batch.sessions).toBe(sessions);
    expect(Batch.size(batch)).toBe(4);
  });
});
