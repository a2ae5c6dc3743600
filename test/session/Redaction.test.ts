import { createHmac } from "node:crypto";
import * as Either from "effect/Either";
import * as EffectRedacted from "effect/Redacted";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as Batch from "../../src/session/Batch.ts";
import type { Encoder } from "../../src/format/Format.ts";
import * as Csv from "../../src/format/csv/encode.ts";
import * as Ndjson from "../../src/format/ndjson/encode.ts";
import * as Parquet from "../../src/format/parquet/encode.ts";
import * as Redaction from "../../src/session/Redaction.ts";
import * as Session from "../../src/session/Session.ts";
import { encodeAll } from "../contract/encoder.ts";
import { textsOf } from "../contract/columns.ts";
import { anyText, batch, example, serve, served } from "../contract/sessions.ts";
import { csvRows, expectedRows, parquetRows } from "../format/duckdb.ts";

const secret = "a secret of these tests, not of anything else";

const policies: fc.Arbitrary<Redaction.Policy> = fc.record({
  ip: fc.constantFrom("keep", "truncate", "hash", "drop"),
  user_agent: fc.constantFrom("keep", "hash", "drop"),
  location: fc.constantFrom("keep", "truncate", "hash", "drop"),
  session_key: fc.constantFrom("keep", "hash", "drop"),
  unknown: fc.constantFrom("keep", "drop"),
}, { requiredKeys: [] });

const keepsAll = (policy: Redaction.Policy) =>
  Object.values(Redaction.settle(policy)).every((action) => action === "keep");

const redacted = (policy: Redaction.Policy, change: Parameters<typeof example>[0] = {}) => {
  const [session] = Batch.sessions(Redaction.make(policy, secret)(Batch.make("alice", [example(change)])));
  return session!;
};

const hmac = (text: string, key = secret) => createHmac("sha256", key).update(text).digest("hex");

/** Texts of a few letters each, twelve of which in a row are in nothing else that is written. */
const letters = (alphabet: string) =>
  fc.string({ unit: fc.constantFrom(...alphabet), minLength: 24, maxLength: 40 });
const octet = fc.integer({ min: 100, max: 255 });
const group = fc.integer({ min: 0x1000, max: 0xffff }).map((value) => value.toString(16));
const degrees = (least: number) =>
  fc.tuple(fc.integer({ min: least * 1e5, max: least * 1e5 + 9e5 }), fc.integer({ min: 1, max: 9 }))
    .map(([most, last]) => ((most * 10 + last) / 1e6).toFixed(6));

const personal = fc.record({
  ip_address: fc.oneof(
    fc.tuple(octet, octet, octet, octet).map((octets) => octets.join(".")),
    fc.array(group, { minLength: 8, maxLength: 8 }).map((groups) => groups.join(":")),
    letters("ghjk"),
  ),
  user_agent: letters("mnpq"),
  session_key: letters("rstv"),
  city: letters("wxyz"),
  country: letters("GHJK"),
  region: letters("MNPQ"),
  latitude: degrees(20),
  longitude: degrees(120),
});

type Personal = Record<"ip_address" | "user_agent" | "session_key", string> & Record<string, string>;

/** Which of them a policy does not let through as they are. */
const hidden = (policy: Redaction.Policy): ReadonlyArray<string> => {
  const { ip, user_agent, location, session_key } = Redaction.settle(policy);
  return [
    ...(ip === "keep" ? [] : ["ip_address"]),
    ...(user_agent === "keep" ? [] : ["user_agent"]),
    ...(session_key === "keep" ? [] : ["session_key"]),
    ...(location === "keep" ? [] : ["city", "latitude", "longitude"]),
    ...(location === "keep" || location === "truncate" ? [] : ["country", "region"]),
  ];
};

const latin1 = (bytes: Uint8Array) => Buffer.from(bytes).toString("latin1");

/** What of a value must not be found: half of a text would be too much, and Parquet writes coordinates as they are in memory. */
const traces = (name: string, value: string): ReadonlyArray<string> => {
  if (name === "ip_address") return [value];
  return name.endsWith("itude")
    ? [value, latin1(new Uint8Array(Float64Array.of(Number(value)).buffer))]
    : [value.slice(0, 12), value.slice(-12)];
};

