import * as Schema from "effect/Schema";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as FieldOffsets from "../../src/scan/FieldOffsets.ts";
import * as RowSlices from "../../src/scan/RowSlices.ts";
import { members } from "../../src/scan/JsonMembers.ts";
import * as PageScanner from "../../src/scan/PageScanner.ts";
import * as reference from "../../src/scan/reference.ts";
import * as ScanPlan from "../../src/scan/ScanPlan.ts";
import * as Session from "../../src/session/Session.ts";
import { anyText, jsonArray, page, served, usual } from "../contract/sessions.ts";
import { some } from "../size.ts";

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
const said = ({ bytes, fields }: RowSlices.RowSlices, row: number): Record<string, unknown> => {
  const found: Record<string, unknown> = {};
  const { texts: at, textCount, numbers: values, numberCount } = fields;
  const read = (path: string) => {
    const place = 2 * (row * textCount + Session.place("texts", path));
    return at[place]! < 0 ? undefined : FieldOffsets.text(bytes, at[place]!, at[place + 1]!);
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
const othersOf = ({ bytes, fields }: RowSlices.RowSlices, row: number): Record<string, unknown> => {
  const found: Record<string, Array<unknown>> = { "": [], last_metadata: [] };
  const others = fields.others[row] ?? [];
  for (let i = 0; i < others.length; i += FieldOffsets.OTHER) {
    const [object, name, nameEnd, from, end] = others.slice(i) as [number, number, number, number, number];
    const path = object === Session.place("objects", "last_metadata") ? "last_metadata" : "";
    found[path]!.push([
      FieldOffsets.text(bytes, name, nameEnd),
      JSON.parse(FieldOffsets.json(bytes, from, end)),
    ]);
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

/** The scan of a page of these rows. */
const scanned = (rows: ReadonlyArray<string>): PageScanner.Scanned => {
  const found = Session.scan(page(rows));
  if (typeof found !== "object") throw new Error("it is no page");
  return found;
};

/** All that a scan says of bytes, as values. */
const saidOf = (scan: (bytes: Uint8Array) => PageScanner.Scanned | "more" | undefined, bytes: Uint8Array) => {
  try {
    const found = scan(bytes);
    if (found === undefined || found === "more") return found;
    const { slices, invalid } = found;
    const rows = slices.from.map((_, row) =>
      invalid.includes(row)
        ? { text: RowSlices.text(slices, row) }
        : { text: RowSlices.text(slices, row), fields: said(slices, row), others: othersOf(slices, row) }
    );
    return { rows, invalid, areLines: slices.areLines, reserved: [...slices.reserved].sort() };
  } catch (error) {
    return (error as Error).name;
  }
};

const plan = ScanPlan.of(Session.Session, ["user_id"]);
const byReference = (bytes: Uint8Array) => reference.scan(plan, Session.is, bytes);

/** Scan bytes by both, which must say the same, and what JSON.parse says: of all rows, some or none, or that they are no page. */
const take = (bytes: Uint8Array): "all" | "some" | "refused" => {
  const found = saidOf(Session.scan, bytes);
  expect(found).toEqual(saidOf(byReference, bytes));
  if (typeof found !== "object") return "refused";
  const values: unknown = JSON.parse(utf8.decode(bytes));
  if (!Array.isArray(values)) throw new Error("no array");
  expect(found.rows.length).toBe(values.length);
  found.rows.forEach(({ text, fields, others }, row) => {
    expect(JSON.parse(text)).toEqual(values[row]);
    expect(fields !== undefined).toBe(Session.is(values[row]));
    if (fields === undefined) return;
    expect(fields).toEqual(expected(values[row]));
    expect(others).toEqual(expectedOthers(text));
    expect(found.reserved.includes(row)).toBe(Object.hasOwn(values[row], "user_id"));
  });
  return found.invalid.length === 0 ? "all" : "some";
};

describe("scan()", () => {
  it("takes any sessions that are written as nearly all are, in any order of fields", () => {
    fc.assert(fc.property(fc.array(usual, { maxLength: 4 }), (rows) => {
      expect(take(page(rows))).toBe("all");
    }));
  });

  it("takes any sessions, however they are written", () => {
    fc.assert(fc.property(fc.array(served, { maxLength: 4 }), (rows) => {
      expect(take(page(rows.map(({ source }) => source)))).toBe("all");
    }));
  });

  it("says of any bytes what the reference says", () => {
    const times = { all: 0, some: 0, refused: 0 };
    const changed = fc.tuple(
      fc.array(fc.oneof(usual, served.map(({ source }) => source)), { minLength: 1, maxLength: 3 }).map(page),
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
      { numRuns: some(20_000) },
    );
    expect(Math.min(...Object.values(times))).toBeGreaterThan(100);
  });

  const row = JSON.parse(
    '{"session_id":"S","client_ids":[],"initiated_at":1,"expires_at":2,"last_updated":3}',
  ) as Record<string, unknown>;
  const text = JSON.stringify(row);
  const encode = (text: string) => new TextEncoder().encode(text);

  it.each([
    ["a zero in front", `[${text.replace(":1,", ":01,")}]`],
    ["a comma too many", `[${text},]`],
    ["something behind it", `[${text}]]`],
    ["a name without quotes", `[{a:1}]`],
    ["a control character", `[{"a":"\n"}]`],
    ["nothing", ""],
  ])("refuses a page with %s", (_, text) => {
    expect(() => Session.scan(encode(text))).toThrow(SyntaxError);
    expect(take(encode(text))).toBe("refused");
  });

  it("refuses bytes that are not UTF-8, and knows what is no array", () => {
    expect(() => Session.scan(Uint8Array.of(0x5b, 0x22, 0xff, 0x22, 0x5d))).toThrow(TypeError);
    expect(Session.scan(encode(text))).toBeUndefined();
    expect(Session.scan(page([text, text, text]), 2)).toBe("more");
  });

  it.each([
    ["a byte order mark", `\ufeff[${text}]`, "all"],
    ["values 65 deep", `[${text.replace("}", `,"a":${"[".repeat(65)}${"]".repeat(65)}}`)}]`, "all"],
    ["values 101 deep", `[${text.replace("}", `,"a":${"[".repeat(101)}${"]".repeat(101)}}`)}]`, "some"],
  ])("takes a page with %s", (_, text, which) => expect(take(encode(text))).toBe(which));

  it.each([
    ["a field twice", text.replace("}", ',"session_id":"T"}'), true],
    ["an unknown field twice", text.replace("}", ',"a":1,"a":2}'), true],
    ["a name with an escape", text.replace("session_id", "session\\u005fid"), true],
    ["a name with more than ASCII", text.replace("}", ',"é":1}'), true],
    ["a name before a space", text.replace('"session_id":', '"session_id" :'), true],
    ["a user of its own", text.replace("}", ',"user_id":"mia"}'), true],
    ["a fraction", text.replace(":1,", ":1.0,"), true],
    ["an exponent", text.replace(":1,", ":0.1e1,"), true],
    [
      "more fields that are not known than are compared",
      text.replace("}", Array.from({ length: 33 }, (_, n) => `,"a${n}":1`).join("") + "}"),
      true,
    ],
    ["a time that is too late", text.replace(":1,", ":253402300800,"), false],
    ["an id without a character", text.replace('"S"', '""'), false],
    ["no id", text.replace("session_id", "session"), false],
    ["no object", "null", false],
  ])("reads a row with %s, and those beside it", (_, odd, isSession) => {
    expect(take(page([text, odd, text]))).toBe(isSession ? "all" : "some");
    const { slices, invalid } = scanned([text, odd, text]);
    expect(invalid).toEqual(isSession ? [] : [1]);
    const { numbers, numberCount } = slices.fields;
    expect([0, 1, 2].map((row) => numbers[row * numberCount])).toEqual([1, isSession ? 1 : NaN, 1]);
  });

  it("passes over fields that are not known, and says where they are", () => {
    const more = `{"a":[{"b":-1.5e3}],${text.slice(1, -1)},"last_metadata":{"é":1},"c" : "\\u00e9" }`;
    expect(take(page([more]))).toBe("all");
    const plain = more.replace('"é"', '"e"');
    expect(take(page([plain]))).toBe("all");
    expect(othersOf(scanned([text, plain]).slices, 1)).toEqual({
      "": [["a", [{ b: -1500 }]], ["c", "é"]],
      last_metadata: [["e", 1]],
    });
  });

  it("refuses schemas that it can't derive a scanner of", () => {
    for (
      const field of [Schema.Boolean, Schema.Array(Schema.Number), Schema.Union(Schema.String, Schema.Number)]
    ) {
      expect(() => PageScanner.make(Schema.Struct({ field }), { accepts: () => true })).toThrow(TypeError);
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
      const same = FieldOffsets.memo(2, (text) => `<${text}>`);
      for (const text of texts) expect(asked(same, text)).toBe(`<${text}>`);
    }));
  });

  it("memo() does the work once for texts that come again, and stops to remember where none do", () => {
    let times = 0;
    const count = FieldOffsets.memo(10, (text) => (times++, text));
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
        const number = asked(FieldOffsets.decimal, text);
        if (Number.isNaN(number)) return;
        numbers++;
        expect(text).toMatch(/^-?\d{1,9}(\.\d{1,6})?$/);
        expect(number).toBe(Number(text) + 0);
      }),
      { numRuns: some(40_000) },
    );
    expect(numbers).toBeGreaterThan(some(2000));
    expect(asked(FieldOffsets.decimal, "-118.250918")).toBe(-118.250918);
    expect(Object.is(asked(FieldOffsets.decimal, "-0.0"), 0)).toBe(true);
  });
});
