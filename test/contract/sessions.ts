/**
 * Arbitrary sessions, as the text an endpoint could serve: any text, any white space, any unknown field.
 *
 * @module
 */
import * as fc from "fast-check";
import * as Batch from "../../src/session/Batch.ts";
import type { Session } from "../../src/session/Session.ts";

/** A session and the JSON text it was parsed from. */
export interface Served {
  readonly session: Session;
  readonly source: string;
}

/** A session as MonoCloud's page shows one, with what the test says instead. */
export const example = (change: Partial<Session> & Record<string, unknown> = {}): Session => ({
  session_id: "96484D319ACC21380CCE026E54807B4D",
  session_key: "CF13F82261B1FCE312E5651500620295BEDBF32207446BA5C1D9B61129F05A22",
  client_ids: ["eCOGRJYpnNwwAAuCeReEW"],
  initiated_at: 1640975400,
  expires_at: 1640983490,
  last_updated: 1640975400,
  last_metadata: {
    country: "United States of America",
    region: "North America",
    city: "Los Angeles",
    latitude: "34.043238",
    longitude: "-118.250918",
    ip_address: "1.1.1.1",
    user_agent: "The User Agent",
  },
  ...change,
});

/** That many sessions that differ. */
export const examples = (count: number): Array<Session> =>
  Array.from({ length: count }, (_, i) => example({ session_id: `S${i}`, initiated_at: 1640975400 + i }));

const awkward = [
  ..."\"'\\,;=+-@\t\r\n\0 {}[]:/",
  "\ud800",
  "\udfff",
  "\u2028",
  "\ufeff",
  "\uffff",
  "é",
  "漢",
  "🦆",
];

/** Any text, lone surrogates included; what formats stumble over comes up often. */
export const anyText = fc.string({
  unit: fc.oneof(
    fc.constantFrom(...awkward),
    fc.constantFrom("a", "B", "1"),
    fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
  ),
  maxLength: 12,
});

const space = fc.stringMatching(/^[ \t\r\n]{0,3}$/);

/** The text of a string, some characters of which are written as escapes that they do not need. */
const quoted = (text: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.tuple(text, fc.boolean()).map(([value, escaped]) =>
    escaped
      ? `"${
        Array.from({ length: value.length }, (_, i) =>
          `\\u${value.charCodeAt(i).toString(16).padStart(4, "0")}`).join("")
      }"`
      : JSON.stringify(value)
  );

const numeral = fc.oneof(
  fc.constantFrom(
    "0",
    "-0",
    "1.10",
    "1e400",
    "12345678901234567890",
    "-9007199254740993",
    "0.1000000000000000055",
    "1E+2",
  ),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
);

type Member = readonly [name: string, value: string];

const array = (values: ReadonlyArray<string>, pad: string) => `[${pad}${values.join(`${pad},`)}${pad}]`;
const object = (members: ReadonlyArray<Member>, pad: string, beforeColon = pad) =>
  `{${pad}${
    members.map(([name, value]) => `${name}${beforeColon}:${pad}${value}`).join(`${pad},${pad}`)
  }${pad}}`;

/** Any JSON text without white space around it. */
export const jsonText: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    quoted(anyText),
    numeral,
    fc.constantFrom("null", "true", "false"),
    fc.tuple(fc.array(tie("value"), { maxLength: 3 }), space).map(([values, pad]) => array(values, pad)),
    fc.tuple(fc.array(fc.tuple(quoted(anyText), tie("value")), { maxLength: 3 }), space)
      .map(([members, pad]) => object(members, pad)),
  ),
})).value;

/** The text of a JSON array or object, and of what is in it, all white space kept apart. */
export const jsonArray = fc.tuple(fc.array(jsonText, { maxLength: 5 }), space).map(([values, pad]) => ({
  text: array(values, pad),
  values,
}));

const metadataNames = ["country", "region", "city", "ip_address", "user_agent"];
const sessionNames = [
  "session_id",
  "session_key",
  "client_ids",
  "initiated_at",
  "expires_at",
  "last_updated",
];
const reserved = [...metadataNames, ...sessionNames, "last_metadata", "latitude", "longitude"];

const unknownName = fc.oneof(
  fc.constantFrom("__proto__", "user_id", "_rescued_data", "constructor", "toString", ""),
  anyText,
).filter((name) => !reserved.includes(name));

