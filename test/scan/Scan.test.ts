import * as Schema from "effect/Schema";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as Fields from "../../src/scan/Fields.ts";
import * as JsonRows from "../../src/scan/JsonRows.ts";
import { members } from "../../src/scan/JsonText.ts";
import * as Scan from "../../src/scan/Scan.ts";
import * as Session from "../../src/session/Session.ts";
import { anyText, jsonArray, page, served, usual } from "../contract/sessions.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true });

const texts = ["session_id", "session_key"].concat(
  ["country", "region", "city", "latitude", "longitude", "ip_address", "user_agent"].map((name) =>
    `last_metadata.${name}`
  ),
);
const numbers = ["initiated_at", "expires_at", "last_updated"];

const valueAt = (row: unknown, path: string): unknown =>
  path.split(".").reduce((value, name) => (value as Record<string, unknown> | null | undefined)?.[name], row);

/** Everything that a scan says of rows, as values. */
const said = ({ bytes, fields }: JsonRows.JsonRows, row: number): Record<string, unknown> => {
  const found: Record<string, unknown> = {};
  const { texts: at, textCount, numbers: values, numberCount } = fields!;
  const read = (path: string) => {
    const place = 2 * (row * textCount + Session.place("texts", path));
    return at[place]! < 0 ? undefined : Fields.text(bytes, at[place]!, at[place + 1]!);
  };
  for (const path of texts) found[path] = read(path);
  for (const path of numbers) found[path] = values[row * numberCount + Session.place("numbers", path)];
  const place = 2 * (row * textCount + Session.place("texts", "client_ids"));
  const end = at[place + 1]!;
  found["client_ids"] = JSON.parse(utf8.decode(bytes.subarray(at[place]!, end < 0 ? ~end : end)));
  return found;
};

/** The same, of what `JSON.parse` makes of them. */
const expected = (row: unknown): Record<string, unknown> =>
  Object.fromEntries(
    [...texts, ...numbers, "client_ids"].map((path) => [path, valueAt(row, path) ?? undefined]),
  );

const known: Readonly<Record<string, ReadonlyArray<string>>> = {
  "": [...texts, ...numbers, "client_ids", "last_metadata"].filter((name) => !name.includes(".")),
  last_metadata: texts.filter((name) => name.includes(".")).map((name) => name.split(".")[1]!),
};

/** What a scan says of the members that are not known, by the object they are in: each name with its value. */
const othersOf = ({ bytes, fields }: JsonRows.JsonRows, row: number): Record<string, unknown> => {
  const found: Record<string, Array<unknown>> = { "": [], last_metadata: [] };
  const others = fields!.others[row] ?? [];
  for (let i = 0; i < others.length; i += Fields.OTHER) {
    const [object, name, nameEnd, from, end] = others.slice(i) as [number, number, number, number, number];
    const path = object === Session.place("objects", "last_metadata") ? "last_metadata" : "";
    found[path]!.push([Fields.text(bytes, name, nameEnd), JSON.parse(Fields.json(bytes, from, end))]);
  }
  return found;
};

const expectedOthers = (text: string): Record<string, unknown> => {
  const unknownIn = (path: string, text: string) =>
    members(text).filter(([name]) => !known[path]!.includes(name))
      .map(([name, value]) => [name, JSON.parse(value)]);
  const metadata = members(text).find(([name]) => name === "last_metadata")?.[1] ?? "null";
  return {
    "": unknownIn("", text),
    last_metadata: metadata === "null" ? [] : unknownIn("last_metadata", metadata),
  };
};

