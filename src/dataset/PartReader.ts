/**
 * Reads parts back, whatever their format: their bytes, to compare sums, and their rows.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { createGunzip } from "node:zlib";
import * as Lines from "./Lines.ts";
import type { Part, Run } from "./Manifest.ts";
import * as ReadCsv from "./ReadCsv.ts";
import * as ReadNdjson from "./ReadNdjson.ts";
import * as ReadParquet from "./ReadParquet.ts";
import type { Flaw, Row, Text } from "./Row.ts";

/** The formats of sessions, the one that alters least first. */
export const order: ReadonlyArray<string> = ["ndjson", "parquet", "csv"];

/** Bytes read at a time. */
const CHUNK = 1 << 18;

/** The file's bytes, unpacked if it is compressed. */
async function* chunksOf(path: string): AsyncGenerator<Uint8Array> {
  const file = createReadStream(path, { highWaterMark: CHUNK });
  if (!path.endsWith(".gz")) return yield* file;
  const gunzip = createGunzip({ chunkSize: CHUNK });
  file.on("error", (error) => gunzip.destroy(error));
  try {
    yield* file.pipe(gunzip);
  } finally {
    file.destroy();
  }
}

/** How many bytes a file has, and their sha256. */
export const sumOf = async (
  path: string,
): Promise<{ readonly bytes: number; readonly sha256: string }> => {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: CHUNK })) {
    hash.update(chunk as Uint8Array);
    bytes += (chunk as Uint8Array).length;
  }
  return { bytes, sha256: hash.digest("hex") };
};

/** How a run wrote text into CSV. */
export const textOf = (options: Run["options"] | undefined): Text => {
  const keepFormulas = options?.["keepFormulas"];
  return keepFormulas === true ? "plain" : keepFormulas === false ? "escaped" : "either";
};

/** How a part writes text, by the options of its run. */
export const writtenAs = (
  { format, run }: Part,
  runs: Iterable<Pick<Run, "run" | "options">>,
): Text => format === "csv" ? textOf([...runs].find((one) => one.run === run)?.options) : "plain";

/** Of the parts of each number the one of sessions whose format alters least: together, all sessions once. */
export const oneOfEach = (parts: ReadonlyArray<Part>): ReadonlyArray<Part> => {
  const chosen = new Map<number, Part>();
  for (const format of order) {
    for (const part of parts) {
      if (part.format === format && !chosen.has(part.part)) chosen.set(part.part, part);
    }
  }
  return [...chosen.values()];
};

/** The lines of a part that has lines, some at a time. */
export const lines = (root: string, { path }: Pick<Part, "path">) => Lines.of(chunksOf(join(root, path)));

async function* parquet(path: string): AsyncGenerator<ReadonlyArray<Row | Flaw>> {
  const handle = await open(path, "r");
  try {
    yield* ReadParquet.rows(handle, (await handle.stat()).size);
  } finally {
    await handle.close();
  }
}

/**
 * The sessions of a part, some at a time, in their order. A row that is none of its format is told as a flaw; it throws
 * where it can't read on.
 *
 * Memory: a chunk and the rows in it; of Parquet a row group.
 */
export const rows = (
  root: string,
  { path, format }: Pick<Part, "path" | "format">,
  text: Text,
): AsyncGenerator<ReadonlyArray<Row | Flaw>> => {
  const full = join(root, path);
  if (format === "parquet") return parquet(full);
  return format === "csv" ? ReadCsv.rows(chunksOf(full), text) : ReadNdjson.rows(chunksOf(full));
};
