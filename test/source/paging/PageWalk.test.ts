import * as Schema from "effect/Schema";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as PageWalk from "../../../src/source/paging/PageWalk.ts";
import * as WalkCheckpoint from "../../../src/source/paging/WalkCheckpoint.ts";

const decodeState = Schema.decodeUnknownSync(Schema.parseJson(WalkCheckpoint.WalkState));

const shape: PageWalk.ListShape = {
  orders: [
    { sort: "time:-1", key: "time", type: "number", descending: true, fixed: true },
    { sort: "id:1", key: "id", type: "string", descending: false, fixed: true, unique: true },
  ],
};

type WalkRows = Readonly<Record<string, unknown>>;

/** Rows 1 to n, a second apart, the newest first. */
const listOf = (count: number): Array<WalkRows> =>
  Array.from(
    { length: count },
    (_, index) => ({ id: `r${String(count - index).padStart(5, "0")}`, time: count - index }),
  );

interface Tenant {
  readonly pagination?: "present" | "absent";
  readonly maxSize?: number;
  readonly list: (sort: string) => ReadonlyArray<PageWalk.Row>;
}

const answer = (
  { pagination = "present", maxSize = Infinity, list }: Tenant,
  { page, size, sort }: PageWalk.PageRequest,
) => {
  const rows = list(sort);
  const pageSize = Math.min(size, maxSize);
  const start = (page - 1) * pageSize;
  return {
    rows: rows.slice(start, start + pageSize),
    pagination: pagination === "absent"
      ? undefined
      : { pageSize, page, total: rows.length, hasNext: start + pageSize < rows.length },
  };
};

/** Takes in rows that have their id in `id`. */
const receive = (
  walk: PageWalk.Walk,
  request: PageWalk.PageRequest,
  { rows, pagination }: ReturnType<typeof answer>,
) => PageWalk.receive(shape, walk, request, { rows: PageWalk.walkRows(rows, "id"), pagination });

/** Walks to the end, one page at a time. */
const walkAll = (tenant: Tenant, size = 100) => {
  let walk = PageWalk.begin(size);
  const delivered: Array<PageWalk.Row> = [];
  const requests: Array<PageWalk.PageRequest> = [];
  while (!walk.done) {
    const planned = PageWalk.plan(shape, walk);
    const request = planned.requests[0]!;
    requests.push(request);
    if (requests.length > 10_000) throw new Error("the walk does not end");
    const given = answer(tenant, request);
    const step = receive(planned.walk, request, given);
    delivered.push(...step.take.map((index) => given.rows[index]!));
    walk = step.walk;
  }
  return { walk, delivered, requests };
};

const bySort = (rows: ReadonlyArray<WalkRows>) => (sort: string): ReadonlyArray<WalkRows> =>
  sort === "id:1" ? rows.toSorted((a, b) => String(a["id"]) < String(b["id"]) ? -1 : 1) : rows;

const inAnyOrder = (rows: ReadonlyArray<PageWalk.Row>) => rows.map((row) => JSON.stringify(row)).toSorted();

