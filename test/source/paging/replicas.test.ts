/** A tenant of replicas that lag: each answer is of a state up to so many changes ago, now this one, now that. */
import { expect, it } from "vitest";
import * as PageWalk from "../../../src/source/paging/PageWalk.ts";
import { draws } from "./histories.ts";
import { type Row, shape } from "./timed.ts";
import { some } from "../../size.ts";

/** How many changes an answer may be behind. */
const LAG = 20;

/** Reads one random history. */
const play = (seed: number) => {
  const draw = draws(seed);
  const below = (limit: number) => Math.floor(draw() * limit);
  let made = 0;
  const rowOf = (time: number): Row => ({ id: `${String(below(1e6)).padStart(6, "0")}-${made++}`, time });
  const span = [50, 1000, 1e6][below(3)]!;
  let list = Array.from({ length: below(600) }, () => rowOf(below(span)));
  const states: Array<ReadonlyArray<Row>> = [];
  const change = () => {
    list = draw() < 0.5 && list.length > 0
      ? list.toSpliced(below(list.length), 1)
      : [...list, rowOf(draw() < 0.7 ? span + made : below(span))];
    states.push(list);
  };
  states.push(list);
  for (let n = 0; n < LAG; n++) change();
  const rate = [0.2, 1, 4][below(3)]!;
  const size = [10, 25, 100][below(3)]!;
  let walk = PageWalk.begin(size);
  const delivered: Array<string> = [];
  let requests = 0;
  while (!walk.done) {
    if (++requests > 5000) throw new Error(`seed ${seed} does not end`);
    const planned = PageWalk.plan(shape, walk);
    const request = planned.requests[0]!;
    for (let left = rate * 2 * draw(); left > draw(); left--) change();
    const shown = states.at(-1 - below(LAG + 1))!;
    const rows = shown
      .toSorted((a, b) =>
        request.sort === "id:1" ? (a.id < b.id ? -1 : 1) : b.time - a.time || (a.id < b.id ? -1 : 1)
      )
      .slice((request.page - 1) * request.size, request.page * request.size);
    const pagination = {
      page: request.page,
      pageSize: request.size,
      total: shown.length,
      hasNext: request.page * request.size < shown.length,
    };
    const step = PageWalk.receive(shape, planned.walk, request, {
      rows: PageWalk.walkRows([...rows], "id"),
      pagination,
    });
    walk = step.walk;
    for (const index of step.take) delivered.push(rows[index]!.id);
  }
  // What every state had that an answer may have been of.
  const always = states[0]!.filter((row) => states.every((state) => state.includes(row)));
  const ids = new Set(delivered);
  return {
    missing: always.filter(({ id }) => !ids.has(id)).length,
    repeated: delivered.length - ids.size,
    verified: walk.unverifiedReasons.length === 0,
    unverifiedReasons: walk.unverifiedReasons,
    requests,
  };
};

it(`replicas that lag by up to ${LAG} changes lose nothing, and leave hardly a doubt`, () => {
  const histories = some(1000);
  const problems: Array<string> = [];
  let [unverified, requests] = [0, 0];
  for (let seed = 1; seed <= histories; seed++) {
    const found = play(seed);
    requests += found.requests;
    if (!found.verified) unverified++;
    if ((found.missing > 0 && found.verified) || found.repeated > 0) {
      problems.push(JSON.stringify({ seed, ...found }));
    }
  }
  console.log(
    `${histories} histories, ${requests} requests: ${unverified} unverified, ${problems.length} wrong`,
  );
  expect(problems).toEqual([]);
  expect(unverified).toBeLessThan(Math.max(1, histories / 100));
});
