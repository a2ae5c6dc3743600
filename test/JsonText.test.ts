import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { elements, members, onOneLine } from "../src/JsonText.ts";
import { jsonArray, jsonText } from "./contract/sessions.ts";

const isObject = (text: string) => text.startsWith("{");

/** White space that JSON allows around a text. */
const space = fc.stringMatching(/^[ \t\r\n]{0,4}$/);

describe("elements()", () => {
  it("gives the text of every element of any array, and nothing around it", () => {
    fc.assert(fc.property(jsonArray, space, space, ({ text, values }, before, after) => {
      expect(elements(before + text + after)).toEqual(values);
    }));
  });

  it("agrees with JSON.parse on any array", () => {
    fc.assert(fc.property(jsonText, space, (value, pad) => {
      const text = `[${pad}${value}${pad},${value}${pad}]`;
      expect(elements(text).map((element) => JSON.parse(element))).toEqual(JSON.parse(text));
    }));
  });

  it.each([["[]", []], [" [ \n ] ", []], ["[[],{}]", ["[]", "{}"]], ['["a,]\\\\","\\""]', [
    '"a,]\\\\"',
    '"\\""',
  ]]])(
    "splits %s",
    (text, expected) => expect(elements(text)).toEqual(expected),
  );

  it.each(["", "[", '["a', '["a\\"]', "[1,", "[[1]", "null"])("throws on %j, and never hangs", (text) => {
    expect(() => elements(text)).toThrow(SyntaxError);
  });
});

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
