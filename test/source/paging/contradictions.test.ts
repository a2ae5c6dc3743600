/** Answers that contradict each other, and honest lists that look as if they did. */
import { describe, expect, it } from "vitest";
import * as Schema from "effect/Schema";
import * as PageWalk from "../../../src/source/paging/PageWalk.ts";
import * as WalkCheckpoint from "../../../src/source/paging/WalkCheckpoint.ts";
import { draws } from "./histories.ts";
import { type Row, shape } from "./timed.ts";
import { some } from "../../size.ts";

interface Answer {
  readonly rows: ReadonlyArray<Row>;
  readonly pagination:
    | { readonly page: number; readonly pageSize: number; readonly total: number; readonly hasNext: boolean }
    | undefined;
}

const rowOf = (time: number): Row => ({ id: `${(time * 7919) % 100_003}-${time}`, time });
const listOf = (count: number) => Array.from({ length: count }, (_, index) => rowOf(count - index));

const sorted = (rows: ReadonlyArray<Row>, sort: string) =>
  rows.toSorted((a, b) => sort === "id:1" ? (a.id < b.id ? -1 : 1) : b.time - a.time);

const honest = (list: ReadonlyArray<Row>, { page, size, sort }: PageWalk.PageRequest): Answer => ({
  rows: sorted(list, sort).slice((page - 1) * size, page * size),
  pagination: { page, pageSize: size, total: list.length, hasNext: page * size < list.length },
});

const decode = Schema.decodeUnknownSync(Schema.parseJson(WalkCheckpoint.WalkState));

/** Walks, an answer at a time: `serve` gives the nth. */
const walkAll = (
  serve: (request: PageWalk.PageRequest, nth: number) => Answer | "refused",
  { size = 100, isStored = () => false }: {
    readonly size?: number;
    readonly isStored?: (nth: number) => boolean;
  } = {},
) => {
  let walk = PageWalk.begin(size);
  const delivered: Array<string> = [];
  let requests = 0;
  while (!walk.done) {
    if (++requests > 2000) throw new Error("the walk does not end");
    if (isStored(requests)) {
      walk = WalkCheckpoint.restore(decode(JSON.stringify(WalkCheckpoint.save(shape, walk))));
    }
    const planned = PageWalk.plan(shape, walk);
    const request = planned.requests[0]!;
    const answer = serve(request, requests);
    if (answer === "refused") {
      walk = PageWalk.refused(planned.walk, size);
      continue;
    }
    const { rows, pagination } = answer;
    const step = PageWalk.receive(shape, planned.walk, request, {
      rows: PageWalk.walkRows(rows, "id"),
      pagination,
    });
    walk = step.walk;
    for (const index of step.take) delivered.push(rows[index]!.id);
  }
  return { delivered, requests, unverifiedReasons: walk.unverifiedReasons };
};

const expectWhole = (
  { delivered, unverifiedReasons }: ReturnType<typeof walkAll>,
  rows: ReadonlyArray<Row>,
) => {
  expect(delivered.toSorted()).toEqual(rows.map(({ id }) => id).toSorted());
  expect(unverifiedReasons).toEqual([]);
};