const unknown = fc.array(fc.tuple(unknownName.map((name) => JSON.stringify(name)), jsonText), {
  maxLength: 3,
});

const maybe = (name: string, value: fc.Arbitrary<string>): fc.Arbitrary<ReadonlyArray<Member>> =>
  fc.oneof(
    value.map((text): ReadonlyArray<Member> => [[JSON.stringify(name), text]]),
    fc.constantFrom<ReadonlyArray<Member>>([], [[JSON.stringify(name), "null"]]),
  );

const member = (name: string, value: fc.Arbitrary<string>): fc.Arbitrary<ReadonlyArray<Member>> =>
  value.map((text) => [[JSON.stringify(name), text]]);

const members = (
  parts: ReadonlyArray<fc.Arbitrary<ReadonlyArray<Member>>>,
  beforeColon?: string,
): fc.Arbitrary<string> =>
  fc.tuple(fc.tuple(...parts), fc.infiniteStream(fc.nat()), space).map(([found, order, pad]) => {
    const keys = order[Symbol.iterator]();
    const shuffled = found.flat().map((pair) => ({ pair, key: keys.next().value }))
      .sort((a, b) => a.key - b.key).map(({ pair }) => pair);
    return object(shuffled, pad, beforeColon);
  });

const coordinate = fc.oneof(
  fc.double({ min: -180, max: 180, noNaN: true }).map((value) => value.toFixed(6)),
  fc.constantFrom("", "north", "1e5", "+1", "-0", "34.0", " 1", "1 ", "0x10", "١", "Infinity"),
);

const epoch = fc.integer({ min: 0, max: 253_402_300_799 }).map(String);

const sessionText = (
  unknown: fc.Arbitrary<ReadonlyArray<Member>>,
  beforeColon?: string,
): fc.Arbitrary<string> =>
  members([
    member("session_id", quoted(anyText.filter((text) => text !== ""))),
    maybe("session_key", quoted(anyText)),
    member(
      "client_ids",
      fc.tuple(fc.array(quoted(anyText), { maxLength: 3 }), space).map(([ids, pad]) => array(ids, pad)),
    ),
    member("initiated_at", epoch),
    member("expires_at", epoch),
    member("last_updated", epoch),
    maybe(
      "last_metadata",
      members([
        ...metadataNames.map((name) => maybe(name, quoted(anyText))),
        maybe("latitude", quoted(coordinate)),
        maybe("longitude", quoted(coordinate)),
        unknown,
      ], beforeColon),
    ),
    unknown,
  ], beforeColon)
    // What is served is UTF-8, which has no half of a surrogate pair; JSON can still escape one.
    .map((text) => text.toWellFormed());

/** Any valid session, as it might be served. */
export const served: fc.Arbitrary<Served> = sessionText(unknown)
  .map((source) => ({ session: JSON.parse(source), source }));

/** What a later version of the endpoint may add, in names of ASCII without escapes. */
const added = fc.array(
  fc.tuple(
    fc.constantFrom("risk", "x", "client_id", "last_metadata2", "__proto__", "_rescued_data", "0", "a b").map(
      (name) => JSON.stringify(name),
    ),
    jsonText,
  ),
  { maxLength: 3 },
).map((all) => all.filter(([name], index) => all.findIndex(([other]) => other === name) === index));

/** The text of any session written as nearly all are: nothing in it twice, and no space before a colon. */
export const usual: fc.Arbitrary<string> = sessionText(added, "");

/** The bytes of a page of these rows. */
export const page = (rows: ReadonlyArray<string>): Uint8Array => new TextEncoder().encode(array(rows, ""));

/** Sessions as a walk gives them. */
export const serve = (userId: string, sessions: ReadonlyArray<Session>): Batch.Batch =>
  Batch.ofTexts(userId, sessions.map((session) => JSON.stringify(session)));

/** Any batch: of values, of texts as served, or of such as nearly all are. */
export const batch: fc.Arbitrary<Batch.Batch> = fc.record({
  userId: fc.oneof(anyText, fc.constant("alice")),
  rows: fc.array(served, { maxLength: 6 }),
  usual: fc.array(usual, { maxLength: 6 }),
  from: fc.constantFrom("values", "texts", "usual"),
}).map(({ userId, rows, usual, from }) =>
  from === "values"
    ? Batch.make(userId, rows.map(({ session }) => session))
    : Batch.ofTexts(userId, from === "texts" ? rows.map(({ source }) => source) : usual)
);
