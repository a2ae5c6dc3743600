/**
 * Tenants that are honest but awkward, drawn at random: whatever they do, the walk ends, and either it delivers every row
 * that was there throughout and none twice, or it says that this is not verified.
 */
import { describe, expect, it } from "vitest";
import * as PageWalk from "../../../src/source/paging/PageWalk.ts";
import { draws } from "./histories.ts";
import { some } from "../../size.ts";

const shape: PageWalk.ListShape = {
  orders: [
    { sort: "time:-1", key: "time", type: "number", descending: true, fixed: true },
    { sort: "id:1", key: "id", type: "string", descending: false, fixed: true, unique: true },
  ],
};

/** What is awkward about a tenant. */
interface Awkward {
  /** How often an answer carries a pagination header. */
  readonly pagination: number;
  /** The largest page changes from answer to answer. */
  readonly moodyClamp?: boolean;
  /** Only pages of 10, 25, 50 and 100 are given. */
  readonly roundsSize?: boolean;
  /** The total is counted before the changes that come between it and the rows. */
  readonly countsEarly?: boolean;
  readonly capsTotal?: boolean;
  /** Whether there is a next page is told by the rows, not by the total. */
  readonly looksAhead?: boolean;
  /** A page past the end is answered with the last one. */
  readonly clampsPage?: boolean;
  /** The page size in the pagination is the one asked for, whatever is given. */
  readonly echoesSize?: boolean;
  /** Half of the list may go at once. */
  readonly bursts?: boolean;
  /** Rows come in an order of its own, whatever is asked for. */
  readonly ignoresSort?: boolean;
  /** Nothing changes while the list is read: then nothing may be lost, not even with a reason. */
  readonly isStill?: boolean;
  /** How often a row is not what it should be. */
  readonly malformed?: number;
}

interface WalkRows {
  readonly id: string;
  readonly time: number;
  readonly isMalformed: boolean;
}

interface Change {
  readonly draw: () => number;
  readonly list: Array<WalkRows>;
  readonly gone: Set<WalkRows>;
  readonly make: () => WalkRows;
}

const below = (draw: () => number, limit: number) => Math.floor(draw() * limit);

const change = ({ draw, list, gone, make }: Change, rate: number, bursts: boolean): void => {
  for (
    let left = bursts && draw() < 0.1 ? below(draw, list.length / 2) : below(draw, 2 * rate + 1);
    left > 0;
    left--
  ) {
    if (list.length > 0 && draw() < 0.5) {
      const [removed] = list.splice(below(draw, draw() < 0.6 ? Math.min(list.length, 40) : list.length), 1);
      gone.add(removed!);
    } else list.push(make());
  }
};

