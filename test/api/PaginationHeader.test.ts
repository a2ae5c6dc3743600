import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as PaginationHeader from "../../src/api/PaginationHeader.ts";

const header = {
  page_size: 10,
  current_page: 3,
  total_count: 25,
  has_previous: true,
  has_next: false,
};

describe("parse()", () => {
  it("reads the header as both of MonoCloud's SDKs do", () => {
    expect(PaginationHeader.parse(JSON.stringify(header))).toEqual({
      pageSize: 10,
      page: 3,
      total: 25,
      hasNext: false,
    });
  });

  it("reads an empty list, and ignores what it does not need", () => {
    const { has_previous: _, ...rest } = header;
    expect(PaginationHeader.parse(JSON.stringify({ ...rest, total_count: 0, more: [1] }))).toMatchObject({
      total: 0,
    });
  });

  it("gives nothing for an absent header", () => {
    expect(PaginationHeader.parse(undefined)).toBeUndefined();
  });

  it.each([
    "",
    "null",
    "[]",
    "25",
    "{",
    "not json",
    "{}",
    JSON.stringify([header]),
    `${JSON.stringify(header)}, ${JSON.stringify(header)}`,
    JSON.stringify(JSON.stringify(header)),
    ...[
      { page_size: 0 },
      { page_size: -1 },
      { page_size: 1.5 },
      { page_size: "10" },
      { page_size: null },
      { page_size: undefined },
      { current_page: 0 },
      { current_page: undefined },
      { total_count: -1 },
      { total_count: 0.5 },
      { total_count: 1e300 },
      { total_count: "25" },
      { total_count: undefined },
      { has_next: "false" },
      { has_next: 0 },
      { has_next: undefined },
    ].map((wrong) => JSON.stringify({ ...header, ...wrong })),
  ])("gives nothing for %s", (text) => {
    expect(PaginationHeader.parse(text)).toBeUndefined();
  });

  it("never throws, and gives a pagination that can be counted on, or none", () =>
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: "binary" }),
          fc.json(),
          fc.record({
            page_size: fc.anything(),
            current_page: fc.anything(),
            total_count: fc.anything(),
            has_next: fc.anything(),
          }, { requiredKeys: [] }).map((pagination) => {
            try {
              return JSON.stringify({ ...header, ...pagination });
            } catch {
              return "{";
            }
          }),
        ),
        (text) => {
          const pagination = PaginationHeader.parse(text);
          if (pagination === undefined) return;
          expect(Number.isSafeInteger(pagination.pageSize) && pagination.pageSize >= 1).toBe(true);
          expect(Number.isSafeInteger(pagination.page) && pagination.page >= 1).toBe(true);
          expect(Number.isSafeInteger(pagination.total) && pagination.total >= 0).toBe(true);
          expect(typeof pagination.hasNext).toBe("boolean");
        },
      ),
      { seed: 21, numRuns: 2000 },
    ));
});
