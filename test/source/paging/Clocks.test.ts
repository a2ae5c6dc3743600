import { expect, it } from "vitest";
import * as Clocks from "../../../src/source/paging/Clocks.ts";

const OWN = 1_790_000_000;

it.each([
  ["a Date like ours", OWN - 10, OWN, { certain: OWN - 10, possible: OWN + 50, whose: "tenant" }],
  ["a Date some hours back", OWN - 7200, OWN, { certain: OWN - 7200, possible: OWN - 7140, whose: "tenant" }],
  ["a Date some hours ahead", OWN + 7200, OWN, { certain: OWN + 300, possible: OWN + 7260, whose: "tenant" }],
  ["no Date", undefined, OWN, { certain: OWN - 300, possible: OWN + 300, whose: "own" }],
  ["a Date years back", 0, OWN, { certain: OWN - 300, possible: OWN + 300, whose: "own" }],
  ["a Date years ahead", OWN + 1e8, OWN, { certain: OWN - 300, possible: OWN + 300, whose: "own" }],
  ["a Date, and a clock that was never set", OWN, 5, { certain: OWN, possible: OWN + 60, whose: "tenant" }],
  ["neither", undefined, 5, { certain: Infinity, possible: Infinity, whose: "own" }],
])("the time by %s", (_, servedAt, own, now) => {
  expect(Clocks.read(servedAt, own)).toEqual(now);
});
