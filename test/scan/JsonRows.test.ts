import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as JsonRows from "../../src/scan/JsonRows.ts";
import { onOneLine } from "../../src/scan/JsonText.ts";
import { jsonArray, jsonText } from "../contract/sessions.ts";

const utf8 = new TextEncoder();

/** White space that JSON allows around a text. */
const space = fc.stringMatching(/^[ \t\r\n]{0,4}$/);

const textsOf = (rows: JsonRows.JsonRows): Array<string> =>
  rows.from.map((_, index) => JsonRows.text(rows, index));

const elements = (text: string): Array<string> => textsOf(JsonRows.cut(utf8.encode(text)));

describe("cut()", () => {
  it("gives the text of every element of any array, and nothing around it", () => {
    fc.assert(fc.property(jsonArray, space, space, ({ text, values }, before, after) => {
      expect(elements(before + text + after)).toEqual(values.map((value) => value.toWellFormed()));
    }));
  });

  it("agrees with JSON.parse on any array", () => {
    fc.assert(fc.property(jsonText, space, (value, pad) => {
      const text = `[${pad}${value}${pad},${value}${pad}]`.toWellFormed();
      expect(elements(text).map((element) => JSON.parse(element))).toEqual(JSON.parse(text));
    }));
  });

  it.each([["[]", []], [" [ \n ] ", []], ["[[],{}]", ["[]", "{}"]], ['["a,]\\\\","\\""]', [
    '"a,]\\\\"',
    '"\\""',
  ]], ["\ufeff[1 , 2]", ["1", "2"]]])(
    "splits %s",
    (text, expected) => expect(elements(text)).toEqual(expected),
  );

  it.each(["", "[", '["a', '["a\\"]', "[1,", "[[1]", "null"])("throws on %j, and never hangs", (text) => {
    expect(() => elements(text)).toThrow(SyntaxError);
  });

  it("knows of any rows whether one holds a line break", () => {
    fc.assert(fc.property(jsonArray, ({ text, values }) => {
      const rows = JsonRows.cut(utf8.encode(text));
      expect(rows.areLines).toBe(!values.some((value) => /[\r\n]/.test(value)));
      expect(rows.from.map((_, index) => JsonRows.line(rows, index))).toEqual(
        values.map((value) => onOneLine(value).toWellFormed()),
      );
    }));
  });
});

describe("of() and pick()", () => {
  it("give back any texts, and any of them", () => {
    fc.assert(fc.property(fc.array(jsonText), fc.infiniteStream(fc.boolean()), (texts, coins) => {
      const rows = JsonRows.of(texts);
      const kept = texts.map((_, index) => index).filter(() => coins.next().value);
      expect(textsOf(rows)).toEqual(texts.map((text) => text.toWellFormed()));
      const backwards = texts.map((_, index) => texts.length - 1 - index);
      expect(textsOf(JsonRows.pick(rows, backwards))).toEqual(textsOf(rows).reverse());
      expect(textsOf(JsonRows.pick(rows, kept))).toEqual(kept.map((index) => texts[index]!.toWellFormed()));
      expect(rows.areLines).toBe(!texts.some((text) => /[\r\n]/.test(text)));
    }));
  });
});

it("later() looks for rows once, and not before they are asked for", () => {
  let times = 0;
  const rows = JsonRows.later(() => {
    times++;
    return JsonRows.of(["1", "2"]);
  });
  const picked = JsonRows.later(() => JsonRows.pick(rows, [1]));
  expect(times).toBe(0);
  expect(textsOf(picked)).toEqual(["2"]);
  expect(textsOf(rows)).toEqual(["1", "2"]);
  expect(times).toBe(1);
});
