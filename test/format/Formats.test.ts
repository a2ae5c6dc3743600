import { describe, expect, it } from "vitest";
import * as Formats from "../../src/format/Formats.ts";
import * as Ndjson from "../../src/format/ndjson/encode.ts";
import * as Batch from "../../src/session/Batch.ts";
import { encodeAll } from "../contract/encoder.ts";
import { example } from "../contract/sessions.ts";

it("make() makes the format of every name", () => {
  expect(Formats.builtInNames.map((name) => Formats.make(name).name)).toEqual(Formats.builtInNames);
  expect(Formats.all().map(({ extension }) => extension)).toEqual(["ndjson", "csv", "parquet"]);
  expect(() => Formats.make("ndjsn")).toThrow('there is no format "ndjsn" (did you mean ndjson?)');
});

it("make() hands each format its options", () => {
  const batch = Batch.make("a", [example({ last_metadata: { user_agent: "=1" } })]);
  const csv = Formats.make("csv", { csv: { escapeFormulas: false } });
  expect(new TextDecoder().decode(encodeAll(csv.make(), [batch]))).toContain(",=1,");
  expect(() => Formats.make("parquet", { parquet: { rowGroupRows: 0 } })).toThrow(TypeError);
});

it("choose() knows a format by its name, compressed or not, but where it is compressed inside", () => {
  expect(Formats.choices()).toEqual(["ndjson", "ndjson.gz", "csv", "csv.gz", "parquet"]);
  expect(Formats.builtInChoices).toEqual(Formats.choices());
  expect(Formats.choices().map((choice) => Formats.nameOf(Formats.choose(choice)!))).toEqual(
    Formats.choices(),
  );
  for (const choice of ["parquet.gz", "gz", ".gz", "csv.gz.gz", "CSV", "constructor"]) {
    expect([choice, Formats.choose(choice)]).toEqual([choice, undefined]);
  }
});

describe("register()", () => {
  it("makes a format known by its name and its ending", () => {
    Formats.register({ ...Ndjson.format(), name: "tsv_test", extension: "tsvtest" });
    expect(Formats.names()).toEqual(["ndjson", "csv", "parquet", "tsv_test"]);
    expect(Formats.ofPath("a.tsvtest.gz")).toMatchObject({ format: { name: "tsv_test" }, gzip: true });
    expect(Formats.endings()).toContain(".tsvtest.gz");
    expect(() => Formats.register({ ...Ndjson.format(), name: "tsv_test", extension: "other" }))
      .toThrow("there is one of that name");
  });

  it.each([
    [{ name: "csv" }, "there is one of that name"],
    [{ name: "quarantine" }, "datasets have a folder of that name"],
    [{ name: "../x" }, "a name is letters"],
    [{ name: "X" }, "a name is letters"],
    [{ name: "mine" }, ".ndjson is another format's"],
    [{ name: "mine", extension: "gz" }, "its extension is none"],
    [{ name: "mine", extension: "a/b" }, "its extension is none"],
  ])("refuses %j", (change, why) => {
    expect(() => Formats.register({ ...Ndjson.format(), ...change })).toThrow(why);
    expect(Formats.find("mine")).toBeUndefined();
  });
});
