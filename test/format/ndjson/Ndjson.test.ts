import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as JsonRows from "../../../src/scan/JsonRows.ts";
import { members, onOneLine } from "../../../src/scan/JsonText.ts";
import type { Encodable } from "../../../src/format/Encoder.ts";
import * as Ndjson from "../../../src/format/ndjson/Ndjson.ts";
import { encodeAll, encoderContract } from "../../contract/encoder.ts";
import { batch, example, served } from "../../contract/sessions.ts";

const linesOf = (file: Uint8Array): Array<string> => {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(file);
  expect(text === "" || text.endsWith("\n")).toBe(true);
  return text.split("\n").slice(0, -1);
};

const lines = (batch: Encodable): Array<string> => linesOf(encodeAll(Ndjson.make(), [batch]));
const line = (userId: string, source: string): string =>
  lines({ userId, sessions: [JSON.parse(source)], source: JsonRows.of([source]) })[0]!;

/** The value of a line, made without any text. `Object.assign` would take `__proto__` for the prototype. */
const withUser = (userId: string, session: object): object => {
  const entries = new Map<string, unknown>(Object.entries(session));
  if (entries.has("user_id") && entries.get("user_id") !== userId) {
    const theirs = [...entries].filter(([name]) => name === "user_id" || name === "_rescued_data");
    entries.set("_rescued_data", Object.fromEntries(theirs));
  }
  return Object.fromEntries(entries.set("user_id", userId));
};

/** JSON as values, for comparison: as JSON writes them. */
const asJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

/** The names that a JSON object has more than once. Its members, taken for elements, are all counted. */
const repeated = (object: string): Array<string> => {
  const rows = JsonRows.cut(new TextEncoder().encode(`[${object.slice(1, -1)}]`));
  return rows.from
    .map((_, index) => members(`{${JsonRows.text(rows, index)}}`)[0]![0])
    .filter((name, i, names) => names.indexOf(name) < i);
};

encoderContract({
  format: Ndjson.format(),
  read: (file) => Promise.resolve(linesOf(file).map((line) => asJson(JSON.parse(line)))),
  rows: ({ userId, sessions }) => sessions.map((session) => asJson(withUser(userId, session))),
});

describe("Ndjson.make()", () => {
  it("puts the user's id first in any row without, and leaves all bytes but line breaks", () => {
    fc.assert(
      fc.property(
        served.filter(({ session }) => !Object.hasOwn(session, "user_id")),
        ({ session, source }) => {
          const [line] = lines({ userId: "alice", sessions: [session], source: JsonRows.of([source]) });
          const expected = `{"user_id":"alice",${source.slice(1)}`;
          if (/[\r\n]/.test(source)) expect(line!.replaceAll(/\s/g, "")).toBe(expected.replaceAll(/\s/g, ""));
          else expect(line).toBe(expected);
        },
      ),
    );
  });

  it("never adds a name that is there already, and loses no member of any row", () => {
    fc.assert(fc.property(batch, ({ userId, sessions, source }) => {
      lines({ userId, sessions, source }).forEach((line, i) => {
        const before = source === undefined ? JSON.stringify(sessions[i]) : JsonRows.text(source, i);
        const found = new Map(members(line));
        const moved = found.get("_rescued_data");
        const rescued = new Map(moved?.startsWith("{") ? members(moved) : []);
        expect(repeated(line).filter((name) => !repeated(before).includes(name))).toEqual([]);
        expect(JSON.parse(found.get("user_id")!)).toBe(userId);
        for (const [name, value] of members(onOneLine(before))) {
          expect([found.get(name), rescued.get(name)]).toContain(value);
        }
      });
    }));
  });

  it("says of any batch, from its bytes, what it says from its values", () => {
    fc.assert(fc.property(batch, ({ userId, sessions, source }) => {
      const fromValues = lines({ userId, sessions }).map((line) => asJson(JSON.parse(line)));
      // 1e400 is no number that a value could hold.
      const fromBytes = lines({ userId, sessions, source }).map((line) => asJson(JSON.parse(line)));
      expect(fromBytes).toEqual(fromValues);
    }));
  });

  it("keeps numbers beyond 2^53, escapes and the order of members", () => {
    const source = '{"b": 12345678901234567890, "session_id":"\\u00e9\\ud800", "a":1.10}';
    expect(line("alice", source)).toBe(`{"user_id":"alice",${source.slice(1)}`);
  });

  it("writes a row that was served on several lines on one", () => {
    expect(line("alice", '{\n  "session_id": "S1",\r\n  "client_ids": [\n  ]\n}')).toBe(
      '{"user_id":"alice", "session_id": "S1", "client_ids": [ ] }',
    );
  });

  it("adds nothing to a row that names its user", () => {
    const source = '{"session_id":"S1","user_id":"alice"}';
    expect(line("alice", source)).toBe(source);
  });

  it("moves another user's id into _rescued_data", () => {
    expect(line("alice", '{"session_id":"S1","user_id":12345678901234567890,"x":1e2}')).toBe(
      '{"user_id":"alice","session_id":"S1","x":1e2,"_rescued_data":{"user_id":12345678901234567890}}',
    );
  });

  it("moves it together with a _rescued_data that was served", () => {
    expect(line("alice", '{"user_id":"bob","session_id":"S1","_rescued_data":{"y":1}}')).toBe(
      '{"user_id":"alice","session_id":"S1","_rescued_data":{"user_id":"bob","_rescued_data":{"y":1}}}',
    );
  });

  it("is not misled by a member named __proto__", () => {
    const source = '{"session_id":"S1","__proto__":{"user_id":"bob"}}';
    expect(line("alice", source)).toBe(`{"user_id":"alice",${source.slice(1)}`);
  });

  it("writes what the value says where there is no text", () => {
    expect(lines({ userId: 'a"b', sessions: [example()] })).toEqual([
      JSON.stringify({ user_id: 'a"b', ...example() }),
    ]);
  });
});
