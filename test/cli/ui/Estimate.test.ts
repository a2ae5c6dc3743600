import { describe, expect, it } from "vitest";
import * as Estimate from "../../../src/cli/ui/Estimate.ts";

/** Numbers from 0 to 1, the same each time. */
const seeded = (seed: number) => () => (seed = seed * 16_807 % 2_147_483_647) / 2_147_483_647;

interface Course {
  readonly usersTotal: number;
  /** Users that earlier processes had done, each with 20 sessions. */
  readonly before?: number;
  /** Seconds until the first user is walked. */
  readonly listing?: number;
  /** Users a second, at a second since the walk began. */
  readonly pace: (second: number) => number;
  /** Seconds between two looks. */
  readonly every: number;
}

/** Play an export, and give what was estimated at each look, beside what came. */
const play = ({ usersTotal, before = 0, listing = 0, pace, every }: Course) => {
  const random = seeded(7);
  const estimate = Estimate.make();
  const began = 1_700_000_000_000;
  let [users, sessions, second] = [before, before * 20, 0];
  const looks: Array<{ readonly at: number; readonly speed: number; readonly left: number | undefined }> = [];
  const earlier = { users, sessions, listed: sessions };
  for (; users < usersTotal; second++) {
    const walked = second < listing ? 0 : Math.round(pace(second - listing) * 2 * random());
    users = Math.min(usersTotal, users + walked);
    sessions += Math.round(walked * (10 + 20 * random()));
    if (second % every !== 0) continue;
    const counts = { users, sessions, listed: sessions, walking: 8, usersTotal };
    const now = began + second * 1000;
    const { speed, secondsLeft } = estimate(before > 0 ? { ...counts, before: earlier } : counts, began, now);
    looks.push({ at: second, speed, left: secondsLeft });
  }
  return { looks, end: second };
};

/** Expect the time left to be right within 30 % from a second on, until hardly any is left. */
const expectRight = ({ looks, end }: ReturnType<typeof play>, from: number, to = end - 10) => {
  const judged = looks.filter(({ at }) => at >= from && at <= to);
  expect(judged.length).toBeGreaterThan(5);
  for (const { at, left = NaN } of judged) {
    expect({ at, error: Math.abs(left / (end - at) - 1) < 0.3 }).toEqual({ at, error: true });
  }
};

describe("Estimate", () => {
  it("tells the time left of a run that goes on with what another process had nearly done", () => {
    const course = { usersTotal: 100_000, before: 90_000, pace: () => 20 };
    for (const every of [1, 5]) {
      const played = play({ ...course, every });
      expectRight(played, 30);
      // 20 users a second, of 20 sessions each, where going by the sum would tell tens of thousands.
      const speeds = played.looks.filter(({ at }) => at >= 60).map(({ speed }) => speed);
      for (const speed of speeds) expect(Math.abs(speed / 400 - 1)).toBeLessThan(0.3);
    }
  });

  it("does not count the time in which the users were listed", () => {
    expectRight(play({ usersTotal: 10_000, listing: 300, pace: () => 20, every: 5 }), 330);
  });

  it("follows a tenant that slows down", () => {
    const played = play({ usersTotal: 20_000, pace: (second) => second < 300 ? 20 : 5, every: 5 });
    expectRight(played, 450);
  });

  it("says nothing before anything is done, nor once all is", () => {
    const estimate = Estimate.make();
    const none = { users: 0, sessions: 0, listed: 0, usersTotal: 10 };
    expect(estimate(none, 0, 5000)).toEqual({ speed: 0, secondsLeft: undefined });
    expect(estimate({ ...none, users: 10, sessions: 50, listed: 50 }, 0, 10_000)).toEqual({
      speed: 10,
      secondsLeft: undefined,
    });
  });

  it("goes by sessions where a few users are walked side by side", () => {
    const estimate = Estimate.make();
    const at = (sessions: number) => ({ users: 0, sessions, listed: 40_000, walking: 4, usersTotal: 4 });
    estimate({ ...at(0), listed: 0 }, 0, 0);
    expect(estimate(at(10_000), 0, 100_000)).toEqual({ speed: 100, secondsLeft: 300 });
  });
});