/** Whether the scan takes these bytes, in whole or in part: then all it says must be so. */
const take = (bytes: Uint8Array): "all" | "some" | "none" => {
  const found = Session.scan(bytes);
  if (found === undefined) return "none";
  const { rows, odd } = found;
  const values: unknown = JSON.parse(utf8.decode(bytes));
  if (!Array.isArray(values)) throw new Error("no array");
  expect(rows.from.length).toBe(values.length);
  const cut = JsonRows.cut(bytes);
  expect([rows.from, rows.to, rows.areLines]).toEqual([cut.from, cut.to, cut.areLines]);
  values.forEach((value, row) => {
    if (odd.includes(row)) return;
    expect(Session.is(value)).toBe(true);
    expect(said(rows, row)).toEqual(expected(value));
    expect(othersOf(rows, row)).toEqual(expectedOthers(JsonRows.text(rows, row)));
    expect(value).not.toHaveProperty("user_id");
  });
  return odd.length === 0 ? "all" : "some";
};

describe("scan()", () => {
  it("takes any sessions that are written as nearly all are, in any order of fields", () => {
    fc.assert(fc.property(fc.array(usual, { maxLength: 4 }), (rows) => {
      expect(take(page(rows))).toBe("all");
    }));
  });

  it("takes no bytes that are not JSON, no row that is no session, and never takes one for another", () => {
    const times = { all: 0, some: 0, none: 0 };
    const changed = fc.tuple(
      fc.array(usual, { minLength: 1, maxLength: 3 }).map(page),
      fc.array(
        fc.tuple(
          fc.nat(),
          fc.constantFrom(0, 1, 2),
          fc.oneof(
            fc.nat({ max: 255 }),
            fc.constantFrom(...[...'0123456789eE+-."\\{}[],: nut'].map((c) => c.charCodeAt(0))),
          ),
        ),
        { minLength: 1, maxLength: 2 },
      ),
    ).map(([bytes, changes]) => {
      const all = [...bytes];
      for (const [at, cut, byte] of changes) {
        all.splice(at % all.length, cut, ...(byte % 7 === 0 ? [] : [byte]));
      }
      return Uint8Array.from(all);
    });
    fc.assert(
      fc.property(fc.oneof(changed, jsonArray.map(({ text }) => new TextEncoder().encode(text))), (bytes) => {
        times[take(bytes)]++;
      }),
      { numRuns: 3000 },
    );
    expect(Math.min(...Object.values(times))).toBeGreaterThan(100);
  });

  it("says of any page of sessions what JSON.parse says, if it takes it", () => {
    const times = { all: 0, some: 0, none: 0 };
    fc.assert(fc.property(fc.array(served, { maxLength: 2 }), (rows) => {
      times[take(page(rows.map(({ source }) => source)))]++;
    }));
    // A page is left alone only for values within values within values.
    expect(times.none).toBe(0);
    expect(Math.min(times.all, times.some)).toBeGreaterThan(0);
  });

  const row = JSON.parse(
    '{"session_id":"S","client_ids":[],"initiated_at":1,"expires_at":2,"last_updated":3}',
  ) as Record<string, unknown>;
  const text = JSON.stringify(row);

  it.each([
    ["a byte order mark", `\ufeff[${text}]`],
    ["a zero in front", `[${text.replace(":1,", ":01,")}]`],
    ["a comma too many", `[${text},]`],
    ["something behind it", `[${text}]]`],
    ["values 65 deep", `[{"a":${"[".repeat(65)}${"]".repeat(65)}}]`],
    ["a name without quotes", `[{a:1}]`],
    ["a control character", `[{"a":"\n"}]`],
    ["no array", text],
    ["nothing", ""],
  ])(
    "leaves a page with %s to JSON.parse",
    (_, text) => expect(Session.scan(new TextEncoder().encode(text))).toBeUndefined(),
  );

  it.each([
    ["a field twice", text.replace("}", ',"session_id":"T"}')],
    ["an unknown field twice", text.replace("}", ',"a":1,"a":2}')],
    ["a name with an escape", text.replace("session_id", "session\\u005fid")],
    ["a name with more than ASCII", text.replace("}", ',"é":1}')],
    ["a name before a space", text.replace('"session_id":', '"session_id" :')],
    ["a user of its own", text.replace("}", ',"user_id":"mia"}')],
    ["a fraction", text.replace(":1,", ":1.0,")],
    ["a time that is too late", text.replace(":1,", ":253402300800,")],
    ["an id without a character", text.replace('"S"', '""')],
    ["no id", text.replace("session_id", "session")],
    ["no object", "null"],
    [
      "more fields that are not known than are compared",
      text.replace("}", Array.from({ length: 33 }, (_, n) => `,"a${n}":1`).join("") + "}"),
    ],
  ])("leaves a row with %s to JSON.parse, and takes those beside it", (_, odd) => {
    const found = Session.scan(page([text, odd, text]));
    expect(found?.odd).toEqual([1]);
    expect(take(page([text, odd, text]))).toBe("some");
    const { numbers, numberCount } = found!.rows.fields!;
    expect([0, 1, 2].map((row) => numbers[row * numberCount])).toEqual([1, NaN, 1]);
  });

  it("passes over fields that are not known, and says where they are", () => {
    const more = `{"a":[{"b":-1.5e3}],${text.slice(1, -1)},"last_metadata":{"é":1},"c" : "\\u00e9" }`;
    expect(take(page([more]))).toBe("some");
    const plain = more.replace('"é"', '"e"');
    expect(take(page([plain]))).toBe("all");
    expect(othersOf(Session.scan(page([text, plain]))!.rows, 1)).toEqual({
      "": [["a", [{ b: -1500 }]], ["c", "é"]],
      last_metadata: [["e", 1]],
    });
  });

  it("refuses schemas that it can't derive a scanner of", () => {
    for (
      const field of [Schema.Boolean, Schema.Array(Schema.Number), Schema.Union(Schema.String, Schema.Number)]
    ) {
      expect(() => Scan.of(Schema.Struct({ field }))).toThrow(TypeError);
    }
    expect(() => Session.place("numbers", "session_id")).toThrow(TypeError);
    expect(() => Session.place("texts", "last_metadata")).toThrow(TypeError);
  });
});

