import { parse } from "csv-parse/sync";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as Formats from "../../src/format/Formats.ts";
import { allColumns, type Format } from "../../src/format/Format.ts";
import type * as Batch from "../../src/session/Batch.ts";
import { batch } from "../contract/sessions.ts";

const some = fc.shuffledSubarray([...allColumns], { minLength: 1 });

const rowsOf = (
  format: Format,
  batches: ReadonlyArray<Batch.Batch>,
): ReadonlyArray<ReadonlyArray<string>> => {
  const encoder = format.make();
  const chunks = [...batches.map((batch) => encoder.encode(batch)), encoder.finish()];
  return parse(Buffer.concat(chunks), { relax_column_count: false });
};

describe("select()", () => {
  it("writes the cells of any columns in any order as all columns have them", () => {
    const csv = Formats.make("csv");
    fc.assert(fc.property(fc.array(batch, { maxLength: 3 }), some, (batches, names) => {
      const [header, ...rows] = rowsOf(csv, batches);
      const places = names.map((name) => header!.indexOf(name));
      const its = csv.select!(names);
      expect(its.columns).toEqual(names);
      expect(rowsOf(its, batches)).toEqual([names, ...rows.map((row) => places.map((place) => row[place]))]);
    }));
  });

  it("refuses a name that no column has", () => {
    for (const name of ["csv", "parquet"]) {
      expect(() => Formats.make(name).select!(["sesion_id"])).toThrow("did you mean session_id?");
    }
    expect(Formats.make("ndjson").select).toBeUndefined();
  });
});
