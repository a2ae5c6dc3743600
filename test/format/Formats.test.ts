import { expect, it } from "vitest";
import * as Formats from "../../src/format/Formats.ts";
import { encodeAll } from "../contract/encoder.ts";
import { example } from "../contract/sessions.ts";

it("Formats.make() makes the format of every name", () => {
  expect(Formats.names.map((name) => Formats.make(name).name)).toEqual(Formats.names);
  expect(Formats.names.map((name) => Formats.make(name).extension)).toEqual(["ndjson", "csv", "parquet"]);
});

it("Formats.make() hands each format its options", () => {
  const batch = { userId: "a", sessions: [example({ last_metadata: { user_agent: "=1" } })] };
  const csv = Formats.make("csv", { csv: { escapeFormulas: false } });
  expect(new TextDecoder().decode(encodeAll(csv.make(), [batch]))).toContain(",=1,");
  expect(() => Formats.make("parquet", { parquet: { rowGroupRows: 0 } })).toThrow(TypeError);
});