describe("Fields", () => {
  const asked = <A>(read: (bytes: Uint8Array, from: number, end: number) => A, text: string): A => {
    const bytes = new TextEncoder().encode(`"${text}"`);
    return read(bytes, 1, bytes.length - 1);
  };

  it("memo() gives for any text what the function gives, whatever it remembers", () => {
    const long = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 300 });
    const some = fc.oneof(fc.constantFrom("a", "b", "aaaab", "aaaaa"), long);
    fc.assert(fc.property(fc.array(some, { maxLength: 50 }), (texts) => {
      const same = Fields.memo(2, (text) => `<${text}>`);
      for (const text of texts) expect(asked(same, text)).toBe(`<${text}>`);
    }));
  });

  it("memo() does the work once for texts that come again, and stops to remember where none do", () => {
    let times = 0;
    const count = Fields.memo(10, (text) => (times++, text));
    for (let i = 0; i < 5000; i++) asked(count, `text ${i % 10}`);
    expect(times).toBe(10);
    for (let i = 0; i < 5000; i++) expect(asked(count, `new ${i}`)).toBe(`new ${i}`);
    expect(times).toBe(5010);
  });

  it("decimal() is the number that any text stands for, or none", () => {
    const digits = fc.string({ unit: fc.constantFrom(..."0123456789"), maxLength: 10 });
    const decimal = fc.tuple(fc.constantFrom("", "-", "+"), digits, fc.constantFrom("", "."), digits)
      .map((parts) => parts.join(""));
    let numbers = 0;
    fc.assert(
      fc.property(fc.oneof(decimal, anyText, fc.double().map(String)), (text) => {
        const number = asked(Fields.decimal, text);
        if (Number.isNaN(number)) return;
        numbers++;
        expect(text).toMatch(/^-?\d{1,9}(\.\d{1,6})?$/);
        expect(number).toBe(Number(text) + 0);
      }),
      { numRuns: 8000 },
    );
    expect(numbers).toBeGreaterThan(500);
    expect(asked(Fields.decimal, "-118.250918")).toBe(-118.250918);
    expect(Object.is(asked(Fields.decimal, "-0.0"), 0)).toBe(true);
  });
});
