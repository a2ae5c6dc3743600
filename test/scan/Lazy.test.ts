import { describe, expect, it } from "vitest";
import * as Lazy from "../../src/scan/Lazy.ts";

describe("property()", () => {
  const make = () => {
    const made: Array<number> = [];
    const square = Lazy.property("square", ({ side }: { readonly side: number }) => {
      made.push(side);
      return side * side;
    });
    const of = (side: number) =>
      Object.defineProperty({ side }, "square", square) as { readonly side: number; readonly square: number };
    return { of, made };
  };

  it("is made when somebody first looks at it, once", () => {
    const { of, made } = make();
    const [three, four] = [of(3), of(4)];
    expect(made).toEqual([]);
    expect([three.square, three.square, four.square]).toEqual([9, 9, 16]);
    expect(made).toEqual([3, 4]);
  });

  it("is the object's own, so that copies have its value", () => {
    const { of, made } = make();
    const three = of(3);
    expect({ ...three }).toEqual({ side: 3, square: 9 });
    expect(JSON.stringify(three)).toBe('{"side":3,"square":9}');
    const frozen = Object.freeze(of(5));
    expect(Object.keys(frozen)).toEqual(["side", "square"]);
    expect(made).toEqual([3]);
    expect(frozen.square).toBe(25);
  });
});
