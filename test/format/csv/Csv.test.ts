import { stringify } from "csv-stringify/browser/esm/sync";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as Batch from "../../../src/session/Batch.ts";
import { columns } from "../../../src/session/Columns.ts";
import * as Csv from "../../../src/format/csv/encode.ts";
import type { CsvOptions } from "../../../src/format/FormatOptions.ts";
import type { Session } from "../../../src/session/Session.ts";
import { encodeAll, encoderContract } from "../../contract/encoder.ts";
import type { Encodable } from "../../../src/format/Format.ts";
import { anyText, batch, example, examples } from "../../contract/sessions.ts";
import { rowsOf } from "../../contract/columns.ts";
import { csvRows, expectedRows } from "../duckdb.ts";

encoderContract({ format: Csv.format({ escapeFormulas: false }), read: csvRows, rows: expectedRows });

const utf8 = new TextDecoder();
const write = (session: Session, options?: CsvOptions, userId = "alice") =>
  encodeAll(Csv.make(options), [Batch.make(userId, [session])]);
const agent = (user_agent: string | null) => example({ last_metadata: { user_agent } });

/** A text as csv-stringify and every spreadsheet see it: what begins with one of these may be run. */
const isFormula = (text: string) =>
  "\t\r\n".includes(text[0] ?? " ") ||
  "=+-@|%\uff1d\uff0b\uff0d\uff20".includes(text.replace(/^[\s\p{Cc}\p{Cf}]+/u, "")[0] ?? " ");

/** The same cells, all of them written by csv-stringify, row by row. */
const stringified = (batches: ReadonlyArray<Encodable>, escapeFormulas: boolean): string => {
  const values = batches.flatMap(rowsOf).map((row) =>
    columns.map(({ name, kind }) => {
      const value = row[name];
      if (kind === "timestamp") return new Date(Number(value) * 1000).toISOString().replace(".000Z", "Z");
      if (kind !== "text_list") return value;
      return JSON.stringify((value as ReadonlyArray<string>).map((text) => text.toWellFormed()));
    })
  );
  return stringify(values, {
    header: true,
    columns: columns.map(({ name }) => name),
    record_delimiter: "\r\n",
    quote_record_delimiter: true,
    cast: {
      string: (text, { index }) => {
        if (text === "") return { value: text, quoted_empty: true };
        return escapeFormulas && isFormula(text) && !(columns[index]!.key && /^[\w-]+$/.test(text))
          ? `'${text}`
          : text;
      },
    },
  });
};

