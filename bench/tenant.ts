/**
 * A tenant that is never what is waited for: rows are made once, laid end to end, and an answer is a cut out of them, written
 * to a socket without more of HTTP than its clients use. Runs as a process of its own and is told by messages how to behave.
 *
 * The user `good-1000-7` has 1,000 sessions, from row 7,000 of the good rows on, and after the last rows come the first ones:
 * the number of sessions must divide that of the rows, or a list would be out of order. Of the `bad` rows one in fifty is no session; the `odd` ones have fields that nobody knows.
 */
import { createServer, type Socket } from "node:net";
import * as RowSlices from "../src/scan/RowSlices.ts";
import { make } from "monocloud-sessions/sandbox";

/** Rows of each kind, newest first. */
export const ROWS = 200_000;

/** How it answers from now on. */
export interface Behaviour {
  /** How long each answer takes. */
  readonly latencyMs: number;
  /** More requests a second than this are answered with 429, once as many as a second has are used up. 0 for no limit. */
  readonly perSecond: number;
  /** Seconds that a 429 says to wait. 0 if it does not say. */
  readonly retryAfter: number;
}

/** What it has done since it was told how to behave, and what that took. */
export interface Account {
  readonly requests: number;
  readonly refused: number;
  /** Milliseconds since it was told, of each answer that was not a refusal. Kept only under a limit. */
  readonly accepted: ReadonlyArray<number>;
  readonly cpuSeconds: number;
}

interface Rows {
  readonly bytes: Buffer;
  /** Where each row begins; a comma lies before it. */
  readonly starts: Float64Array;
}

const kinds = {
  good: {},
  bad: { malformed: 0.02 },
  odd: { unknownFields: true },
} as const;

/** Rows as the sandbox serves them. */
const rowsOf = (kind: keyof typeof kinds): Rows => {
  const sandbox = make({ users: 1, sessionsPerUser: ROWS, ...kinds[kind] });
  const [user] = sandbox.userIds();
  const texts: Array<string> = [];
  const size = 1000;
  for (let page = 1; page <= ROWS / size; page++) {
    const target = `/api/users/${user}/sessions?page=${page}&size=${size}&sort=initiated_at:-1`;
    const { body } = sandbox.answer({ method: "GET", target, key: sandbox.key }) as { readonly body: string };
    const rows = RowSlices.cut(Buffer.from(body));
    rows.from.forEach((_, row) => texts.push(RowSlices.text(rows, row)));
  }
  const starts = new Float64Array(ROWS + 1);
  texts.forEach((text, row) => starts[row + 1] = starts[row]! + Buffer.byteLength(text) + 1);
  return { bytes: Buffer.from(`${texts.join(",")},`), starts };
};

const made = new Map<string, Rows>();
const rows = (kind: string): Rows | undefined => {
  if (!(kind in kinds)) return undefined;
  const found = made.get(kind) ?? rowsOf(kind as keyof typeof kinds);
  made.set(kind, found);
  return found;
};

let behaviour: Behaviour = { latencyMs: 0, perSecond: 0, retryAfter: 0 };
let [began, beganCpu] = [performance.now(), process.cpuUsage()];
let [requests, refused, tokens, filled] = [0, 0, 0, 0];
let accepted: Array<number> = [];

const isRefused = (): boolean => {
  const { perSecond } = behaviour;
  if (perSecond === 0) return false;
  const now = performance.now();
  tokens = Math.min(perSecond, tokens + (now - filled) / 1000 * perSecond);
  filled = now;
  if (tokens < 1) return true;
  tokens--;
  accepted.push(now - began);
  return false;
};

const plain = (status: string, more = "") =>
  Buffer.from(
    `HTTP/1.1 ${status}\r\ncontent-type: application/problem+json\r\n${more}content-length: 2\r\n\r\n{}`,
  );

const open = Buffer.from("["), close = Buffer.from("]");

const answer = (target: string): ReadonlyArray<Buffer> => {
  requests++;
  if (isRefused()) {
    refused++;
    const { retryAfter } = behaviour;
    return [plain("429 Too Many Requests", retryAfter > 0 ? `retry-after: ${retryAfter}\r\n` : "")];
  }
  const [, kind = "", count = "", place = ""] =
    /^\/api\/users\/([a-z]+)-(\d+)-(\d+)\/sessions/.exec(target) ?? [];
  const total = Number(count);
  const found = rows(kind);
  if (found === undefined || ROWS % total !== 0) return [plain("404 Not Found")];
  const page = Number(/[?&]page=(\d+)/.exec(target)?.[1] ?? 1);
  const size = Number(/[?&]size=(\d+)/.exec(target)?.[1] ?? 10);
  const from = Math.min(total, (page - 1) * size);
  const length = Math.min(size, total - from);
  const first = (Number(place) * total + from) % ROWS;
  const body = length === 0
    ? []
    : [found.bytes.subarray(found.starts[first], found.starts[first + length]! - 1)];
  const pagination = JSON.stringify({
    page_size: size,
    current_page: page,
    total_count: total,
    has_previous: page > 1,
    has_next: from + length < total,
  });
  const bytes = body.reduce((sum, { length }) => sum + length, 2);
  return [
    Buffer.from(
      "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\n" +
        `x-pagination: ${pagination}\r\ncontent-length: ${bytes}\r\n\r\n`,
    ),
    open,
    ...body,
    close,
  ];
};

const reply = (socket: Socket, target: string) => {
  const send = () => {
    if (socket.destroyed) return;
    socket.cork();
    for (const part of answer(target)) socket.write(part);
    socket.uncork();
  };
  if (behaviour.latencyMs === 0) send();
  else setTimeout(send, behaviour.latencyMs);
};

const server = createServer({ noDelay: true }, (socket) => {
  let text = "";
  socket.setEncoding("latin1");
  socket.on("data", (data: string) => {
    text += data;
    for (let end = text.indexOf("\r\n\r\n"); end !== -1; end = text.indexOf("\r\n\r\n")) {
      reply(socket, text.slice(text.indexOf(" ") + 1, text.indexOf(" HTTP/")));
      text = text.slice(end + 4);
    }
  });
  socket.on("error", () => socket.destroy());
});

const account = (): Account => {
  const { user, system } = process.cpuUsage(beganCpu);
  return { requests, refused, accepted, cpuSeconds: (user + system) / 1e6 };
};

process.on("message", (message: Behaviour | "account") => {
  if (message === "account") return void process.send!(account());
  for (const kind of Object.keys(kinds)) rows(kind);
  behaviour = message;
  [requests, refused, tokens, accepted] = [0, 0, message.perSecond, []];
  [began, beganCpu] = [performance.now(), process.cpuUsage()];
  filled = began;
  process.send!("ready");
});
process.on("disconnect", () => process.exit());

server.listen(0, "127.0.0.1", () => process.send!(server.address()));
