/** Sessions as text, and the ways in which a row can surprise its reader. */
import { fraction, hashText } from "./Hash.ts";
import type { SandboxSession } from "./Population.ts";

/** Departures of rows from the documented shape. */
export interface RowOptions {
  readonly seed: number;
  /** Adds fields to every row that no version knows. */
  readonly unknownFields: boolean;
  readonly malformed: number;
}

const breaks: readonly ((session: SandboxSession) => unknown)[] = [
  ({ session_id: _, ...rest }) => rest,
  (session) => ({ ...session, session_id: "" }),
  (session) => ({ ...session, initiated_at: String(session.initiated_at) }),
  (session) => ({ ...session, initiated_at: session.initiated_at * 1000 }),
  (session) => ({ ...session, expires_at: session.expires_at + 0.5 }),
  (session) => ({ ...session, last_updated: null }),
  (session) => ({ ...session, client_ids: null }),
  (session) => ({ ...session, client_ids: [1, null] }),
  (session) => ({ ...session, last_metadata: "unknown" }),
  (session) => ({ ...session, last_metadata: { ...session.last_metadata, latitude: 34.043238 } }),
  ({ session_id }) => session_id,
  () => null,
  () => 42,
  () => [],
];

const withUnknown = (text: string, word: number): string => {
  // Written as digits: no JavaScript number holds them, so a reader that goes through one changes them.
  const digits = `8${String(word >>> 0).padStart(10, "0")}00000001`;
  const metadata = '"last_metadata":{';
  // In JSON a quote inside a string is escaped, so this finds the field and nothing else.
  const inside = text.indexOf(metadata) + metadata.length;
  const known = inside < metadata.length || text[inside] === "}"
    ? text
    : `${text.slice(0, inside)}"asn":${word >>> 16},"as_name":"Exämple, Inc.",${text.slice(inside)}`;
  return `{"sequence":${digits},"device":{"trusted":true,"labels":["a \\"b\\"",null]},${known.slice(1)}`;
};

/** Writes the JSON text of some sessions, as an array. Which rows are broken, and how, follows from the session's id alone. */
export const arrayText = (sessions: readonly SandboxSession[], options: RowOptions): string =>
  options.unknownFields || options.malformed > 0
    ? `[${sessions.map((session) => rowText(session, options)).join(",")}]`
    : JSON.stringify(sessions);

const rowText = (session: SandboxSession, { seed, unknownFields, malformed }: RowOptions): string => {
  const word = hashText(seed, session.session_id);
  if (fraction(word) < malformed) {
    return JSON.stringify(breaks[(hashText(word, "break") >>> 0) % breaks.length]?.(session));
  }
  const text = JSON.stringify(session);
  return unknownFields ? withUnknown(text, word) : text;
};
