/**
 * Newline-delimited JSON: one session a line, as served, with the user's id put first. The format that loses
 * nothing.
 *
 * @module
 */
import { LF } from "../../scan/JsonBytes.ts";
import * as JsonRows from "../../scan/JsonRows.ts";
import { members } from "../../scan/JsonText.ts";
import type { Room } from "../../sink/Room.ts";
import type { Session } from "../../session/Session.ts";
import * as Encoder from "../Encoder.ts";

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

/** The line for one session, from its text. */
const line = (head: string, session: Session, userId: string, text: string): string => {
  if (!Object.hasOwn(session, "user_id")) return head + text.slice(1);
  return (session as { readonly user_id?: unknown }).user_id === userId ? text : displace(head, text);
};

const lines = (head: string, { userId, sessions, source }: Encoder.Encodable): Uint8Array<ArrayBuffer> => {
  let text = "";
  for (let i = 0; i < sessions.length; i++) {
    const session = sessions[i]!;
    const its = source === undefined ? JSON.stringify(session) : JsonRows.line(source, i);
    text += `${line(head, session, userId, its)}\n`;
  }
  return utf8.encode(text);
};

/** The same lines, where nothing of a row changes but what is put before it: not a byte of it is looked at. */
const copied = (
  head: Uint8Array,
  { bytes, from, to }: JsonRows.JsonRows,
  room: Room,
): Uint8Array<ArrayBuffer> => {
  let length = 0;
  for (let i = 0; i < from.length; i++) length += head.length + to[i]! - from[i]!;
  const all = room(length);
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

const namesNoUser = (sessions: ReadonlyArray<Session>): boolean => {
  for (let i = 0; i < sessions.length; i++) if (Object.hasOwn(sessions[i]!, "user_id")) return false;
  return true;
};

/**
 * An encoder to NDJSON. Holds nothing between batches.
 *
 * A line is the session's text in `batch.source`, byte for byte but for line breaks between its tokens, with
 * `"user_id"` as its first member; without `source` it is `JSON.stringify` of the session. So unknown fields,
 * escapes and numbers beyond 2^53 are passed on as served. If the row already says `"user_id"`, and says the
 * same, nothing is added; if it says another, that one is moved to `"_rescued_data"`.
 *
 * @example
 * ```ts
 * import { Batch, Ndjson } from "monocloud-sessions";
 *
 * const session = { session_id: "S1", client_ids: [], initiated_at: 1, expires_at: 2, last_updated: 1 };
 * const bytes = Ndjson.make().encode(Batch.make("alice", [session]));
 * console.assert(new TextDecoder().decode(bytes).startsWith('{"user_id":"alice","session_id":"S1",'));
 * ```
 */
export const make = (): Encoder.Encoder =>
  Encoder.make("ndjson", {
    encode: (batch, room) => {
      const { userId, source } = batch;
      const head = `{"user_id":${JSON.stringify(userId)},`;
      return source?.areLines && (source.fields !== undefined || namesNoUser(batch.sessions))
        ? copied(utf8.encode(head), source, room)
        : lines(head, batch);
    },
    finish: () => new Uint8Array(0),
  });

/** The format, for a driver that makes many files. */
export const format = (): Encoder.Format => ({
  name: "ndjson",
  extension: "ndjson",
  contentType: "application/x-ndjson",
  make,
});