/** Plays one random tenant of this kind; says what was wrong, if anything. */
const play = (seed: number, awkward: Awkward): string | undefined => {
  const draw = draws(seed);
  const span = [3, 20, 200, 5000][below(draw, 4)]!;
  let made = 0;
  const make = (): WalkRows => ({
    id: `${String(below(draw, 1e6)).padStart(6, "0")}-${made++}`,
    time: below(draw, span),
    isMalformed: draw() < (awkward.malformed ?? 0),
  });
  const list = Array.from({ length: below(draw, draw() < 0.3 ? 40 : 500) }, make);
  const there = [...list];
  const gone = new Set<WalkRows>();
  const rate = awkward.isStill ? 0 : [0, 0.5, 3, 12][below(draw, 4)]!;
  const concurrency = 1 + below(draw, 5);
  let clamp = draw() < 0.4 ? Infinity : 10 + below(draw, 150);

  const serve = ({ page, size, sort }: PageWalk.PageRequest) => {
    const counted = list.length;
    change({ draw, list, gone, make }, rate, awkward.bursts ?? false);
    if (awkward.moodyClamp && draw() < 0.2) clamp = 10 + below(draw, 100);
    const cut = Math.min(size, clamp);
    const given = awkward.roundsSize ? [100, 50, 25, 10].find((each) => each <= cut) ?? 10 : cut;
    const ties = new Map(list.map((row) => [row, draw()]));
    const sorted = awkward.ignoresSort
      ? list
      : list.toSorted((a, b) =>
        sort === "id:1" ? (a.id < b.id ? -1 : 1) : b.time - a.time || ties.get(a)! - ties.get(b)!
      );
    const total = Math.min(
      awkward.capsTotal ? 50 + below(draw, 300) : Infinity,
      awkward.countsEarly && draw() < 0.5 ? counted : sorted.length,
    );
    const number = awkward.clampsPage ? Math.max(1, Math.min(page, Math.ceil(sorted.length / given))) : page;
    const start = (number - 1) * given;
    const pagination = {
      page: number,
      pageSize: awkward.echoesSize ? size : given,
      total,
      hasNext: number * given < (awkward.looksAhead ? sorted.length : total),
    };
    return {
      rows: sorted.slice(start, start + given),
      pagination: draw() < awkward.pagination ? pagination : undefined,
    };
  };

  let walk = PageWalk.begin(10 + below(draw, draw() < 0.5 ? 30 : 120));
  // Sizes that are found out change as other walks find out more.
  const sizes = draw() < 0.5 ? [] : Array.from({ length: 4 }, () => 10 + below(draw, 300));
  const delivered = new Map<WalkRows, number>();
  /** What has been asked for, in order, and its answer once there is one: in any order. */
  let asked: Array<{ request: PageWalk.PageRequest; answer?: ReturnType<typeof serve> }> = [];
  for (let requests = 0; !walk.done;) {
    if (asked.length === 0) {
      if (sizes.length > 0 && draw() < 0.5) walk = PageWalk.resize(shape, walk, sizes[below(draw, 4)]!);
      const planned = PageWalk.plan(shape, walk, concurrency);
      walk = planned.walk;
      asked = planned.requests.map((request) => ({ request }));
      requests += asked.length;
    }
    if (requests > 5_000) return "it does not end";
    for (const one of asked.toSorted(() => draw() - 0.5)) {
      if (one === asked[0] || draw() < 0.5) one.answer ??= serve(one.request);
    }
    const { request, answer } = asked[0]!;
    const { rows, pagination } = answer!;
    const known = rows.map((row) => row.isMalformed ? row.id : { ...row });
    const step = PageWalk.receive(shape, walk, request, { rows: PageWalk.walkRows(known, "id"), pagination });
    walk = step.walk;
    for (const index of step.take) delivered.set(rows[index]!, (delivered.get(rows[index]!) ?? 0) + 1);
    if (!step.onCourse) asked = [];
    else {
      const last = asked.at(-1)!.request;
      const next = asked.length > concurrency ? undefined : PageWalk.ahead(shape, walk, last);
      asked = [...asked.slice(1), ...(next === undefined ? [] : [{ request: next }])];
      if (next !== undefined) requests++;
    }
  }
  const lost = there.filter((row) => !gone.has(row) && !delivered.has(row));
  const twice = [...delivered].filter(([, times]) => times > 1);
  if (twice.length > 0) return `${twice.length} rows came twice`;
  const isSilent = walk.unverifiedReasons.length === 0;
  return lost.length > 0 && (awkward.isStill || isSilent)
    ? `${lost.length} rows were lost${isSilent ? " in silence" : ""}`
    : undefined;
};

describe("a walk over a tenant that", () => {
  it.each<[string, Awkward]>([
    ["is quite in order", { pagination: 1 }],
    ["sends no page facts", { pagination: 0, bursts: true }],
    ["sends page pagination at times", { pagination: 0.6, bursts: true }],
    ["counts before it lists", { pagination: 0.8, countsEarly: true, bursts: true }],
    ["counts early and looks ahead", { pagination: 1, countsEarly: true, looksAhead: true }],
    ["caps its total", { pagination: 0.8, capsTotal: true, looksAhead: true, bursts: true }],
    ["caps its total, and knows no more", { pagination: 1, capsTotal: true }],
    ["answers with the last page past the end", { pagination: 1, clampsPage: true, bursts: true }],
    ["answers with the last page past the end, without facts", {
      pagination: 0,
      clampsPage: true,
      bursts: true,
    }],
    ["changes its largest page", { pagination: 0.7, moodyClamp: true, bursts: true }],
    ["changes its largest page, without facts", { pagination: 0, moodyClamp: true }],
    ["changes its largest page and caps its total", {
      pagination: 1,
      moodyClamp: true,
      capsTotal: true,
      looksAhead: true,
    }],
    ["rounds page sizes", { pagination: 1, roundsSize: true }],
    ["rounds page sizes, without facts", { pagination: 0, roundsSize: true }],
    ["says it gave the size asked for", { pagination: 1, echoesSize: true }],
    ["has rows that are not what they should be", { pagination: 1, malformed: 0.05 }],
    ["has such rows, without facts", { pagination: 0, malformed: 0.05 }],
    ["does not sort", { pagination: 0.8, ignoresSort: true, bursts: true }],
    ["does not sort, and changes its largest page over a list that stands still", {
      pagination: 1,
      ignoresSort: true,
      moodyClamp: true,
      isStill: true,
    }],
    ["does not sort, and rounds page sizes of a list that stands still", {
      pagination: 0.8,
      ignoresSort: true,
      roundsSize: true,
      isStill: true,
    }],
    ["changes its largest page over a list that stands still", {
      pagination: 1,
      moodyClamp: true,
      isStill: true,
    }],
  ])("%s loses nothing in silence, repeats nothing, and ends", (_, awkward) => {
    const problems: Array<string> = [];
    for (let seed = 1; seed <= some(400); seed++) {
      const problem = play(seed, awkward);
      if (problem !== undefined) problems.push(`seed ${seed}: ${problem}`);
    }
    expect(problems).toEqual([]);
  });
});
