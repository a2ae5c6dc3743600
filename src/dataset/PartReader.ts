/** Reads parts back, whatever their format: their bytes, to compare sums, and their rows. */
import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import * as Lines from "../format/Lines.ts";
import { columnsIn, type Part, type Run } from "./Manifest.ts";
import { type Flaw, plain, type Row, type Written } from "../format/DecodedRow.ts";
import * as Formats from "../format/Formats.ts";
import * as SafeFile from "../sink/SafeFile.ts";

/** Unpacked bytes handed on at a time. */
const CHUNK = 1 << 18;

/** Most that a byte may unpack to: files written here unpack to a tenth of that. */
const RATIO = 250;
/** So much may be unpacked, whatever it was. */
const UNPACKED = 2 ** 30;

/** The file's bytes, unpacked if it is compressed. */
async function* chunksOf(root: string, path: string): AsyncGenerator<Uint8Array> {
  if (!path.endsWith(".gz")) return yield* SafeFile.chunks(root, path);
  const gunzip = createGunzip({ chunkSize: CHUNK });
  let [packed, unpacked] = [0, 0];
  async function* counted() {
    for await (const chunk of SafeFile.chunks(root, path)) {
      packed += chunk.length;
      yield chunk;
    }
  }
  const file = Readable.from(counted(), { objectMode: false });
  file.on("error", (error) => gunzip.destroy(error));
  try {
    for await (const chunk of file.pipe(gunzip)) {
      unpacked += (chunk as Uint8Array).length;
      if (unpacked > UNPACKED + RATIO * packed) {
        throw new RangeError(`it unpacks to more than ${UNPACKED} bytes and ${RATIO} times its own`);
      }
      yield chunk as Uint8Array;
    }
  } finally {
    file.destroy();
    gunzip.destroy();
  }
}

/** Count the bytes of a file, and give their sha256; undefined if they are not as many as recorded. */
export const sumOf = async (
  root: string,
  { path, bytes: recorded }: Pick<Part, "path" | "bytes">,
): Promise<{ readonly bytes: number; readonly sha256: string | undefined }> => {
  const size = await SafeFile.sizeOf(root, path);
  if (size !== recorded) return { bytes: size, sha256: undefined };
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of SafeFile.chunks(root, path)) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { bytes, sha256: hash.digest("hex") };
};

export const writtenBy = (part: Part, options: Run["options"] | undefined): Written => ({
  columns: columnsIn(part),
  text: Formats.find(part.format)?.textOf?.(options ?? {}) ?? plain,
});

export const writtenAs = (part: Part, runs: ReadonlyArray<Pick<Run, "run" | "options">>): Written => {
  const { run } = part;
  // They are numbered from 1, but for a run that has not finished and is told once more.
  const its = runs[run - 1]?.run === run ? runs[run - 1] : runs.find((one) => one.run === run);
  return writtenBy(part, its?.options);
};

/** Picks of the parts of each number the one of sessions whose format alters least: together, all sessions once. */
export const oneOfEach = (parts: ReadonlyArray<Part>): ReadonlyArray<Part> => {
  const chosen = new Map<number, Part>();
  for (const format of Formats.byFidelity()) {
    for (const part of parts) {
      if (part.format === format && !chosen.has(part.part)) chosen.set(part.part, part);
    }
  }
  return [...chosen.values()];
};

export const lines = (root: string, { path }: Pick<Part, "path">) => Lines.of(chunksOf(root, path));

/**
 * The sessions of a part, some at a time, in their order. A row that is none of its format is told as a flaw; it throws
 * where it can't read on. A file of which the sum was checked is read the faster way, if its format has one.
 *
 * Memory: a chunk and the rows in it; of Parquet a row group.
 */
export async function* rows(
  root: string,
  { path, format }: Pick<Part, "path" | "format">,
  written: Written,
  isSound = false,
): AsyncGenerator<ReadonlyArray<Row | Flaw>> {
  let handle: FileHandle | undefined;
  const read = async (start: number, end: number): Promise<Uint8Array<ArrayBuffer>> => {
    handle ??= await SafeFile.open(root, path);
    const bytes = new Uint8Array(end - start);
    let filled = 0;
    while (filled < bytes.length) {
      const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, start + filled);
      if (bytesRead === 0) throw new Error("it ends before its last row");
      filled += bytesRead;
    }
    return bytes;
  };
  const byteLength = await SafeFile.sizeOf(root, path);
  try {
    const { decode, scan = decode } = Formats.make(format);
    yield* (isSound ? scan : decode)({ byteLength, chunks: () => chunksOf(root, path), read }, written);
  } finally {
    await handle?.close();
  }
}
