import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as RowSlices from "../../../src/scan/RowSlices.ts";
import { members, onOneLine } from "../../../src/scan/JsonMembers.ts";
import type { Encodable } from "../../../src/format/Format.ts";
import * as Ndjson from "../../../src/format/ndjson/encode.ts";
import * as Batch from "../../../src/session/Batch.ts";
import { textsOf } from "../../contract/columns.ts";
import { encodeAll, encoderContract } from "../../contract/encoder.ts";
import { batch, example, served } from "../../contract/sessions.ts";

const linesOf = (file: Uint8Array): Array<string> => {
  const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(file);
  expect(text === "" || text.endsWith("\n")).toBe(true);
  return text.split("\n").slice(0, -1);
};

const lines = (batch: Encodable): Array<string> => linesOf(encodeAll(Ndjson.make(), [batch]));
const line = (userId: string, source: string): string => lines(Batch.ofTexts(userId, [source]))[0]!;

/** The members that a row must have besides its id. */
const rest = '"client_ids":[],"initiated_at":1,"expires_at":2,"last_updated":1';

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
  const rows = RowSlices.cut(new TextEncoder().encode(`[${object.slice(1, -1)}]`));
  return rows.from
    .map((_, index) => members(`{${RowSlices.text(rows, index)}}`)[0]![0])
    .filter((name, i, names) => names.indexOf(name) < i);
};

encoderContract({
  format: Ndjson.format(),
  read: (file) => Promise.resolve(linesOf(file).map((line) => asJson(JSON.parse(line)))),
  rows: (batch) => textsOf(batch).map((text) => asJson(withUser(batch.userId, JSON.parse(text)))),
});

describe("Ndjson.make()", () => {
  it("puts the user's id first in any row without, and leaves all bytes but line breaks", () => {
    fc.assert(
      fc.property(
        served.filter(({ session }) => !Object.hasOwn(session, "user_id")),
        ({ session, source }) => {
          expect(JSON.parse(source)).toEqual(session);
          const [line] = lines(Batch.ofTexts("alice", [source]));
          const expected = `{"user_id":"alice",${source.slice(1)}`;
          if (/[\r\n]/.test(source)) expect(line!.replaceAll(/\s/g, "")).toBe(expected.replaceAll(/\s/g, ""));
          else expect(line).toBe(expected);
        },
      ),
    );
  });

  it("never adds a name that is there already, and loses no member of any row", () => {
    fc.assert(fc.property(batch, (batch) => {
      const { userId } = batch;
      const texts = textsOf(batch);
      lines(batch).forEach((line, i) => {
        const before = texts[i]!;
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
    fc.assert(fc.property(batch, (batch) => {
      const values = Batch.make(batch.userId, Batch.sessions(batch));
      const fromValues = lines(values).map((line) => asJson(JSON.parse(line)));
      // 1e400 is no number that a value could hold.
      const fromBytes = lines(batch).map((line) => asJson(JSON.parse(line)));
      expect(fromBytes).toEqual(fromValues);
    }));
  });

  it("keeps numbers beyond 2^53, escapes and the order of members", () => {
    const source = `{"b": 12345678901234567890, "session_id":"\\u00e9\\ud800", "a":1.10, ${rest}}`;
    expect(line("alice", source)).toBe(`{"user_id":"alice",${source.slice(1)}`);
  });

  it("writes a row that was served on several lines on one", () => {
    expect(line("alice", `{\n  "session_id": "S1",\r\n  "x": [\n  ],${rest}\n}`)).toBe(
      `{"user_id":"alice", "session_id": "S1", "x": [ ],${rest} }`,
    );
  });

  it("adds nothing to a row that names its user", () => {
    const source = `{"session_id":"S1","user_id":"alice",${rest}}`;
    expect(line("alice", source)).toBe(source);
  });

  it("moves another user's id into _rescued_data", () => {
    expect(line("alice", `{"session_id":"S1","user_id":12345678901234567890,"x":1e2,${rest}}`)).toBe(
      `{"user_id":"alice","session_id":"S1","x":1e2,${rest},"_rescued_data":{"user_id":12345678901234567890}}`,
    );
  });

  it("moves it together with a _rescued_data that was served", () => {
    expect(line("alice", `{"user_id":"bob","session_id":"S1","_rescued_data":{"y":1},${rest}}`)).toBe(
      `{"user_id":"alice","session_id":"S1",${rest},"_rescued_data":{"user_id":"bob","_rescued_data":{"y":1}}}`,
    );
  });

  it("is not misled by a member named __proto__", () => {
    const source = `{"session_id":"S1","__proto__":{"user_id":"bob"},${rest}}`;
    expect(line("alice", source)).toBe(`{"user_id":"alice",${source.slice(1)}`);
  });

  it("writes what the value says where there is no text", () => {
    expect(lines(Batch.make('a"b', [example()]))).toEqual([
      JSON.stringify({ user_id: 'a"b', ...example() }),
    ]);
  });
});
