/** Corrections of a footer as the writer makes it, for readers that go by what it says. */

/** Bytes behind a footer: its length, and `PAR1`. */
const TAIL = 8;

/** The first field of a footer: a number of 32 bits, which is 2. Thrift writes it twice as large. */
const VERSION_2 = [0x15, 2 * 2];

/** Two fields of a footer without sessions: no rows (3), and no row groups (4), a list whose items have no type. */
const NO_GROUPS = [0x16, 0, 0x19, 0];

/** The type of a struct in Thrift's compact protocol. */
const STRUCT = 12;

const isAt = (bytes: Uint8Array, at: number, sought: ReadonlyArray<number>): boolean =>
  sought.every((byte, i) => bytes[at + i] === byte);

/** The facts of a file that its footer says. */
export interface About {
  readonly version: 1 | 2;
  /** True if it has no row group. */
  readonly isEmpty: boolean;
}

/**
 * Correct the footer in the last bytes of a file. The writer says 2 of any file, which parquetjs-lite refuses. It gives an
 * empty list of row groups no type, which arrow-rs refuses.
 */
export const correct = (
  end: Uint8Array<ArrayBuffer>,
  { version, isEmpty }: About,
): Uint8Array<ArrayBuffer> => {
  const tail = end.length - TAIL;
  const footer = end.subarray(tail - new DataView(end.buffer, end.byteOffset).getUint32(tail, true), tail);
  if (isAt(footer, 0, VERSION_2)) footer[1] = 2 * version;
  const noGroups = isEmpty ? footer.findIndex((_, at) => isAt(footer, at, NO_GROUPS)) : -1;
  if (noGroups >= 0) footer[noGroups + NO_GROUPS.length - 1] = STRUCT;
  return end;
};