describe("Csv.make()", () => {
  it("writes a header row of the columns, also for an empty export", () => {
    const header = `${columns.map(({ name }) => name).join(",")}\r\n`;
    expect(utf8.decode(encodeAll(Csv.make(), []))).toBe(header);
    expect(utf8.decode(write(example())).startsWith(header)).toBe(true);
  });

  it("writes a session on one line that ends with CRLF", () => {
    const [, line] = utf8.decode(write(example())).split("\r\n");
    expect(line).toBe(
      "alice,96484D319ACC21380CCE026E54807B4D," +
        "CF13F82261B1FCE312E5651500620295BEDBF32207446BA5C1D9B61129F05A22," +
        '"[""eCOGRJYpnNwwAAuCeReEW""]",2021-12-31T18:30:00Z,2021-12-31T20:44:50Z,2021-12-31T18:30:00Z,' +
        "United States of America,North America,Los Angeles,34.043238,-118.250918,1.1.1.1,The User Agent,",
    );
  });

  it("writes null as nothing and the empty text as two quotes", async () => {
    expect(utf8.decode(write(agent(null)))).toMatch(/Z,,,,,,,,\r\n$/);
    expect(utf8.decode(write(agent("")))).toMatch(/Z,,,,,,,"",\r\n$/);
    expect(await csvRows(write(agent(null)))).toMatchObject([{ user_agent: null }]);
    expect(await csvRows(write(agent("")))).toMatchObject([{ user_agent: "" }]);
  });

  it.each(["a\nb", "a\rb", "a\r\nb", 'a"b', "a,b", "\n", "\r"])("quotes %j", async (text) => {
    const file = write(agent(text), { escapeFormulas: false });
    expect(utf8.decode(file)).toContain(`,"${text.replaceAll('"', '""')}",`);
    expect(await csvRows(file)).toMatchObject([{ user_agent: text }]);
  });

  it.each([
    ...[
      "=1+1",
      "+1",
      "-1",
      "@SUM(A1)",
      "\t=1",
      "\r=1",
      '=HYPERLINK("http://x","y")',
      "\n=1",
      "\n",
      " =1",
      "\u00a0 @A1",
    ],
    ...["\ufeff=1", "\u200b\u202e-1", "\u0000=1", "|calc", "%1", " |cmd", "\uff1d1", "\u3000\uff0b1"],
  ])(
    "makes the formula %j inert",
    async (formula) => {
      expect(await csvRows(write(agent(formula)))).toMatchObject([{ user_agent: `'${formula}` }]);
      expect(await csvRows(write(agent(formula), { escapeFormulas: false }))).toMatchObject([{
        user_agent: formula,
      }]);
    },
  );

  it.each(["a=1", "it's", "'=1", "  led by spaces", "\u00a0a", "(1)", "\u200bzero", "#=1", "_|", "1-1"])(
    "leaves %j as it is",
    async (text) => expect(await csvRows(write(agent(text)))).toMatchObject([{ user_agent: text }]),
  );

  it("keeps ids that begin with '-' as they are", async () => {
    const rows = await csvRows(write(example({ session_id: "-abc_9", session_key: "--" }), {}, "-1"));
    expect(rows).toMatchObject([{ user_id: "-1", session_id: "-abc_9", session_key: "--" }]);
  });

  it("escapes an id that could call something", async () => {
    const rows = await csvRows(
      write(example({ session_id: "-1+cmd|' /C calc'!A0", session_key: "=1" }), {}, "@a"),
    );
    expect(rows).toMatchObject([{ user_id: "'@a", session_id: "'-1+cmd|' /C calc'!A0", session_key: "'=1" }]);
  });

  it("keeps negative coordinates numbers", async () => {
    const session = example({ last_metadata: { latitude: "-0.0000001", longitude: "-118.250918" } });
    expect(await csvRows(write(session))).toMatchObject([{ latitude: -1e-7, longitude: -118.250918 }]);
  });

  it("changes any text by at most a quote in front, and leaves none that is a formula but ids", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(batch, { minLength: 20, maxLength: 40 }), async (batches) => {
        const found = await csvRows(encodeAll(Csv.make(), batches));
        const expected = batches.flatMap(expectedRows).map((row) =>
          Object.fromEntries(columns.map(({ name, kind, key }) => {
            const value = row[name];
            const escaped = kind === "text" && isFormula(String(value)) &&
              !(key && /^[\w-]+$/.test(String(value)));
            return [name, escaped ? `'${value}` : value];
          }))
        );
        expect(found).toEqual(expected);
      }),
      { numRuns: 8 },
    );
  });

  it.each([true, false])("writes any batch as csv-stringify does (escapeFormulas: %j)", (escapeFormulas) => {
    const often = fc.array(batch, { maxLength: 12 }).map((batches) => [...batches, ...batches]);
    fc.assert(fc.property(often, (batches) => {
      const file = encodeAll(Csv.make({ escapeFormulas }), batches);
      expect(utf8.decode(file)).toBe(
        utf8.decode(new TextEncoder().encode(stringified(batches, escapeFormulas))),
      );
    }));
  });

  it.each([true, false])("writes any text as csv-stringify does (escapeFormulas: %j)", (escapeFormulas) => {
    // Longer texts than are remembered as well, and texts that are plain but for one character.
    const text = fc.tuple(anyText, fc.constantFrom("", "a", "-", "x".repeat(300)), anyText)
      .map((parts) => parts.join(""));
    fc.assert(fc.property(text, fc.boolean(), (text, isKey) => {
      const session = isKey ? example({ session_key: text }) : agent(text);
      const batches = [Batch.make(isKey ? text : "alice", [session, session])];
      expect(utf8.decode(encodeAll(Csv.make({ escapeFormulas }), batches)))
        .toBe(utf8.decode(new TextEncoder().encode(stringified(batches, escapeFormulas))));
    }));
  });

  it("writes the same when more texts have come than it remembers", () => {
    const sessions = examples(3000).map((session, i) => ({
      ...session,
      client_ids: [`client ${i}`],
      last_metadata: { city: `city, ${i % 1500}`, latitude: `${i}.5`, user_agent: `"${i % 7}"` },
    }));
    const batches = [Batch.make("alice", sessions), Batch.make("bob, too", sessions)];
    expect(utf8.decode(encodeAll(Csv.make(), batches))).toBe(stringified(batches, true));
  });

  it("writes any time as ISO 8601 in UTC", () => {
    const seconds = fc.array(fc.integer({ min: 0, max: 253_402_300_799 }), { minLength: 50, maxLength: 200 });
    fc.assert(fc.property(seconds, (times) => {
      const sessions = times.map((initiated_at) => example({ initiated_at }));
      const lines = utf8.decode(encodeAll(Csv.make(), [Batch.make("a", sessions)])).split("\r\n").slice(
        1,
        -1,
      );
      expect(lines.map((line) => line.split(",")[4]))
        .toEqual(times.map((time) => new Date(time * 1000).toISOString().replace(".000Z", "Z")));
    }));
  });
});
