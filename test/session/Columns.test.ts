import * as Schema from "effect/Schema";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { columns, fieldColumns, valueAt } from "../../src/session/Columns.ts";
import * as Batch from "../../src/session/Batch.ts";
import { members } from "../../src/scan/JsonMembers.ts";
import * as Session from "../../src/session/Session.ts";
import { columnNames, topLevel, valuesOf } from "../contract/columns.ts";
import { example, served } from "../contract/sessions.ts";

/** What the columns say of a session with that text. */
const read = (text: string, userId = "alice"): Readonly<Record<string, unknown>> => {
  const { slices } = Batch.toBytes(Batch.ofTexts(userId, [text])).rows;
  return Object.fromEntries(columns.map((column) => [column.name, valueAt(column, userId, slices, 0)]));
};

describe("columns", () => {
  it("are those that files have had since 0.1, in their order", () => {
    expect(columns.map(({ name }) => name)).toEqual(columnNames);
    expect(columns.map(({ kind, nullable, key }) => [kind, nullable, key])).toEqual([
      ["text", false, true],
      ["text", false, true],
      ["text", true, true],
      ["text_list", false, false],
      ...Array(3).fill(["timestamp", false, false]),
      ...Array(3).fill(["text", true, false]),
      ...Array(2).fill(["number", true, false]),
      ...Array(2).fill(["text", true, false]),
      ["json", true, false],
    ]);
  });

  it("read a session as MonoCloud's page shows it", () => {
    expect(read(JSON.stringify(example()))).toEqual({
      user_id: "alice",
      session_id: "96484D319ACC21380CCE026E54807B4D",
      session_key: "CF13F82261B1FCE312E5651500620295BEDBF32207446BA5C1D9B61129F05A22",
      client_ids: ["eCOGRJYpnNwwAAuCeReEW"],
      initiated_at: 1640975400,
      expires_at: 1640983490,
      last_updated: 1640975400,
      country: "United States of America",
      region: "North America",
      city: "Los Angeles",
      latitude: 34.043238,
      longitude: -118.250918,
      ip_address: "1.1.1.1",
      user_agent: "The User Agent",
      _rescued_data: null,
    });
  });

  it("give null for any nullable value that is null or absent, and never elsewhere", () => {
    fc.assert(fc.property(served, ({ source }) => {
      const values = read(source);
      for (const { name, nullable } of columns) {
        expect(values[name], name).not.toBeUndefined();
        if (!nullable) expect(values[name], name).not.toBeNull();
      }
    }));
  });

  it("say of any session what its values say, and rescue what they can't hold", () => {
    fc.assert(fc.property(served, ({ source }) => {
      expect(read(source)).toEqual(valuesOf("alice", source));
    }));
  });
});

describe("fieldColumns()", () => {
  const derive = (fields: Schema.Struct.Fields) => fieldColumns(fields as never, () => 0);

  it("gives a new field of the schema a column of its own", () => {
    const fields = { ...Session.Session.fields, device: Schema.optional(Schema.NullOr(Schema.String)) };
    expect(derive(fields).at(-1)).toEqual({
      name: "device",
      kind: "text",
      nullable: true,
      key: false,
      place: 0,
    });
  });

  it.each([
    ["risk", Schema.Boolean],
    ["score", Schema.Number],
    ["either", Schema.Union(Schema.String, Schema.Array(Schema.String))],
    ["many", Schema.Array(Schema.Number)],
  ])("refuses a field that no column holds: %s", (name, schema) => {
    expect(() => derive({ ...Session.Session.fields, [name]: schema })).toThrow(
      `No kind of column holds the field ${name}`,
    );
    const metadata = Schema.Struct({ [name]: schema });
    expect(() => derive({ last_metadata: metadata })).toThrow(`the field last_metadata.${name}`);
  });
});

describe("_rescued_data", () => {
  const rescued = (source: string) => read(source)._rescued_data as string | null;

  it("keeps the text of any value as it was served", () => {
    fc.assert(fc.property(served, ({ source }) => {
      const before = new Map(members(source));
      for (const [name, value] of members(rescued(source) ?? "{}")) {
        expect(topLevel).not.toContain(name);
        if (name !== "last_metadata") expect(value).toBe(before.get(name));
      }
    }));
  });

  it.each(["", "north", "1e5", " 1", "0x10", "1234567890", "."])("has the coordinate %j", (latitude) => {
    const last_metadata = { latitude };
    expect(rescued(JSON.stringify(example({ last_metadata })))).toBe(JSON.stringify({ last_metadata }));
  });

  it("takes the last of two members of one name, as JSON.parse does", () => {
    const rest = JSON.stringify(example({ last_metadata: undefined as never })).slice(1, -1);
    const source = `{"last_metadata":"a",${rest},"last_metadata":{"new":1}}`;
    expect(rescued(source)).toBe('{"last_metadata":{"new":1}}');
  });
});
