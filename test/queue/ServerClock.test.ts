import * as fc from "fast-check";
import { expect, it } from "vitest";
import * as ServerClock from "../../src/queue/ServerClock.ts";

it("goes by the fastest answers, is never early, and follows a drift", () =>
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 500 }), fc.integer({ min: 0, max: 400 })), {
        minLength: 1,
      }),
      fc.double({ min: -0.0005, max: 0.0005, noNaN: true }),
      (answers, drift) => {
        const clock = ServerClock.make();
        let now = 0;
        for (const [after, late] of answers) {
          now += after;
          const there = 5e9 + now * (1 + drift);
          clock.hear(now + late, there);
          const error = clock.here(there) - now;
          expect(error).toBeGreaterThanOrEqual(-1);
          expect(error).toBeLessThanOrEqual(late + 1e-3);
          expect(clock.there(clock.here(there))).toBeCloseTo(there, 3);
          now += late;
        }
      },
    ),
    { seed: 71 },
  ));

it("follows a clock that is set, whichever way", () => {
  const clock = ServerClock.make();
  clock.hear(1000, 5000);
  clock.hear(2000, 6000 - 3_600_000);
  expect(clock.here(6000 - 3_600_000)).toBe(2000);
  clock.hear(3000, 7000);
  expect(clock.here(7000)).toBe(3000);
});
