/** What each stage takes, alone, in one process: pages as they come, over and over. */
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import * as Either from "effect/Either";
import { Batch, Formats, Session } from "monocloud-sessions";
import * as RowSlices from "../../src/scan/RowSlices.ts";
import { median } from "../measure.ts";
import type { Section } from "../report.ts";
import type { Bench } from "../case.ts";

const PAGES = 50, SIZE = 1000;

export const run = async ({ tenant, isQuick }: Bench): Promise<Section> => {
  await tenant.behave({});
  const pages: Array<Uint8Array> = [];
  for (let page = 1; page <= PAGES; page++) {
    const answer = await fetch(`${tenant.url}/api/users/good-50000-0/sessions?page=${page}&size=${SIZE}`);
    pages.push(new Uint8Array(await answer.arrayBuffer()));
  }
  const utf8 = new TextDecoder("utf-8", { fatal: true });
  const texts = pages.map((page) => utf8.decode(page));
  const rows: ReadonlyArray<ReadonlyArray<unknown>> = texts.map((text) => JSON.parse(text));
  const sessions = rows.map((page) => page.map((row) => Either.getOrThrow(Session.decode(row))));
  const batches = sessions.map((sessions) => Batch.make("good-50000-0", sessions));
  const scanned = pages.map((page): Batch.Batch => {
    const found = Session.scan(page);
    if (typeof found !== "object") throw new Error("The tenant gave no page");
    return { userId: "good-50000-0", rows: { _tag: "Bytes", slices: found.slices }, quarantined: [] };
  });
  const ndjson = scanned.map((batch) => Formats.make("ndjson").make().encode(batch));
  const encode = (format: Formats.FormatName, from: ReadonlyArray<Batch.Batch>) => () => {
    const encoder = Formats.make(format).make();
    for (const batch of from) encoder.encode(batch);
    encoder.finish();
  };
  const each = <A>(all: ReadonlyArray<A>, work: (one: A) => unknown) => () => {
    for (const one of all) work(one);
  };
  const stages: Readonly<Record<string, () => void>> = {
    "UTF-8 to text": each(pages, (page) => utf8.decode(page)),
    "JSON.parse": each(texts, (text) => JSON.parse(text)),
    "decode (the guard, and the Schema for what it stops)": each(rows, (page) => page.map(Session.decode)),
    "scan: what replaces all of that, where rows are as usual": each(pages, (page) => Session.scan(page)),
    "cut rows out of the bytes": each(pages, RowSlices.cut),
    "NDJSON from bytes": encode("ndjson", scanned),
    "values to bytes, which encoders take": each(batches, Batch.toBytes),
    "CSV from bytes": encode("csv", scanned),
    "CSV from values": encode("csv", batches),
    "Parquet from bytes": encode("parquet", scanned),
    "Parquet from values": encode("parquet", batches),
    "SHA-256 of NDJSON": each(ndjson, (bytes) => createHash("sha256").update(bytes).digest()),
    "gzip of NDJSON": each(ndjson, (bytes) => gzipSync(bytes)),
  };
  const rounds = new Map<string, Array<number>>(Object.keys(stages).map((name) => [name, []]));
  for (let round = 0; round < (isQuick ? 3 : 9); round++) {
    for (const [name, work] of Object.entries(stages)) {
      const began = performance.now();
      work();
      rounds.get(name)!.push((performance.now() - began) * 1000 / (PAGES * SIZE));
    }
  }
  const parse = rounds.get("JSON.parse")!;
  return {
    title: "Stages",
    words:
      `Each alone, ${(PAGES * SIZE).toLocaleString("en")} sessions, ${
        SIZE.toLocaleString("en")
      } a page, in turn in one ` +
      "process. The first round warms up.",
    tables: [{
      title: "One core",
      rows: [...rounds].map(([name, all]) => {
        const warm = all.slice(1);
        return {
          stage: name,
          "µs a session": median(warm),
          "sessions a second": 1e6 / median(warm),
          "times JSON.parse": median(warm.map((value, index) => value / parse[index + 1]!)),
        };
      }),
    }],
  };
};
