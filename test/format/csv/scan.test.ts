/** The fast reader of CSV reads what its plain twin reads, however the bytes are cut, and refuses what was damaged. */
import * as fc from "fast-check";
import { expect, it } from "vitest";
import * as Csv from "../../../src/format/csv/encode.ts";
import { decode } from "../../../src/format/csv/decode.ts";
import { scan } from "../../../src/format/csv/scan.ts";
import type { EncodedFile } from "../../../src/format/Format.ts";
import { allColumns, plainText, type Row } from "../../../src/format/Format.ts";
import { encodeAll } from "../../contract/encoder.ts";
import { batch } from "../../contract/sessions.ts";

const fileOf = (bytes: Uint8Array, cut: number): EncodedFile => ({
  byteLength: bytes.length,
  read: () => Promise.reject(new Error("it is read from its first byte to its last")),
  chunks: async function* () {
    await Promise.resolve();
    for (let at = 0; at < bytes.length; at += cut) yield bytes.slice(at, at + cut);
  },
});

const written = { columns: allColumns, text: plainText };

/** Give the rows that a reader gives, or that it refused. */
const read = async (reader: typeof scan, bytes: Uint8Array, cut: number) => {
  const rows: Array<unknown> = [];
  try {
    for await (const some of reader(fileOf(bytes, cut), written)) {
      for (const row of some) rows.push("flaw" in row ? row : { ...row as Row, text: undefined });
    }
    return { rows };
  } catch {
    return { refused: true };
  }
};

const anyFile = fc.array(batch, { maxLength: 6 }).map((batches) =>
  encodeAll(Csv.make({ escapeFormulas: false }), batches)
);

it("reads any file as its twin does, however it is cut", async () => {
  await fc.assert(fc.asyncProperty(anyFile, fc.integer({ min: 1, max: 4000 }), async (bytes, cut) => {
    const expected = await read(decode, bytes, 1 << 16);
    expect(expected).toHaveProperty("rows");
    expect(await read(scan, bytes, cut)).toEqual(expected);
  }));
});

it("takes no file for another than its twin does, whatever byte of it was changed", async () => {
  let refused = 0;
  const damage = fc.tuple(
    anyFile,
    fc.nat(),
    fc.constantFrom(..."\",\r\n'ax0["),
    fc.constantFrom("replace", "cut", "add"),
  );
  await fc.assert(
    fc.asyncProperty(damage, async ([bytes, at, character, how]) => {
      const place = at % bytes.length;
      const rest = bytes.subarray(how === "add" ? place : place + 1);
      const damaged = how === "cut"
        ? bytes.subarray(0, place)
        : Uint8Array.of(...bytes.subarray(0, place), character.charCodeAt(0), ...rest);
      const [found, expected] = [await read(scan, damaged, 1000), await read(decode, damaged, 1 << 16)];
      if ("refused" in found) refused++;
      // It may refuse more, and reads nothing else.
      else expect(found).toEqual(expected);
    }),
    { numRuns: 300 },
  );
  expect(refused).toBeGreaterThan(3);
});

it("ends on a quote that is nowhere closed, in time and memory that its length allows", async () => {
  const header = new TextEncoder().encode(`${allColumns.join(",")}\r\n"`);
  const bytes = new Uint8Array(8 << 20).fill(0x61);
  bytes.set(header);
  expect(await read(scan, bytes, 1 << 14)).toEqual({ refused: true });
});
