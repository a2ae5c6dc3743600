import * as fc from "fast-check";
import { expect, it } from "vitest";
import { deal } from "../../src/source/ShardPlan.ts";

const users = (count: number) => Array.from({ length: count }, (_, at) => `u${at}`);

it("deals every user once, to no empty shard, and to no more shards than may be", () => {
  const shape = fc.record({
    weights: fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 1, max: 1000 })), {
      minLength: 1,
      maxLength: 200,
    }),
    count: fc.integer({ min: 1, max: 60 }),
  });
  fc.assert(fc.property(shape, ({ weights, count }) => {
    const all = users(weights.length);
    const weightOf = (userId: string) => weights[Number(userId.slice(1))]!;
    const shards = deal(all, count, weightOf);
    expect(shards.flat().sort()).toEqual([...all].sort());
    expect(shards.length).toBeLessThanOrEqual(count);
    expect(shards.every(({ length }) => length > 0)).toBe(true);
    // None weighs more than the fair share and the heaviest user that it has beyond that.
    const fair = weights.reduce((sum, weight) => sum + weight, 0) / count;
    const heaviest = shards.map((its) => Math.max(...its.map(weightOf)));
    expect(heaviest).toEqual([...heaviest].sort((one, other) => other - one));
    if (count <= all.length && Math.max(...weights) < fair) {
      for (const [at, its] of shards.entries()) {
        expect(its.reduce((sum, id) => sum + weightOf(id), 0)).toBeLessThanOrEqual(
          fair + 2 * heaviest[at]! + 1e-9,
        );
      }
    }
  }));
});

it("puts the longest user first, alone", () => {
  const shards = deal(users(100), 8, (userId) => userId === "u57" ? 500 : 1);
  expect(shards[0]).toEqual(["u57"]);
  expect(shards).toHaveLength(8);
  const sizes = shards.slice(1).map(({ length }) => length);
  expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
});

it("deals in ranges of the order given", () => {
  expect(deal(users(7), 3).map((its) => its.map((id) => Number(id.slice(1))))).toEqual([[0, 1, 2], [3, 4], [
    5,
    6,
  ]]);
});
