/** What is escaped for spreadsheets is read back as what it was: as this version writes it, and as 0.1 did. */
import * as fc from "fast-check";
import { expect, it } from "vitest";
import * as Batch from "../../../src/session/Batch.ts";
import { allColumns, type EncodedFile } from "../../../src/format/Format.ts";
import { difference, keyOf, plain, type Row, spelled } from "../../../src/format/DecodedRow.ts";
import * as Csv from "../../../src/format/csv/encode.ts";
import { eitherText, escapedText } from "../../../src/format/csv/Formula.ts";
import * as Ndjson from "../../../src/format/ndjson/encode.ts";
import type { Session } from "../../../src/session/Session.ts";
import { some } from "../../size.ts";

const text = fc.string({
  unit: fc.constantFrom(..."=+-@|%'\t\r\n \u00a0\ufeff\u200b\u0000\uff1d\uff20", "a", "1", "é", '"', ","),
  maxLength: 6,
});

const session = (id: string, agent: string): Session => ({
  session_id: id,
  client_ids: [],
  initiated_at: 1640975400,
  expires_at: 1640983490,
  last_updated: 1640975400,
  last_metadata: { user_agent: agent, city: agent },
});

const only = async (rows: AsyncIterable<ReadonlyArray<unknown>>): Promise<Row> => {
  for await (const [row] of rows) return row as Row;
  throw new Error("There is no row");
};

const file = (bytes: Uint8Array): EncodedFile => ({
  byteLength: bytes.length,
  chunks: async function* () {
    yield bytes;
  },
  read: (start, end) => Promise.resolve(Uint8Array.from(bytes.subarray(start, end))),
});

const encoded = (encoder: ReturnType<typeof Csv.make>, batch: Batch.Batch): Uint8Array =>
  Buffer.concat([encoder.encode(batch), encoder.finish()]);

/** The rule of 0.1, as it was. */
const before = (value: string, isKey: boolean): string =>
  /^[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]/.test(value) && !(isKey && /^[A-Za-z0-9_-]+$/.test(value))
    ? `'${value}`
    : value;

it("any text and any id, whichever version wrote them", () =>
  fc.assert(
    fc.asyncProperty(text.filter((id) => id !== ""), text, async (id, agent) => {
      const batch = Batch.make(id, [session(id, agent)]);
      const served = await only(
        Ndjson.format().decode(file(encoded(Ndjson.make(), batch)), { columns: allColumns, text: plain }),
      );
      const now = encoded(Csv.make(), batch);
      const then = encoded(
        Csv.make({ escapeFormulas: false }),
        Batch.make(before(id, true), [session(before(id, true), before(agent, false))]),
      );
      for (const bytes of [now, then]) {
        const row = await only(Csv.format().decode(file(bytes), { columns: allColumns, text: escapedText }));
        expect(difference(row, served)).toBeUndefined();
        expect(difference(served, row)).toBeUndefined();
        expect(spelled(keyOf(served), escapedText)).toContainEqual(keyOf(row));
        expect(spelled(keyOf(served), eitherText)).toContainEqual(keyOf(row));
      }
      const other = await only(
        Csv.format().decode(file(encoded(Csv.make(), Batch.make(id, [session(id, `${agent}x`)]))), {
          columns: allColumns,
          text: escapedText,
        }),
      );
      expect(difference(other, served)).toContain("is ");
    }),
    { seed: 5, numRuns: some(2000) },
  ));
