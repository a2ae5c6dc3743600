/**
 * Reads lines. Only a line feed ends one: JSON may hold the other characters that readers of text take for a break, such as
 * U+2028, at which `node:readline` of Deno ends a line.
 *
 * @module
 */
import { createReadStream } from "node:fs";

/** A line is no longer than this, in bytes: what is longer is no line of ours, and would have to be held. */
const LONGEST = 1 << 26;

/** Bytes read at a time. */
const CHUNK = 1 << 18;

/**
 * Split bytes of UTF-8 into lines without their breaks, some at a time. Text after the last break is a line as well. A
 * carriage return stays where it is; JSON takes it for white space.
 *
 * Memory: a chunk, and the line it ends in. Throws on a line longer than 64 MiB.
 */
export async function* of(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ReadonlyArray<string>> {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  let begun: Array<Uint8Array> = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(0x0a);
    if (end === -1) {
      begun.push(chunk);
      bytes += chunk.length;
      if (bytes > LONGEST) throw new Error(`a line is longer than ${LONGEST} bytes`);
      continue;
    }
    const lines = utf8.decode(Buffer.concat([...begun, chunk.subarray(0, end)])).split("\n");
    begun = [chunk.subarray(end + 1)];
    bytes = chunk.length - end - 1;
    yield lines;
  }
  if (bytes > 0) yield [utf8.decode(Buffer.concat(begun))];
}

/** Read the lines of a file, as {@link of} does. */
export const inFile = (path: string): AsyncGenerator<ReadonlyArray<string>> =>
  of(createReadStream(path, { highWaterMark: CHUNK }));

/** Split a text into its whole lines. What follows the last break was being written when its writer died. */
export const whole = (text: string): ReadonlyArray<string> => text.split("\n").slice(0, -1);
