/** The structure of the code, as `docs/graph.ts` draws it. */
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { circlesOf, draw, readFiles, roomsOf } from "../docs/graph.ts";
import { below, roomOf } from "./lint/rooms.ts";

const root = new URL("../", import.meta.url);
const files = await readFiles(new URL("src/", root));

describe("the source", () => {
  it("has imports that its files are there for", () => {
    const missing = [...files].flatMap(([name, { imports }]) =>
      imports.filter((target) => !files.has(target)).map((target) => `${name}: ${target}`)
    );
    expect(missing).toEqual([]);
  });

  it("has no circle of files", () => {
    expect(circlesOf(files)).toEqual([]);
  });

  it("has rooms that import from rooms below alone, on eight floors at most", () => {
    const rooms = roomsOf(files);
    for (const [name, { imports }] of rooms) {
      expect([name, [...imports.keys()].filter((target) => !below[name]?.includes(target))]).toEqual([
        name,
        [],
      ]);
    }
    expect(Math.max(...[...rooms.values()].map(({ floor }) => floor))).toBeLessThan(8);
    expect([...rooms.keys()].sort()).toEqual(Object.keys(below).sort());
  });

  it("is drawn as it is: else run `npm run graph`", async () => {
    expect(await readFile(new URL("docs/rooms.svg", root), "utf8")).toBe(draw(roomsOf(files)));
  });
});

describe("the benchmarks", () => {
  it("have no circle of files", async () => {
    expect(circlesOf(await readFiles(new URL("bench/", root)))).toEqual([]);
  });
});

describe("circlesOf()", () => {
  it("tells a circle by the files along it", () => {
    const importing = (...imports: ReadonlyArray<string>) => ({ imports });
    const circle = new Map([
      ["a/x.ts", importing("b/y.ts")],
      ["b/y.ts", importing("b/z.ts", "c.ts")],
      ["b/z.ts", importing("a/x.ts")],
      ["c.ts", importing()],
    ]);
    expect(circlesOf(circle)).toEqual([["a/x.ts", "b/y.ts", "b/z.ts", "a/x.ts"]]);
    expect(() => roomsOf(circle)).toThrow("rooms in a circle: a → b → a");
    expect(roomOf("c.ts")).toBe("c");
  });
});
