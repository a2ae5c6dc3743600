import { describe, expect, it } from "vitest";
import * as Batch from "../../src/session/Batch.ts";
import { textsOf } from "../contract/columns.ts";
import { example, examples, serve } from "../contract/sessions.ts";

const sessions = examples(4);
const end = { status: "complete", verified: true, unverifiedReasons: [] } as const;
const served: Batch.Batch = { ...serve("alice", sessions), end };

describe("make()", () => {
  it("makes a batch of values, without an end", () => {
    const batch = Batch.make("alice", sessions);
    expect(batch).toEqual({ userId: "alice", rows: { _tag: "Values", sessions }, quarantined: [] });
    expect(Batch.sessions(batch)).toBe(sessions);
  });
});

describe("ofTexts()", () => {
  it("keeps each text as it is", () => {
    const texts = [`{"x":1.10, ${JSON.stringify(example()).slice(1)}`, JSON.stringify(example())];
    const batch = Batch.ofTexts("alice", texts);
    expect(textsOf(batch)).toEqual(texts);
    expect(Batch.sessions(batch)).toEqual(texts.map((text) => JSON.parse(text)));
  });

  it("refuses a text that is no session's, and says why", () => {
    expect(() => Batch.ofTexts("alice", [JSON.stringify(example()), '{"session_id":""}'])).toThrow(
      /^Cannot write what is no session: number 2 of 2 of alice: .*session_id/,
    );
  });
});

describe("size() and initiated()", () => {
  it("say the same of bytes as of values", () => {
    for (const batch of [served, Batch.make("alice", sessions)]) {
      expect(Batch.size(batch)).toBe(4);
      expect(Batch.initiated(batch)).toEqual({ min: 1640975400, max: 1640975403 });
    }
    expect(Batch.initiated(Batch.make("alice", []))).toEqual({ min: Infinity, max: -Infinity });
  });
});

describe("filter()", () => {
  it("keeps sessions as bytes, and the rest of the batch", () => {
    const kept = Batch.filter(served, ({ session_id }, userId) => userId === "alice" && session_id !== "S1");
    expect(kept.rows._tag).toBe("Bytes");
    expect(Batch.sessions(kept)).toEqual([sessions[0], sessions[2], sessions[3]]);
    expect(kept.end).toBe(end);
  });

  it("keeps values as values", () => {
    const kept = Batch.filter(Batch.make("alice", sessions), ({ session_id }) => session_id === "S1");
    expect(kept.rows).toEqual({ _tag: "Values", sessions: [sessions[1]] });
  });
});

describe("map()", () => {
  it("replaces each session, and keeps the rest of the batch", () => {
    const changed = Batch.map(served, (session, userId) => ({ ...session, session_key: userId }));
    expect(changed.rows).toEqual({
      _tag: "Values",
      sessions: sessions.map((session) => ({ ...session, session_key: "alice" })),
    });
    expect(changed.end).toBe(end);
  });
});

describe("toBytes()", () => {
  it("leaves bytes as they are, and writes values as JSON", () => {
    expect(Batch.toBytes(served)).toBe(served);
    const batch = Batch.toBytes({ ...Batch.make("alice", sessions), end });
    expect(textsOf(batch)).toEqual(sessions.map((session) => JSON.stringify(session)));
    expect(batch.end).toBe(end);
  });

  it.each([
    [{ initiated_at: 1.5 }, "initiated_at"],
    [{ session_id: "" }, "session_id"],
    [{ client_ids: undefined }, "client_ids"],
    [{ expires_at: NaN }, "expires_at"],
  ])("refuses a value that is no session: %j", (change, field) => {
    const batch = Batch.make("bob", [example(), example(change as never)]);
    expect(() => Batch.toBytes(batch)).toThrow(
      `Cannot write what is no session: number 2 of 2 of bob: ${field}`,
    );
  });
});
