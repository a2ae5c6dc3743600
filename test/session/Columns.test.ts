import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { columns, rescue, vectors } from "../../src/session/Columns.ts";
import * as JsonRows from "../../src/scan/JsonRows.ts";
import { members } from "../../src/scan/JsonText.ts";
import type { Session } from "../../src/session/Session.ts";
import { batch, example, served } from "../contract/sessions.ts";

type Values = Record<string, unknown>;

const topLevel = ["session_id", "session_key", "client_ids", "initiated_at", "expires_at", "last_updated"];
const texts = ["country", "region", "city", "ip_address", "user_agent"];
const coordinates = ["latitude", "longitude"];

const isNumber = (value: unknown) => typeof value === "string" && /^[+-]?[0-9]{1,9}(\.[0-9]+)?$/.test(value);

const pick = (value: object | null | undefined, keep: (name: string, member: unknown) => boolean): Values =>
  Object.fromEntries(Object.entries(value ?? {}).filter(([name, member]) => keep(name, member)));

/** What no column can hold, found without any of the code under test. */
const leftOver = (session: Session): Values => {
  const outside = pick(session, (name) => !topLevel.includes(name) && name !== "last_metadata");
  const inside = pick(
    session.last_metadata,
    (name, value) => coordinates.includes(name) ? value !== null && !isNumber(value) : !texts.includes(name),
  );
  return Object.keys(inside).length === 0 ? outside : { ...outside, last_metadata: inside };
};

const valuesOf = (session: Session, userId = "alice", source?: string): Values =>
  Object.fromEntries(
    columns.map((
      column,
    ) => [
      column.name,
      column.get(session, userId, source === undefined ? undefined : JsonRows.of([source]), 0),
    ]),
  );

describe("columns", () => {
  it("read a session as MonoCloud's page shows it", () => {
    expect(valuesOf(example())).toEqual({
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
    fc.assert(fc.property(served, ({ session, source }) => {
      for (const { name, nullable, get } of columns) {
        const value = get(session, "alice", JsonRows.of([source]), 0);
        expect(value, name).not.toBeUndefined();
        if (!nullable) expect(value, name).not.toBeNull();
      }
    }));
  });

  it("together with what is rescued hold all of any session", () => {
    fc.assert(fc.property(served, ({ session, source }) => {
      const values = valuesOf(session, "alice", source);
      const rescued = JSON.parse(String(values._rescued_data ?? "{}"));
      for (const name of topLevel) expect(values[name]).toEqual(session[name as keyof Session] ?? null);
      for (const [name, value] of Object.entries(session.last_metadata ?? {})) {
        const held = new Map(Object.entries(rescued.last_metadata ?? {}));
        if (texts.includes(name)) expect(values[name]).toBe(value);
        else if (coordinates.includes(name) && (value === null || isNumber(value))) {
          expect(values[name]).toBe(value === null ? null : Number(value) || 0);
        } else expect(held.get(name)).toEqual(value);
      }
    }));
  });
});

describe("rescue()", () => {
  it("holds exactly what the columns of any session can't", () => {
    fc.assert(fc.property(served, ({ session, source }) => {
      const expected = leftOver(session);
      const none = Object.keys(expected).length === 0;
      const fromText = rescue(session, source);
      expect(fromText === null ? null : JSON.parse(fromText)).toEqual(none ? null : expected);
      const fromValue = rescue(session);
      expect(fromValue === null ? null : JSON.parse(fromValue)).toEqual(
        none ? null : JSON.parse(JSON.stringify(expected)),
      );
    }));
  });

  it("keeps the text of any value as it was served", () => {
    fc.assert(fc.property(served, ({ session, source }) => {
      const before = new Map(members(source));
      for (const [name, value] of members(rescue(session, source) ?? "{}")) {
        if (name !== "last_metadata") expect(value).toBe(before.get(name));
      }
    }));
  });

  it.each(["", "north", "1e5", " 1", "0x10", "1234567890", "."])("rescues the coordinate %j", (latitude) => {
    expect(rescue(example({ last_metadata: { latitude } }))).toBe(
      JSON.stringify({ last_metadata: { latitude } }),
    );
  });

  it("takes the last of two members of one name, as JSON.parse does", () => {
    const { last_metadata: _, ...rest } = example();
    const source = `{"last_metadata":"a",${JSON.stringify(rest).slice(1, -1)},"last_metadata":{"new":1}}`;
    expect(rescue(JSON.parse(source), source)).toBe('{"last_metadata":{"new":1}}');
  });
});

describe("vectors()", () => {
  it("hold the values of the columns of any batch", () => {
    fc.assert(fc.property(batch, ({ userId, sessions, source }) => {
      for (const [i, vector] of vectors({ userId, sessions, source }).entries()) {
        const column = columns[i]!;
        const expected = sessions.map((session, row) => column.get(session, userId, source, row));
        expect(vector).toMatchObject({ name: column.name, kind: column.kind, nullable: column.nullable });
        if (vector.kind === "timestamp") {
          expect(Array.from(vector.values)).toEqual(
            expected.map((seconds) => BigInt(Number(seconds)) * 1000n),
          );
        } else if (vector.kind === "number") {
          expect(Array.from(vector.values, (value, row) => vector.valid[row] === 1 ? value : null)).toEqual(
            expected,
          );
          expect(Array.from(vector.values, Number.isNaN)).toEqual(expected.map((value) => value === null));
        } else expect(vector.values).toEqual(expected);
      }
    }));
  });
});
