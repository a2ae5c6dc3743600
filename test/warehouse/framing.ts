/**
 * Where the messages of PostgreSQL's protocol 3 begin and end: a letter, a length of four bytes, which counts itself, and a body.
 * The first of the client have no letter. https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

export type Side = "client" | "server";

/** A message: its letter, or a name if it has none, and its length in bytes with all of these. */
export interface Frame {
  readonly type: string;
  readonly length: number;
}

/** Requests that come in place of a startup message, by their code. */
const requests: ReadonlyMap<number, string> = new Map([
  [80877102, "CancelRequest"],
  [80877103, "SSLRequest"],
  [80877104, "GSSENCRequest"],
]);

/** Read the frames of one connection, of both sides, for the answer to a request to encrypt changes both. */
export const makeFraming = () => {
  let isEncrypted = false;
  let isAnswerNext = false;
  let isStarted = false;

  const fromClient = (bytes: Buffer): Frame | undefined => {
    if (isStarted || bytes.length < 8) return typed(bytes);
    const length = bytes.readInt32BE(0);
    if (bytes.length < length) return undefined;
    const type = requests.get(bytes.readInt32BE(4)) ?? "StartupMessage";
    isAnswerNext = type === "SSLRequest" || type === "GSSENCRequest";
    isStarted = type === "StartupMessage";
    return { type, length };
  };

  const typed = (bytes: Buffer): Frame | undefined => {
    if (!isStarted || bytes.length < 5) return undefined;
    const length = 1 + bytes.readInt32BE(1);
    return bytes.length < length ? undefined : { type: String.fromCharCode(bytes[0]!), length };
  };

  /** Gives the first message of these bytes, once it is whole. */
  return (from: Side, bytes: Buffer): Frame | undefined => {
    if (bytes.length === 0) return undefined;
    if (isEncrypted) return { type: "encrypted", length: bytes.length };
    if (from === "client") return fromClient(bytes);
    if (!isAnswerNext) return typed(bytes);
    isAnswerNext = false;
    isEncrypted = String.fromCharCode(bytes[0]!) !== "N";
    return { type: "answer", length: 1 };
  };
};
