/**
 * Reads lines. Only a line feed ends one: JSON may hold the other characters that readers of text take for a break, such as
 * U+2028, at which `node:readline` of Deno ends a line.
 */
/** A line is no longer than this, in bytes, 64 MiB: what is longer is no line of ours, and would have to be held. */
export const LONGEST = 1 << 26;

const concat = (parts: ReadonlyArray<Uint8Array>): Uint8Array => {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
};

/**
 * Split bytes of UTF-8 into lines without their breaks, some at a time. Text after the last break is a line as well, unless
 * only whole ones are wanted: then it was being written when its writer died. A carriage return stays where it is; JSON takes
 * it for white space.
 *
 * Memory: a chunk, and the line it ends in. Throws on a line longer than 64 MiB.
 */
export async function* of(
  chunks: AsyncIterable<Uint8Array>,
  { areWhole = false }: { readonly areWhole?: boolean } = {},
): AsyncGenerator<ReadonlyArray<string>> {
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  let begun: Array<Uint8Array> = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    const end = chunk.lastIndexOf(0x0a);
    if (end === -1) {
      begun.push(chunk);
      bytes += chunk.length;
      if (bytes > LONGEST) throw new RangeError(`a line is longer than ${LONGEST} bytes`);
      continue;
    }
    const lines = utf8.decode(concat([...begun, chunk.subarray(0, end)])).split("\n");
    begun = [chunk.subarray(end + 1)];
    bytes = chunk.length - end - 1;
    yield lines;
  }
  if (bytes > 0 && !areWhole) yield [utf8.decode(concat(begun))];
}