describe("an answer that agrees with itself, and not with those before,", () => {
  const rows = listOf(450);

  it.each([2, 3, 4, 5])("such as an empty list, is found out: answer %i", (at) => {
    const empty = { rows: [], pagination: { page: 1, pageSize: 100, total: 0, hasNext: false } };
    expectWhole(walkAll((request, nth) => nth === at ? empty : honest(rows, request)), rows);
  });

  it.each([2, 3, 4, 5])("such as one of a list that lacks rows, is found out: answer %i", (at) => {
    const lacking = rows.filter((_, index) => index % 15 !== 7);
    expectWhole(walkAll((request, nth) => honest(nth === at ? lacking : rows, request)), rows);
  });

  it.each([2, 3, 4, 5])("such as half a page that is told as the last, is found out: answer %i", (at) => {
    expectWhole(
      walkAll((request, nth) => {
        const { rows: given, pagination } = honest(rows, request);
        if (nth !== at) return { rows: given, pagination };
        const half = given.slice(0, given.length >> 1);
        const total = (request.page - 1) * request.size + half.length;
        return {
          rows: half,
          pagination: { page: request.page, pageSize: request.size, total, hasNext: false },
        };
      }),
      rows,
    );
  });

  it.each([7, 8, 9, 10, 11, 12])("is no proof where the tenant does not sort: answer %i", (at) => {
    const shuffled = rows.map((_, index) => rows[(index * 101) % 450]!);
    const empty = { rows: [], pagination: { page: 1, pageSize: 100, total: 0, hasNext: false } };
    const found = walkAll(({ page, size }, nth) => {
      const pagination = { page, pageSize: size, total: 450, hasNext: page * size < 450 };
      return nth === at ? empty : { rows: shuffled.slice((page - 1) * size, page * size), pagination };
    });
    expect(found.delivered.length === 450 || found.unverifiedReasons.length > 0).toBe(true);
  });

  it("as the first page is told for another, while rows go, is found out", () => {
    let list = rows;
    const { delivered, unverifiedReasons } = walkAll((request, nth) => {
      if (nth === 3) list = list.toSpliced(40, 40);
      const { rows: given, pagination } = honest(list, request);
      return { rows: given, pagination: { ...pagination!, page: nth === 3 ? 1 : pagination!.page } };
    });
    const ids = new Set(delivered);
    expect(list.filter(({ id }) => !ids.has(id))).toEqual([]);
    expect(unverifiedReasons).toEqual([]);
  });
});

it("a list of which nothing more is counted leaves a doubt", () => {
  const rows = listOf(450);
  const { delivered, unverifiedReasons } = walkAll((request, nth) =>
    nth < 3 ? honest(rows, request) : { rows: [], pagination: undefined }
  );
  expect(delivered.length).toBeLessThan(450);
  expect(unverifiedReasons.length).toBeGreaterThan(0);
});

it("a page size that is told once and refused is not asked for again", () => {
  const rows = listOf(250);
  expectWhole(
    walkAll((request, nth) => {
      if (request.size > 100) return "refused";
      const { rows: given, pagination } = honest(rows, request);
      return {
        rows: given,
        pagination: { ...pagination!, pageSize: nth === 1 ? 1000 : pagination!.pageSize },
      };
    }),
    rows,
  );
});

it("a list in which one goes for each that comes costs a request more, and is verified", () => {
  for (const count of [150, 250, 1000, 5000]) {
    for (const every of [1, 5, 30]) {
      let list = listOf(count);
      let next = count + 1;
      const there = new Set(list.map(({ id }) => id));
      const { delivered, requests, unverifiedReasons } = walkAll((request, nth) => {
        if (nth % every === 0) {
          there.delete(list.at(-1)!.id);
          list = [rowOf(next++), ...list.slice(0, -1)];
        }
        return honest(list, request);
      });
      const ids = new Set(delivered);
      expect([count, every, unverifiedReasons, [...there].filter((id) => !ids.has(id))]).toEqual([
        count,
        every,
        [],
        [],
      ]);
      expect(ids.size).toBe(delivered.length);
      expect(requests).toBeLessThanOrEqual(Math.ceil(count / 100) * 1.17 + 3);
    }
  }
});

it("stored and restored between any answers, a walk loses and repeats nothing, with a header, without, and at times", () => {
  for (let seed = 1; seed <= some(400); seed++) {
    const draw = draws(seed);
    let made = 0;
    const make = (): Row => ({ id: `${Math.floor(draw() * 1e6)}-${made++}`, time: Math.floor(draw() * 300) });
    let list = Array.from({ length: Math.floor(draw() * 400) }, make);
    const there = new Set(list.map(({ id }) => id));
    const headers = [0, 0.5, 1][seed % 3]!;
    const share = draw();
    const { delivered, unverifiedReasons } = walkAll((request) => {
      if (draw() < 0.3) {
        if (draw() < 0.5 && list.length > 0) {
          const at = Math.floor(draw() * list.length);
          there.delete(list[at]!.id);
          list = list.toSpliced(at, 1);
        } else list = [...list, make()];
      }
      const answer = honest(list, request);
      return draw() < headers ? answer : { ...answer, pagination: undefined };
    }, { size: 10 + Math.floor(draw() * 60), isStored: () => draw() < share });
    const ids = new Set(delivered);
    expect([seed, ids.size]).toEqual([seed, delivered.length]);
    const missing = [...there].filter((id) => !ids.has(id));
    expect([seed, missing.length > 0 && unverifiedReasons.length === 0]).toEqual([seed, false]);
  }
});
