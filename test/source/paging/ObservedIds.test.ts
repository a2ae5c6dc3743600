import process from "node:process";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashBytes, hashText, ObservedIds } from "../../../src/source/paging/ObservedIds.ts";
import { some } from "../../size.ts";

const utf8 = new TextEncoder();

const COUNT = some(1e6);

describe("the hash of an id", () => {
  it("is the same of any text and of its bytes, wherever they lie", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), fc.string(), (text, before) => {
      const [head, bytes] = [utf8.encode(before), utf8.encode(text)];
      const all = utf8.encode(`${before}${text}${before}`);
      expect(hashBytes(all, head.length, head.length + bytes.length)).toBe(hashText(text));
      expect(Number.isSafeInteger(hashText(text))).toBe(true);
    }));
  });

  it(`differs for ${COUNT} ids that differ little`, () => {
    const hashes = new Set<number>();
    for (let n = 0; n < COUNT; n++) hashes.add(hashText(`session-${n.toString(36).padStart(8, "0")}`));
    expect(hashes.size).toBe(COUNT);
  });
});

describe("ids that were met", () => {
  it.each([undefined, 0, 100, 10_000, 1e15])(
    "are told from others, however many there are, if %s are expected",
    (expected) => {
      const ids = new ObservedIds();
      ids.expect(expected);
      for (let n = 0; n < 10_000; n++) expect(ids.meet(hashText(`${n}`), n % 7)).toBe(-1);
      for (let n = 0; n < 10_000; n++) expect(ids.meet(hashText(`${n}`), 7)).toBe(n % 7);
      expect([ids.size, ids.has(hashText("9999")), ids.has(hashText("10000"))]).toEqual([
        10_000,
        true,
        false,
      ]);
    },
  );

  it("take no memory for ids that a tenant only tells of", () => {
    const ids = new ObservedIds();
    const before = process.memoryUsage().arrayBuffers;
    ids.expect(1e15);
    for (let n = 0; n < 1000; n++) ids.meet(n, 0);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100_000);
    // Beyond 2^18 ids the next step would be for 2^22 of them, 100 MB.
    for (let n = 0; n < 270_000; n++) ids.meet(n, 0);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50_000_000);
  });

  it("are the list once as many were met before and after a moment as two answers counted", () => {
    const ids = new ObservedIds();
    const answer = (nth: number, total: number, ...some: ReadonlyArray<string>) => {
      for (const id of some) ids.meet(hashText(id), nth);
      ids.totals[nth] = total;
    };
    answer(0, 3, "a", "b");
    answer(1, 3, "c");
    expect(ids.isProven()).toBe(false);
    answer(2, 3, "b");
    expect(ids.isProven()).toBe(false);
    // At answer 1, with "c" in it, "a" and "b" were listed as well: both were met before and after.
    answer(3, 3, "a");
    expect(ids.isProven()).toBe(true);
  });

  it("are no list by a count that only one answer gives", () => {
    const ids = new ObservedIds();
    ids.meet(hashText("a"), 0);
    ids.totals.push(5, 1, 0);
    ids.meet(hashText("a"), 2);
    expect(ids.isProven()).toBe(false);
  });
});