/** A batch that carries them wherever they could be, and as they would come: with its text and with rows quarantined. */
const carrying = (session: Session.Session, data: Personal, inUnknown: boolean): Batch.Batch => {
  const { session_key, ...metadata } = data;
  const copies = inUnknown ? { copy: [data], [data.ip_address]: 1, [data.user_agent]: { session_key } } : {};
  const row = { ...session, session_key, last_metadata: { ...metadata, ...copies }, ...copies };
  const wrong = { ...row, expires_at: data.ip_address, client_ids: data.session_key, [data.city!]: 1 };
  const error = Either.flip(Session.decode(wrong)).pipe(Either.getOrThrow);
  return {
    ...serve("alice", [row]),
    quarantined: [{
      userId: "alice",
      page: 1,
      size: 10,
      index: 0,
      paths: error.paths,
      message: error.message,
      source: JSON.stringify(wrong),
    }],
  };
};

const encoders = (): ReadonlyArray<Encoder> => [
  Ndjson.make(),
  Csv.make(),
  Parquet.make({ codec: "uncompressed" }),
];

describe("make()", () => {
  it("lets nothing of what is hashed, dropped or truncated through, in any format, of any session", () => {
    fc.assert(fc.property(served, personal, policies, ({ session }, data, policy) => {
      if (keepsAll(policy)) return;
      const before = carrying(session, data, policy.unknown !== "keep");
      const after = Redaction.make(policy, secret)(before);
      const files = encoders().map((encoder) => latin1(encodeAll(encoder, [after])));
      const all = [...files, JSON.stringify(after.quarantined)].join("\n");
      for (const name of hidden(policy)) {
        for (const trace of traces(name, data[name as keyof typeof data])) expect(all).not.toContain(trace);
      }
      expect(all).not.toContain(secret);
    }));
  });

  it("lets through what is kept: what the test above looks for is there to be found", () => {
    fc.assert(fc.property(served, personal, policies, ({ session }, data, policy) => {
      const after = Redaction.make(policy, secret)(carrying(session, data, false));
      const files = encoders().map((encoder) => latin1(encodeAll(encoder, [after])));
      const shown = Object.entries(data).filter(([name]) => !hidden(policy).includes(name));
      for (const [name, value] of shown) {
        const found = traces(name, value).map((trace) => files.filter((file) => file.includes(trace)).length);
        // A coordinate is text in two of the formats and memory in the third.
        expect(found, name).toEqual(name.endsWith("itude") ? [2, 1] : found.map(() => 3));
      }
    }));
  });

  it("gives the same values in all formats, whether or not a batch has its text", async () => {
    const runs = fc.array(fc.tuple(batch, policies), { minLength: 20, maxLength: 60 });
    await fc.assert(
      fc.asyncProperty(runs, async (runs) => {
        const batches = runs.map(([before, policy]) => {
          const redact = Redaction.make({ ...policy, unknown: "drop" }, secret);
          const after = redact(before);
          expect(after).toEqual(redact(Batch.make(before.userId, Batch.sessions(before))));
          return after;
        });
        const rows = batches.flatMap(expectedRows);
        expect(await csvRows(encodeAll(Csv.make({ escapeFormulas: false }), batches))).toEqual(rows);
        expect(await parquetRows(encodeAll(Parquet.make(), batches))).toEqual(rows);
        const lines = new TextDecoder().decode(encodeAll(Ndjson.make(), batches)).split("\n").slice(0, -1);
        const parsed = lines.flatMap((line) => {
          const { user_id, ...session } = JSON.parse(line);
          return expectedRows(Batch.make(user_id, [session]));
        });
        // A user's id with a lone surrogate is the same text in all but the escapes of JSON.
        expect(parsed.map(({ user_id: _, ...row }) => row)).toEqual(
          rows.map(({ user_id: _, ...row }) => row),
        );
      }),
      { numRuns: 8 },
    );
  });

  it("makes sessions that are sessions, and changes none that it was given", () => {
    fc.assert(fc.property(served, policies, ({ session, source }, policy) => {
      const before = Batch.ofTexts("alice", [source]);
      expect(Batch.sessions(before)).toEqual([session]);
      const after = Redaction.make(policy, secret)(before);
      expect(Either.isRight(Session.decode(Batch.sessions(after)[0]))).toBe(true);
      expect(textsOf(before)).toEqual([source]);
      expect(after.rows === before.rows).toBe(keepsAll(policy));
    }));
  });

  it("leaves null, absent and whatever else is not named as they are", () => {
    fc.assert(fc.property(served, policies, ({ session }, policy) => {
      const [after] = Batch.sessions(Redaction.make(policy, secret)(Batch.make("alice", [session])));
      const { session_key: key, last_metadata: metadata, ...rest } = after!;
      expect(session).toMatchObject({ ...rest });
      expect(key == null || session.session_key != null).toBe(true);
      expect(Object.hasOwn(after!, "session_key")).toBe(Object.hasOwn(session, "session_key"));
      for (const [name, value] of Object.entries(session.last_metadata ?? {})) {
        if (Object.hasOwn(example().last_metadata!, name) && value === null) {
          expect(metadata).toMatchObject({ [name]: null });
        }
      }
      expect(Object.keys(session.last_metadata ?? {})).toEqual(
        expect.arrayContaining(Object.keys(metadata ?? {})),
      );
    }));
  });

  it("keeps where a walk stands", () => {
    const end = { status: "complete", verified: true, unverifiedReasons: [] } as const;
    const after = Redaction.make({})({ ...Batch.make("alice", [example()]), total: 7, end });
    expect(after).toMatchObject({ userId: "alice", total: 7, end });
    expect(Batch.sessions(after)).toMatchObject([{ session_key: null }]);
  });

  it("gives back the batch itself if all is kept", () => {
    const before = serve("alice", [example()]);
    const all = { ip: "keep", user_agent: "keep", location: "keep", session_key: "keep" } as const;
    expect(Redaction.make({ ...all, unknown: "keep" })(before)).toBe(before);
    expect(Redaction.make(all)(before)).not.toBe(before);
  });

  it("truncates addresses, and drops what is none", () => {
    const ip = (ip_address: string) =>
      redacted({ ip: "truncate" }, { last_metadata: { ip_address } }).last_metadata?.ip_address;
    expect(ip("203.0.113.7")).toBe("203.0.113.0");
    expect(ip("2001:db8:1:2::3")).toBe("2001:db8:1::");
    expect(ip("203.0.113.7:443")).toBeNull();
    expect(ip("")).toBeNull();
  });

  it("truncates a location to country and region", () => {
    expect(redacted({ location: "truncate" }).last_metadata).toEqual({
      ...example().last_metadata,
      city: null,
      latitude: null,
      longitude: null,
    });
  });

  it("drops or keeps fields that it does not know, at both depths", () => {
    const text = '{"new":1,"__proto__":{"a":1},"last_metadata":{"as_name":"x","__proto__":[2],"city":"y"}}';
    const { last_metadata, ...outside } = JSON.parse(text);
    const session = example({ ...outside, last_metadata });
    const after = (policy: Redaction.Policy) =>
      Batch.sessions(Redaction.make(policy)(Batch.make("a", [session])))[0]!;
    const bare = { ...example(), session_key: null };
    expect(JSON.stringify(after({}))).toBe(JSON.stringify({ ...bare, last_metadata: { city: "y" } }));
    expect(JSON.stringify(after({ unknown: "keep" }))).toBe(
      JSON.stringify({ ...session, session_key: null }),
    );
  });

  it("says of a row quarantined where it was, which fields are wrong, and its id", () => {
    const where = { userId: "alice", page: 3, size: 50, index: 4 };
    const secret = { paths: ["secret"], message: "secret" };
    const aside = (source: string) =>
      Redaction.make({})({ ...Batch.make("alice", []), quarantined: [{ ...where, ...secret, source }] })
        .quarantined[0];
    expect(aside(JSON.stringify(example({ expires_at: 1.5, client_ids: ["a", 1] as never })))).toEqual({
      ...where,
      paths: ["client_ids.1", "expires_at"],
      message: "wrong: client_ids.1, expires_at; the values are redacted",
      source: '{"session_id":"96484D319ACC21380CCE026E54807B4D"}',
      redacted: true,
    });
    const words = { message: "wrong: the row as a whole; the values are redacted", source: "{}" };
    const whole = { paths: [""], ...words, redacted: true };
    for (const source of ["null", "42", '"203.0.113.7"', "[]", "203.0.113.7", ""]) {
      expect(aside(source)).toEqual({ ...where, ...whole });
    }
  });
});

