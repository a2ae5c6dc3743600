/**
 * Reads lines. Only a line feed ends one: JSON may hold the other characters that readers of text take for a break, such as
 * U+2028, at which `node:readline` of Deno ends a line.
 */
import { concat } from "../scan/RowSlices.ts";

/** A line is no longer than this, in bytes, 64 MiB: what is longer is no line of ours, and would have to be held. */
export const LONGEST = 1 << 26;

interface LinesOptions {
  /** True to leave out text after the last break: it was being written when its writer died. @default {false} */
  readonly areWhole?: boolean;
}

/**
 * Cut bytes where lines end: each piece holds whole lines, with their breaks but for the last one of the file, which may
 * have none.
 *
 * Memory: a chunk, and the line it ends in. Throws on a line longer than 64 MiB.
 */
export async function* whole(
  chunks: AsyncIterable<Uint8Array>,
  { areWhole = false }: LinesOptions = {},
): AsyncGenerator<Uint8Array> {
  let begun: Array<Uint8Array> = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(0x0a) + 1;
    if (end === 0) {
      begun.push(chunk);
      bytes += chunk.length;
      if (bytes > LONGEST) throw new RangeError(`a line is longer than ${LONGEST} bytes`);
      continue;
    }
    const piece = concat([...begun, chunk.subarray(0, end)]);
    begun = [chunk.subarray(end)];
    bytes = chunk.length - end;
    yield piece;
  }
  if (bytes > 0 && !areWhole) yield concat(begun);
}

const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });

/** Split such a piece into lines without their breaks. */
export const split = (piece: Uint8Array): Array<string> => {
  const end = piece.at(-1) === 0x0a ? piece.length - 1 : piece.length;
  return utf8.decode(piece.subarray(0, end)).split("\n");
};

/**
 * Split bytes of UTF-8 into lines without their breaks, some at a time. Text after the last break is a line as well, unless
 * only whole ones are wanted. A carriage return stays where it is; JSON takes it for white space.
 *
 * Memory: a chunk, and the line it ends in. Throws on a line longer than 64 MiB.
 */
export async function* of(
  chunks: AsyncIterable<Uint8Array>,
  options?: LinesOptions,
): AsyncGenerator<ReadonlyArray<string>> {
  for await (const piece of whole(chunks, options)) yield split(piece);
}
