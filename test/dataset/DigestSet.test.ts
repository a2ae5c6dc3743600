import * as fc from "fast-check";
import { expect, it } from "vitest";
import * as DigestTable from "../../src/dataset/DigestTable.ts";

it("says of any keys what a set of their texts says", () => {
  const key = fc.array(fc.string({ unit: "binary", maxLength: 3 }), { maxLength: 3 });
  fc.assert(fc.property(fc.array(key, { maxLength: 5000 }), fc.array(key), (keys, others) => {
    const set = DigestTable.set();
    const texts = new Set<string>();
    for (const one of keys) {
      const text = JSON.stringify(one);
      if (set.has(one) !== texts.has(text) || set.add(one) === texts.has(text)) return false;
      texts.add(text);
    }
    return [...keys, ...others].every((one) => set.has(one) === texts.has(JSON.stringify(one)));
  }));
});

it("holds a million keys that differ little", () => {
  const set = DigestTable.set();
  const keyOf = (i: number) => [`user-${i % 100}`, `session-${i}`];
  let added = 0;
  for (let i = 0; i < 1_000_000; i++) if (set.add(keyOf(i))) added++;
  for (let i = 0; i < 1_000_000; i++) if (set.add(keyOf(i))) added++;
  expect(added).toBe(1_000_000);
  expect(set.has(keyOf(1_000_000))).toBe(false);
});