describe("a hash", () => {
  const session = example({ session_key: "same", last_metadata: { ip_address: "same", city: "same" } });
  const policy = { ip: "hash", user_agent: "hash", location: "hash", session_key: "hash" } as const;

  it("is HMAC-SHA-256 of the column and the value, whatever the value, as often as it comes", () => {
    const redact = Redaction.make(policy, secret);
    fc.assert(fc.property(fc.array(fc.oneof(anyText, fc.string({ maxLength: 2000 }))), (texts) => {
      const sessions = [...texts, ...texts].map((text) =>
        example({ session_key: text, last_metadata: { ip_address: text, user_agent: text, country: text } })
      );
      Batch.sessions(redact(Batch.make("alice", sessions))).forEach(({ session_key, last_metadata }, i) => {
        const text = sessions[i]!.session_key!;
        const hashed = (column: string) => text === "" ? "" : hmac(`${column}:${text}`);
        expect(session_key).toBe(hashed("session_key"));
        expect(last_metadata).toEqual({
          ip_address: hashed("ip_address"),
          user_agent: hashed("user_agent"),
          country: hashed("country"),
        });
      });
    }));
  });

  it("stays right when more values come than are kept", () => {
    const sessions = Array.from({ length: 10_000 }, (_, i) => example({ session_key: `key ${i % 5000}` }));
    const hashes = Batch.sessions(Redaction.make(policy, secret)(Batch.make("alice", sessions)))
      .map(({ session_key }) => session_key);
    expect(new Set(hashes).size).toBe(5000);
    expect(hashes.slice(5000)).toEqual(hashes.slice(0, 5000));
    expect(hashes[4999]).toBe(hmac("session_key:key 4999"));
  });

  it("is another in another column and under another secret, and the same for a secret in either form", () => {
    const hashes = (key: string | EffectRedacted.Redacted) => {
      const [{ session_key, last_metadata } = example()] = Batch.sessions(
        Redaction.make(policy, key)(Batch.make("alice", [session])),
      );
      return [session_key, last_metadata?.ip_address, last_metadata?.city];
    };
    const all = [...hashes(secret), ...hashes(`${secret}!`)];
    expect(new Set(all).size).toBe(6);
    for (const hash of all) expect(hash).toMatch(/^[\da-f]{64}$/);
    expect(hashes(EffectRedacted.make(secret))).toEqual(hashes(secret));
  });

  it("of a location leaves no coordinates", () => {
    expect(redacted({ location: "hash" }).last_metadata).toMatchObject({
      city: hmac("city:Los Angeles"),
      region: hmac("region:North America"),
      latitude: null,
      longitude: null,
      ip_address: "1.1.1.1",
    });
  });

  it.each([undefined, "", "short", "x".repeat(31), EffectRedacted.make("é".repeat(15))])(
    "needs a secret that is long enough, and says so without a word of it: %j",
    (given) => {
      expect(() => Redaction.make({ ip: "hash" }, given)).toThrow(
        /^Cannot hash as the secret must have 32 bytes or more: it has \d+\. Make one with `openssl rand -hex 32`/,
      );
      expect(() => Redaction.make({ ip: "drop" }, given)).not.toThrow();
    },
  );

  it("takes a secret of 32 bytes, however many characters they are", () => {
    expect(() => Redaction.make({ ip: "hash" }, "é".repeat(16))).not.toThrow();
  });
});

