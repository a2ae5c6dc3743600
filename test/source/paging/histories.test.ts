import { expect, it } from "vitest";
import { type History, historyOf, type Outcome, readForward, walk } from "./histories.ts";
import { isLong } from "../../size.ts";

const HISTORIES = isLong ? 10_000 : 250;
const count = HISTORIES.toLocaleString("en-US");

const play = async (read: (history: History) => Promise<Outcome>, count: number) => {
  const lost: Array<{ history: History; outcome: Outcome }> = [];
  const repeated: Array<{ history: History; outcome: Outcome }> = [];
  const unverified: Array<{ history: History; outcome: Outcome }> = [];
  for (let seed = 1; seed <= count; seed++) {
    const history = historyOf(seed);
    const outcome = await read(history);
    if (outcome.missed.length > 0) lost.push({ history, outcome });
    if (outcome.repeated.length > 0) repeated.push({ history, outcome });
    if (outcome.end?.verified !== true) unverified.push({ history, outcome });
  }
  return { lost, repeated, unverified };
};

it(
  `the walk misses nothing, repeats nothing and is verified, over ${count} random histories`,
  async () => {
    const { lost, repeated, unverified } = await play(walk, HISTORIES);
    expect({ lost, repeated, unverified }).toEqual({ lost: [], repeated: [], unverified: [] });
  },
  600_000,
);

it("reading pages 1, 2, 3… does lose sessions in the same histories", async () => {
  const { lost } = await play(readForward, HISTORIES / 20);
  expect(lost.length).toBeGreaterThan(HISTORIES / 20 / 10);
}, 600_000);
