import process from "node:process";
import * as fc from "fast-check";
import { expect, it } from "vitest";
import * as DigestTable from "../../src/dataset/DigestTable.ts";

it("says of any keys what a map of their texts says", () => {
  const key = fc.array(fc.string({ unit: "binary", maxLength: 3 }), { maxLength: 3 });
  const entries = fc.array(fc.tuple(key, fc.integer()), { maxLength: 5000 });
  fc.assert(fc.property(entries, fc.array(key), (entries, others) => {
    const map = DigestTable.map();
    const texts = new Map<string, number>();
    for (const [one, value] of entries) {
      const text = JSON.stringify(one);
      if (map.get(one) !== texts.get(text)) return false;
      map.set(one, value);
      texts.set(text, value);
    }
    return [...entries.map(([one]) => one), ...others].every((one) =>
      map.get(one) === texts.get(JSON.stringify(one))
    );
  }));
});

it("holds a million keys that differ little, in 24 to 48 bytes each", () => {
  const before = process.memoryUsage().arrayBuffers;
  const map = DigestTable.map();
  const keyOf = (i: number) => [`user-${i % 100}`, `session-${i}`];
  for (let i = 0; i < 1_000_000; i++) map.set(keyOf(i), i - 500_000);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(48e6 * 1.5);
  let wrong = 0;
  for (let i = 0; i < 1_000_000; i++) if (map.get(keyOf(i)) !== i - 500_000) wrong++;
  expect(wrong).toBe(0);
  expect(map.get(keyOf(1_000_000))).toBeUndefined();
});
