import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { members, onOneLine } from "../../src/scan/JsonMembers.ts";
import { jsonText } from "../contract/sessions.ts";

const isObject = (text: string) => text.startsWith("{");

/** White space that JSON allows around a text. */
const space = fc.stringMatching(/^[ \t\r\n]{0,4}$/);

describe("members()", () => {
  it("agrees with JSON.parse on any object, names that repeat included", () => {
    fc.assert(fc.property(jsonText.filter(isObject), space, (text, pad) => {
      const found = members(pad + text + pad).map(([name, value]) => [name, JSON.parse(value)] as const);
      expect(Object.fromEntries(found)).toEqual(JSON.parse(text));
      expect(new Set(found.map(([name]) => name)).size).toBe(found.length);
    }));
  });

  it("keeps the text of values as it is", () => {
    expect(members('{ "a" : 12345678901234567890 , "\\u0062":{"c" :[ 1 ]},"a":1.0 }')).toEqual([
      ["a", "1.0"],
      ["b", '{"c" :[ 1 ]}'],
    ]);
  });

  it.each(['{"a', '{"a"', '{"a":', '{"a":1', '{"a":{"b":1}'])("throws on %j, and never hangs", (text) => {
    expect(() => members(text)).toThrow(SyntaxError);
  });
});

describe("onOneLine()", () => {
  it("leaves no line break in any JSON text, and changes nothing but white space", () => {
    fc.assert(fc.property(jsonText, (text) => {
      const line = onOneLine(text);
      expect(line).not.toMatch(/[\r\n]/);
      expect(JSON.parse(line)).toEqual(JSON.parse(text));
      expect(line.replaceAll(/[ \t]/g, "")).toBe(text.replaceAll(/[ \t\r\n]/g, ""));
    }));
  });

  it("returns text without line breaks as it is", () => {
    expect(onOneLine('{ "a" :\t1 }')).toBe('{ "a" :\t1 }');
  });

  it("takes time in proportion to the text", () => {
    const text = `[\n"${" ".repeat(2_000_000)}"]`;
    expect(onOneLine(text)).toHaveLength(text.length);
  });
});
