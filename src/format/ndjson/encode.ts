/**
 * Newline-delimited JSON: one session a line, as served, with the user's id put first. The format that loses
 * nothing.
 */
import { LF } from "../../scan/JsonTokens.ts";
import * as RowSlices from "../../scan/RowSlices.ts";
import { members } from "../../scan/JsonMembers.ts";
import type * as Batch from "../../session/Batch.ts";
import type { Allocate } from "../../sink/Allocate.ts";
import { allColumns, type Encoder, encoder, type Format } from "../Format.ts";

const utf8 = new TextEncoder();

/**
 * The line for a row whose own `user_id` is not the user it was listed under. Ours takes the name, theirs
 * goes where the tabular formats put it, and a `_rescued_data` of theirs goes along, so that no name is there
 * twice.
 */
const displace = (head: string, text: string): string => {
  const kept: Array<string> = [];
  const rescued: Array<string> = [];
  for (const [name, value] of members(text)) {
    (name === "user_id" || name === "_rescued_data" ? rescued : kept).push(
      `${JSON.stringify(name)}:${value}`,
    );
  }
  return `${head}${kept.join(",")},"_rescued_data":{${rescued.join(",")}}}`;
};

const line = (head: string, userId: string, { slices }: Batch.Bytes, row: number): string => {
  const text = RowSlices.line(slices, row);
  if (!slices.reserved.has(row)) return head + text.slice(1);
  return JSON.parse(text).user_id === userId ? text : displace(head, text);
};

/** Write lines of which nothing changes but what is put before each: not a byte of it is looked at. */
const copied = (
  head: Uint8Array,
  { bytes, from, to }: RowSlices.Slices,
  allocate: Allocate,
): Uint8Array<ArrayBuffer> => {
  let length = 0;
  for (let i = 0; i < from.length; i++) length += head.length + to[i]! - from[i]!;
  const all = allocate(length);
  let at = 0;
  for (let i = 0; i < from.length; i++) {
    all.set(head, at);
    at += head.length;
    // Less the brace that the head has instead.
    const row = bytes.subarray(from[i]! + 1, to[i]);
    all.set(row, at);
    at += row.length;
    all[at++] = LF;
  }
  return all;
};

/**
 * An encoder to NDJSON. Holds nothing between batches.
 *
 * A line is the session's text as served, byte for byte but for line breaks between its tokens, with `"user_id"` as its
 * first member; of a session made by code it is its `JSON.stringify`. So unknown fields,
 * escapes and numbers beyond 2^53 are passed on as served. If the row already says `"user_id"`, and says the
 * same, nothing is added; if it says another, that one is moved to `"_rescued_data"`.
 *
 * @example
 * ```ts
 * import { Batch, Formats } from "monocloud-sessions";
 *
 * const session = { session_id: "S1", client_ids: [], initiated_at: 1, expires_at: 2, last_updated: 1 };
 * const bytes = Formats.make("ndjson").make().encode(Batch.make("alice", [session]));
 * console.assert(new TextDecoder().decode(bytes).startsWith('{"user_id":"alice","session_id":"S1",'));
 * ```
 */
export const make = (): Encoder =>
  encoder("ndjson", {
    encode: ({ userId, rows }, allocate) => {
      const { slices } = rows;
      const head = `{"user_id":${JSON.stringify(userId)},`;
      if (slices.areLines && slices.reserved.size === 0) return copied(utf8.encode(head), slices, allocate);
      return utf8.encode(slices.from.map((_, row) => `${line(head, userId, rows, row)}\n`).join(""));
    },
    finish: () => new Uint8Array(0),
  });

/** The format. A line has what the tenant served in its place, and no column for what the others can't hold. */
export const format = (): Format => ({
  name: "ndjson",
  extension: "ndjson",
  contentType: "application/x-ndjson",
  gzip: true,
  columns: allColumns.filter((name) => name !== "_rescued_data"),
  make,
  decode: async function* (file, { columns }) {
    yield* (await import("./decode.ts")).decode(file, columns);
  },
});
