import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as MemoTable from "../../src/scan/MemoTable.ts";

describe("MemoTable.of()", () => {
  it("gives what the function gives, for any keys in any order", () => {
    const keys = fc.array(fc.oneof(fc.nat({ max: 9 }).map(String), fc.string({ maxLength: 400 })));
    fc.assert(fc.property(fc.integer({ min: 1, max: 5 }), keys, (most, keys) => {
      const double = (text: string) => text.length > 2 ? text + text : null;
      expect(keys.map(MemoTable.of(most, double))).toEqual(keys.map(double));
    }));
  });

  it("asks the function once for a key while it remembers, and holds no more than it was told", () => {
    const asked: Array<number> = [];
    const same = MemoTable.of(2, (key: number) => asked.push(key));
    for (const key of [1, 2, 1, 2, 3, 3, 1]) same(key);
    expect(asked).toEqual([1, 2, 3, 1]);
  });

  it("holds no long text", () => {
    const asked: Array<string> = [];
    const same = MemoTable.of(2, (key: string) => asked.push(key));
    for (const length of [256, 256, 257, 257]) same("x".repeat(length));
    expect(asked.map(({ length }) => length)).toEqual([256, 257, 257]);
  });
});
