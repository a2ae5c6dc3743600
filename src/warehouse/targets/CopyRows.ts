/**
 * Rows as PostgreSQL's binary COPY takes them. It is here for speed: as text, each value would be written, escaped and parsed
 * once more.
 *
 * Source: PostgreSQL's documentation of COPY, "Binary Format", and of each type's `send` function.
 */
import type { Column, Kind, Rows, Value } from "../Target.ts";

const SIGNATURE = Uint8Array.of(0x50, 0x47, 0x43, 0x4f, 0x50, 0x59, 0x0a, 0xff, 0x0d, 0x0a, 0x00);
/** The seconds from 1970 to 2000, where times of PostgreSQL begin. */
const EPOCH = 946_684_800;
/** The number of the type `text`. */
const TEXT = 25;

const PIECE = 1 << 20;
/** A piece is given away once it has less room than that. */
const ROOM = 1 << 14;

const utf8 = new TextEncoder();

/** Encode rows. Gives the bytes in pieces of a megabyte or so; each may be kept. */
export function* encode(columns: ReadonlyArray<Column>, { count, at }: Rows): Generator<Uint8Array> {
  let bytes = new Uint8Array(Math.min(PIECE, ROOM + count * ROOM));
  let view = new DataView(bytes.buffer);
  let end = 0;
  const kinds = columns.map(({ kind }) => kind);

  const ensure = (more: number) => {
    if (end + more <= bytes.length) return;
    const larger = new Uint8Array(Math.max(2 * bytes.length, end + more));
    larger.set(bytes.subarray(0, end));
    bytes = larger;
    view = new DataView(bytes.buffer);
  };
  const int16 = (value: number) => {
    ensure(2);
    view.setInt16(end, value);
    end += 2;
  };
  const int32 = (value: number) => {
    ensure(4);
    view.setInt32(end, value);
    end += 4;
  };
  const int64 = (value: bigint) => {
    ensure(12);
    view.setInt32(end, 8);
    view.setBigInt64(end + 4, value);
    end += 12;
  };
  const text = (value: string) => {
    ensure(4 + 3 * value.length);
    const { written } = utf8.encodeInto(value, bytes.subarray(end + 4));
    view.setInt32(end, written);
    end += 4 + written;
  };
  const list = (texts: ReadonlyArray<string>) => {
    ensure(4);
    const start = end;
    end += 4;
    int32(texts.length === 0 ? 0 : 1);
    int32(0);
    int32(TEXT);
    if (texts.length > 0) {
      int32(texts.length);
      int32(1);
      for (const value of texts) text(value);
    }
    view.setInt32(start, end - start - 4);
  };
  const put = (kind: Kind, value: Value): void => {
    if (value === null) return int32(-1);
    switch (kind) {
      case "timestamp":
        return int64(BigInt(Math.round(((value as number) - EPOCH) * 1e6)));
      case "integer":
        return int64(BigInt(value as number));
      case "number":
        ensure(12);
        view.setInt32(end, 8);
        view.setFloat64(end + 4, value as number);
        end += 12;
        return;
      case "boolean":
        int32(1);
        ensure(1);
        bytes[end++] = value === true ? 1 : 0;
        return;
      case "text_list":
        return list(value as ReadonlyArray<string>);
      default:
        return text(value as string);
    }
  };

  bytes.set(SIGNATURE);
  end = SIGNATURE.length;
  int32(0);
  int32(0);
  for (let row = 0; row < count; row++) {
    int16(kinds.length);
    for (let column = 0; column < kinds.length; column++) put(kinds[column]!, at(row, column));
    if (end < PIECE - ROOM) continue;
    yield bytes.subarray(0, end);
    bytes = new Uint8Array(PIECE);
    view = new DataView(bytes.buffer);
    end = 0;
  }
  int16(-1);
  yield bytes.subarray(0, end);
}
