import * as Either from "effect/Either";
import * as Schema from "effect/Schema";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as SchemaPredicate from "../../src/scan/SchemaPredicate.ts";
import { Session } from "../../src/session/Session.ts";
import { served } from "../contract/sessions.ts";
import { some } from "../size.ts";

const isSession = SchemaPredicate.of(Session);
const bySchema = Schema.decodeUnknownEither(Session);

const awkward = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown>(
    null,
    "",
    "1",
    [],
    {},
    [null],
    -1,
    1.5,
    1e400,
    253_402_300_799,
    253_402_300_800,
    true,
  ),
);

type Fields = Record<string, unknown>;

/** A session with a member, or one of its metadata, replaced or taken away. */
const nearly = fc.tuple(served, fc.nat(), fc.boolean(), fc.option(awkward, { nil: undefined })).map(
  ([{ session }, pick, isInside, value]) => {
    const row: Fields = structuredClone(session as Fields);
    const inside = row["last_metadata"];
    const target = isInside && typeof inside === "object" && inside !== null ? inside as Fields : row;
    const names = Object.keys(target).filter((name) => name !== "__proto__");
    const name = names[pick % Math.max(1, names.length)];
    if (name === undefined) return row;
    if (value === undefined) delete target[name];
    else target[name] = value;
    return row;
  },
);

describe("of()", () => {
  it("says of any JSON value, session or nearly, what the schema says", () => {
    let accepted = 0;
    let refused = 0;
    fc.assert(
      fc.property(
        fc.oneof({ arbitrary: nearly, weight: 5 }, awkward, served.map(({ session }) => session)),
        (value) => {
          const expected = Either.isRight(bySchema(value));
          expect(isSession(value)).toBe(expected);
          if (expected) accepted++;
          else refused++;
        },
      ),
      { numRuns: some(20_000) },
    );
    // Both answers came up often enough for the comparison to mean something.
    expect(Math.min(accepted, refused)).toBeGreaterThan(some(2000));
  });

  it("refuses a schema that it can't follow", () => {
    expect(() => SchemaPredicate.of(Schema.Struct({ at: Schema.DateFromSelf }))).toThrow(
      "Cannot derive a guard as the schema must be made of plain types: it holds a Declaration",
    );
  });
});