describe("a walk", () => {
  it("reads a list that fits a page in one request", () => {
    const { requests, delivered, walk } = walkAll({ list: () => listOf(99) });
    expect(requests).toEqual([{ page: 1, size: 100, sort: "time:-1" }]);
    expect(delivered).toHaveLength(99);
    expect(walk.unverifiedReasons).toEqual([]);
  });

  it("reads an empty list in one request, and asks once more where no header tells that it is empty", () => {
    expect(walkAll({ list: () => [] }).requests).toHaveLength(1);
    expect(walkAll({ list: () => [], pagination: "absent" }).requests).toHaveLength(2);
  });

  it("reads two pages' worth in two requests that overlap", () => {
    const { requests, delivered } = walkAll({ list: () => listOf(190) });
    expect(requests).toEqual([{ page: 1, size: 100, sort: "time:-1" }, {
      page: 2,
      size: 98,
      sort: "time:-1",
    }]);
    expect(delivered).toEqual(listOf(190));
  });

  it("asks for about an eighth more pages of 100 than need be, and a twentieth more of 1,000", () => {
    const [long, longer] = [listOf(20_000), listOf(200_000)];
    expect(walkAll({ list: () => long }).requests.length).toBeLessThan(200 * 1.16);
    expect(walkAll({ list: () => longer }, 1000).requests.length).toBeLessThan(200 * 1.06);
  });

  it("delivers any list once and in order, whatever the page size, the clamp and the page facts", () => {
    fc.assert(fc.property(
      fc.integer({ min: 0, max: 400 }),
      fc.integer({ min: 10, max: 150 }),
      fc.option(fc.integer({ min: 10, max: 150 }), { nil: Infinity }),
      fc.constantFrom("present", "absent"),
      (count, size, maxSize, pagination) => {
        const { walk, delivered } = walkAll({ list: () => listOf(count), pagination, maxSize }, size);
        expect(delivered).toEqual(listOf(count));
        expect(walk.unverifiedReasons).toEqual([]);
      },
    ));
  });

  it.each([10, 11, 12])("verifies a long list of which the tenant gives %i rows a page", (maxSize) => {
    const rows = listOf(3000);
    const { walk, delivered, requests } = walkAll({ list: bySort(rows), maxSize });
    expect(inAnyOrder(delivered)).toEqual(inAnyOrder(rows));
    expect(walk.unverifiedReasons).toEqual([]);
    // Pages of up to 10 rows all end at the 720th or the one after it, of up to 12 at the 2,520th: no step leads past them.
    expect(requests.length).toBeLessThan(4 * Math.ceil(rows.length / maxSize));
  });

  it("asks for no page again that was refused for its size, and finds another way", () => {
    const rows = listOf(300).map((row) => ({ ...row, time: 7 }));
    let walk = PageWalk.begin(100);
    const delivered: Array<PageWalk.Row> = [];
    let refusals = 0;
    while (!walk.done) {
      const planned = PageWalk.plan(shape, walk);
      const request = planned.requests[0]!;
      if (request.size > 100) {
        refusals++;
        walk = PageWalk.refused(planned.walk, 100);
        continue;
      }
      const given = answer({ list: bySort(rows) }, request);
      const step = receive(planned.walk, request, given);
      delivered.push(...step.take.map((index) => given.rows[index]!));
      walk = step.walk;
    }
    expect([refusals, delivered.length, walk.unverifiedReasons]).toEqual([1, 300, []]);
  });

  it("finds out that an answer before was wrong, and brings what it lacked, with what was stored in between", () => {
    const rows = listOf(500);
    // Once, a page is cut from the list in another order, and sorted after.
    const cutFirst = rows.map((_, index) => rows[(index * 101) % 500]!);
    for (const isStored of [false, true]) {
      let walk = PageWalk.begin(100);
      const delivered: Array<PageWalk.Row> = [];
      for (let nth = 1; !walk.done; nth++) {
        if (isStored) {
          walk = WalkCheckpoint.restore(decodeState(JSON.stringify(WalkCheckpoint.save(shape, walk))));
        }
        const planned = PageWalk.plan(shape, walk);
        const request = planned.requests[0]!;
        const honest = answer({ list: bySort(rows) }, request);
        const cut = answer({ list: () => cutFirst }, request);
        const given = nth !== 3 ? honest : {
          ...cut,
          rows: cut.rows.toSorted((a, b) =>
            Number((b as WalkRows)["time"]) - Number((a as WalkRows)["time"])
          ),
        };
        const step = receive(planned.walk, request, given);
        delivered.push(...step.take.map((index) => given.rows[index]!));
        walk = step.walk;
      }
      expect(inAnyOrder(delivered)).toEqual(inAnyOrder(rows));
      expect(walk.unverifiedReasons).toEqual([]);
    }
  });

  it("reads by id where more rows share a key than a page holds", () => {
    const rows = listOf(300).map((row) => ({ ...row, time: 7 }));
    const { walk, delivered, requests } = walkAll({ list: bySort(rows) });
    expect(new Set(delivered).size).toBe(300);
    expect(delivered).toHaveLength(300);
    expect(requests.at(-1)!.sort).toBe("id:1");
    expect(walk.unverifiedReasons).toEqual([]);
  });

  it("reads by id where the tenant does not keep to the order, and delivers nothing a second time", () => {
    const rows = listOf(300);
    // The order breaks only after the first page has been delivered.
    const disordered = [...rows.slice(0, 150), ...rows.slice(150).toReversed()];
    const { walk, delivered } = walkAll({
      list: (sort) => sort === "id:1" ? bySort(rows)(sort) : disordered,
    });
    expect(inAnyOrder(delivered)).toEqual(inAnyOrder(rows));
    // What the first order had brought is known by its ids.
    expect(walk.unverifiedReasons).toEqual([]);
  });

  it("reads pages 1, 2, 3… twice where the tenant keeps to no order, and is certain by the count", () => {
    const rows = listOf(250);
    const shuffled = rows.map((_, index) => rows[(index * 101) % 250]!);
    const { walk, delivered, requests } = walkAll({ list: () => shuffled });
    expect(new Set(delivered)).toEqual(new Set(rows));
    expect(delivered).toHaveLength(250);
    expect(walk.unverifiedReasons).toEqual([]);
    // Each order is tried three times; then three pages, twice.
    expect(requests).toHaveLength(2 * 3 + 2 * 3);
  });

  it("says so where the tenant keeps to no order and does not count", () => {
    const rows = listOf(250);
    const shuffled = rows.map((_, index) => rows[(index * 101) % 250]!);
    const { walk, delivered } = walkAll({ list: () => shuffled, pagination: "absent" });
    expect(new Set(delivered)).toEqual(new Set(rows));
    expect(delivered).toHaveLength(250);
    expect(walk.unverifiedReasons).toEqual(["rows came in another order than the one asked for"]);
  });

  it("reads pages 1, 2, 3… twice where the tenant ignores the size", () => {
    const rows = listOf(95);
    const fixed: Tenant = { list: () => rows };
    let walk = PageWalk.begin(100);
    const delivered: Array<PageWalk.Row> = [];
    while (!walk.done) {
      const planned = PageWalk.plan(shape, walk);
      const request = planned.requests[0]!;
      const given = answer(fixed, { ...request, size: 10 });
      const step = receive(planned.walk, request, given);
      delivered.push(...step.take.map((index) => given.rows[index]!));
      walk = step.walk;
    }
    expect(delivered).toEqual(rows);
    expect(walk.unverifiedReasons).toEqual([]);
  });

  it("delivers a row once that one answer has twice, in any order and however many share its time", () => {
    const row = fc.record({ n: fc.nat({ max: 30 }), isMalformed: fc.boolean() });
    fc.assert(fc.property(fc.array(row, { maxLength: 60 }), fc.boolean(), (drawn, isSorted) => {
      // Rows of the same number are the same row; three and three share a time.
      const rows = drawn.map(({ n }) => ({ id: `r${n}`, time: Math.floor(n / 3) }));
      const list = isSorted ? rows.toSorted((a, b) => b.time - a.time) : rows;
      const strays = drawn.map(({ n, isMalformed }) => isMalformed ? `stray ${n}` : undefined);
      for (const given of [list, list.map((row, index) => strays[index] ?? row)]) {
        const { delivered, walk } = walkAll({ list: () => given });
        const idsOf = (rows: ReadonlyArray<PageWalk.Row>) =>
          rows.filter((row) => typeof row === "object").map(({ id }) => String(id));
        expect(idsOf(delivered).toSorted()).toEqual([...new Set(idsOf(given))].toSorted());
        expect(walk.unverifiedReasons.includes("an id came twice in one reading of the list")).toBe(
          new Set(idsOf(given)).size < idsOf(given).length,
        );
      }
    }));
  });

  it("asks again for an answer that has a row twice, as when one comes to the head while the answer is made", () => {
    const rows = [{ id: "x", time: 200 }, { id: "y", time: 150 }];
    const torn = [...rows, { id: "x", time: 100 }];
    let answers = 0;
    const { walk, delivered, requests } = walkAll({ list: () => answers++ === 0 ? torn : rows });
    expect(delivered).toEqual(rows);
    expect(requests.map(({ size, fresh }) => [size, fresh])).toEqual([[100, undefined], [99, true]]);
    expect(walk.unverifiedReasons).toEqual([]);
  });

  it("needs no order for a list that comes in one answer", () => {
    const { walk, delivered } = walkAll({ list: () => listOf(50).toReversed() });
    expect(delivered).toHaveLength(50);
    expect(walk.unverifiedReasons).toEqual([]);
  });

  it("goes on past a total that is capped below what there is", () => {
    const rows = listOf(450);
    const capped = {
      list: () => rows,
      cap: (pagination: ReturnType<typeof answer>["pagination"]) =>
        pagination && { ...pagination, total: Math.min(pagination.total, 200) },
    };
    let walk = PageWalk.begin(100);
    const delivered: Array<PageWalk.Row> = [];
    while (!walk.done) {
      const planned = PageWalk.plan(shape, walk);
      const request = planned.requests[0]!;
      const given = answer(capped, request);
      const step = receive(planned.walk, request, {
        ...given,
        pagination: capped.cap(given.pagination),
      });
      delivered.push(...step.take.map((index) => given.rows[index]!));
      walk = step.walk;
    }
    expect(delivered).toEqual(rows);
  });

  it("asks once more after a full page, for the tenant may have counted before a row was inserted", () => {
    const before = listOf(100);
    const after = [{ id: "new", time: 101 }, ...before];
    let walk = PageWalk.begin(100);
    const delivered: Array<PageWalk.Row> = [];
    while (!walk.done) {
      const planned = PageWalk.plan(shape, walk);
      const request = planned.requests[0]!;
      const { pagination } = answer({ list: () => walk.total === undefined ? before : after }, request);
      const given = { ...answer({ list: () => after }, request), pagination };
      const step = receive(planned.walk, request, given);
      delivered.push(...step.take.map((index) => given.rows[index]!));
      walk = step.walk;
    }
    expect(delivered).toEqual(after);
    expect(walk.unverifiedReasons).toEqual([]);
  });

  it("goes through a long list again where its order broke late, and delivers the rest of it", () => {
    const rows = listOf(3000);
    const broken = [...rows.slice(0, 2500), ...rows.slice(2500).toReversed()];
    const { walk, delivered } = walkAll({ list: () => broken }, 10);
    expect(new Set(delivered).size).toBe(3000);
    expect(delivered).toHaveLength(3000);
    expect(walk.unverifiedReasons).toEqual([]);
  });

  it("ends where the tenant gives the same page for ever, and says so", () => {
    const rows = listOf(30);
    for (const page of [rows.slice(0, 10), rows.slice(0, 10).toReversed()]) {
      let walk = PageWalk.begin(10);
      const delivered: Array<PageWalk.Row> = [];
      for (let requests = 0; !walk.done; requests++) {
        expect(requests).toBeLessThan(400);
        const planned = PageWalk.plan(shape, walk);
        const step = receive(planned.walk, planned.requests[0]!, {
          rows: page,
          pagination: undefined,
        });
        delivered.push(...step.take.map((index) => page[index]!));
        walk = step.walk;
      }
      expect(delivered).toHaveLength(10);
      expect(walk.unverifiedReasons.length).toBeGreaterThan(0);
    }
  });

  it("does not verify a list of which the tenant counts more rows than it gives", () => {
    const rows = listOf(130);
    for (const known of [rows.slice(0, 60), rows]) {
      let walk = PageWalk.begin(100);
      const delivered: Array<PageWalk.Row> = [];
      while (!walk.done) {
        const planned = PageWalk.plan(shape, walk);
        const request = planned.requests[0]!;
        const given = answer({ list: bySort(known) }, request);
        const pagination = { ...given.pagination!, total: known.length + 1 };
        const step = receive(planned.walk, request, { ...given, pagination });
        delivered.push(...step.take.map((index) => given.rows[index]!));
        walk = step.walk;
      }
      expect(inAnyOrder(delivered)).toEqual(inAnyOrder(known));
      expect(walk.unverifiedReasons).toEqual(["the tenant counts more rows than it lists"]);
    }
  });

  it("ends where the tenant promises further pages for ever, and says so", () => {
    const rows = listOf(130);
    let walk = PageWalk.begin(100);
    const delivered: Array<PageWalk.Row> = [];
    for (let requests = 0; !walk.done; requests++) {
      expect(requests).toBeLessThan(300);
      const planned = PageWalk.plan(shape, walk);
      const request = planned.requests[0]!;
      const given = answer({ list: () => rows }, request);
      const step = receive(planned.walk, request, {
        ...given,
        pagination: { ...given.pagination!, total: 1_000_000, hasNext: true },
      });
      delivered.push(...step.take.map((index) => given.rows[index]!));
      walk = step.walk;
    }
    expect(delivered).toEqual(rows);
    expect(walk.unverifiedReasons.length).toBeGreaterThan(0);
  });

  it("delivers rows that are not what the list should hold once", () => {
    fc.assert(fc.property(
      fc.array(fc.boolean(), { maxLength: 300 }),
      fc.integer({ min: 10, max: 60 }),
      fc.constantFrom("present", "absent"),
      (isKnown, size, pagination) => {
        const rows = listOf(isKnown.length).map((row, index) => isKnown[index] ? row : JSON.stringify(row));
        const { delivered, walk } = walkAll({ list: () => rows, pagination }, size);
        expect(inAnyOrder(delivered)).toEqual(inAnyOrder(rows));
        // Without a header, only an answer below the documented page size is certainly whole.
        const isWhole = rows.length < (pagination === "present" ? size : 10);
        expect(walk.unverifiedReasons.length > 0).toBe(!isWhole && isKnown.includes(false));
      },
    ));
  });

  it.each([["in order", true], ["in no order", false]])(
    "stored as JSON between two answers goes on as if nothing had happened, %s",
    (_, isOrdered) => {
      const rows = listOf(500).map((row) => ({ ...row, time: Math.floor(Number(row["time"]) / 3) }));
      const list = isOrdered ? rows : rows.map((row, index) => rows[index ^ 1] ?? row);
      let walk = PageWalk.begin(50);
      const delivered: Array<PageWalk.Row> = [];
      while (!walk.done) {
        const saved = JSON.stringify(WalkCheckpoint.save(shape, walk));
        const planned = PageWalk.plan(shape, WalkCheckpoint.restore(decodeState(saved)));
        const request = planned.requests[0]!;
        const given = answer({ list: () => list }, request);
        const step = receive(planned.walk, request, given);
        delivered.push(...step.take.map((index) => given.rows[index]!));
        walk = step.walk;
      }
      expect(inAnyOrder(delivered)).toEqual(inAnyOrder(rows));
      expect(walk.unverifiedReasons.length > 0).toBe(!isOrdered);
    },
  );

  it("refuses pages too small to overlap", () => {
    expect(() => PageWalk.begin(9)).toThrow("must be an integer of 10 or more: it is 9");
  });
});