describe("settle()", () => {
  it("keeps what the policy does not name, but for the session's key and unknown fields", () => {
    const defaults = {
      ip: "keep",
      user_agent: "keep",
      location: "keep",
      session_key: "drop",
      unknown: "drop",
    };
    expect(Redaction.settle({})).toEqual(defaults);
    expect(Redaction.settle({ ip: "drop", session_key: undefined })).toEqual({ ...defaults, ip: "drop" });
  });

  it("gives a plain value that JSON holds", () => {
    fc.assert(fc.property(policies, (policy) => {
      const settled = Redaction.settle(policy);
      expect(JSON.parse(JSON.stringify(settled))).toEqual(settled);
      expect(Redaction.settle(settled)).toEqual(settled);
    }));
  });

  it.each([
    [{ ip: "trunc" }, '\'ip\' must be "keep" or "truncate" or "hash" or "drop": it is "trunc"'],
    [{ user_agent: "truncate" }, '\'user_agent\' must be "keep" or "hash" or "drop": it is "truncate"'],
    [{ ip: null }, '\'ip\' must be "keep" or "truncate" or "hash" or "drop": it is null'],
    [{ ip_address: "drop" }, 'there is no field "ip_address" (did you mean ip?): allowed are ip, user_agent'],
    [{ toString: "drop" }, 'there is no field "toString": allowed are ip, user_agent'],
    [{ [Symbol("ip")]: "drop" }, 'there is no field "Symbol(ip)": allowed are ip, user_agent'],
    [Object.create({ ip: "drop" }), "the options must be a plain object: it is an object"],
    [JSON.parse('{"__proto__":{"ip":"drop"}}'), 'there is no field "__proto__": allowed are ip, user_agent'],
    [null, "the options must be a plain object: it is null"],
    [["ip"], "the options must be a plain object: it is a list"],
  ])("refuses %j, which would keep what was to be hidden", (policy, flaw) => {
    for (const use of [Redaction.settle, Redaction.make]) {
      expect(() => use(policy as Redaction.Policy)).toThrow(`Cannot redact as ${flaw}`);
    }
  });
});

