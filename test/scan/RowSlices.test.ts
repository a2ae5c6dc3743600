import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as RowSlices from "../../src/scan/RowSlices.ts";
import { onOneLine } from "../../src/scan/JsonMembers.ts";
import { columns, valueAt } from "../../src/session/Columns.ts";
import { scan } from "../../src/session/Session.ts";
import { valuesOf } from "../contract/columns.ts";
import { jsonArray, jsonText, page, served } from "../contract/sessions.ts";

const utf8 = new TextEncoder();

/** White space that JSON allows around a text. */
const space = fc.stringMatching(/^[ \t\r\n]{0,4}$/);

const textsOf = (rows: RowSlices.Slices): Array<string> =>
  rows.from.map((_, index) => RowSlices.text(rows, index));

const elements = (text: string): Array<string> => textsOf(RowSlices.cut(utf8.encode(text)));

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
      const rows = RowSlices.cut(utf8.encode(text));
      expect(rows.areLines).toBe(!values.some((value) => /[\r\n]/.test(value)));
      expect(rows.from.map((_, index) => RowSlices.line(rows, index))).toEqual(
        values.map((value) => onOneLine(value).toWellFormed()),
      );
    }));
  });
});

describe("pick()", () => {
  it("gives any of any rows, with their fields", () => {
    fc.assert(
      fc.property(fc.array(served, { maxLength: 8 }), fc.infiniteStream(fc.boolean()), (all, coins) => {
        const texts = all.map(({ source }) => source);
        const found = scan(page(texts));
        if (typeof found !== "object") throw new Error("it is no page");
        const { slices } = found;
        const indices = texts.map((_, index) => index);
        const kept = indices.filter(() => coins.next().value);
        for (const some of [kept, indices, [...indices].reverse(), []]) {
          const rows = RowSlices.pick(slices, some);
          expect(textsOf(rows)).toEqual(some.map((index) => texts[index]));
          const values = some.map((_, row) => columns.map((column) => valueAt(column, "alice", rows, row)));
          expect(values).toEqual(some.map((index) => Object.values(valuesOf("alice", texts[index]!))));
          expect([...rows.reserved]).toEqual(
            some.flatMap((index, row) => Object.hasOwn(JSON.parse(texts[index]!), "user_id") ? [row] : []),
          );
        }
      }),
    );
  });
});