describe("parse()", () => {
  it("reads any policy that is written out", () => {
    fc.assert(fc.property(policies, fc.constantFrom("", " "), (policy, space) => {
      fc.pre(Object.keys(policy).length > 0);
      const text = Object.entries(policy).map(([name, action]) => `${name}${space}=${action}`).join(
        `,${space}`,
      );
      expect(Redaction.parse(text)).toEqual(Either.right(Redaction.settle(policy)));
    }));
  });

  it.each([
    ["", '"" is not FIELD=ACTION'],
    ["ip", '"ip" is not FIELD=ACTION'],
    ["ip=drop,", '"" is not FIELD=ACTION'],
    ["ip=drop=hash", '"ip=drop=hash" is not FIELD=ACTION'],
    ["ip=", '\'ip\' must be "keep" or "truncate" or "hash" or "drop": it is ""'],
    ["ip=Drop", '\'ip\' must be "keep" or "truncate" or "hash" or "drop": it is "Drop"'],
    ["user_agent=truncate", '\'user_agent\' must be "keep" or "hash" or "drop": it is "truncate"'],
    ["ip_adress=drop", 'there is no field "ip_adress" (did you mean ip?)'],
    ["agent=drop", 'there is no field "agent"'],
    ["__proto__=drop", 'there is no field "__proto__"'],
    ["ip=drop,ip=keep", "ip is there twice"],
  ])("refuses %j, and says what is allowed", (text, flaw) => {
    const said = Either.getOrThrow(Either.flip(Redaction.parse(text)));
    expect(said.slice(0, flaw.length)).toBe(flaw);
    expect(said).toContain(
      "; in full, with commas between: ip=keep|truncate|hash|drop, user_agent=keep|hash|drop, " +
        "location=keep|truncate|hash|drop, session_key=keep|hash|drop, unknown=keep|drop",
    );
  });
});
