/**
 * An hourly run into a table of your own, with the cursors beside the rows: both change in one transaction, so a kill
 * at any moment loses nothing and repeats nothing.
 *
 * Run: `deno run -A docs/examples/hourly.ts`. With Node 22.18 or later: `npm run build`, then
 * `node docs/examples/hourly.ts`.
 */
import { changes } from "monocloud-sessions/promise";
import { make } from "monocloud-sessions/sandbox";

/** Stands for a database: `transaction` changes all of it or nothing. */
let database = { sessions: new Map<string, number>(), cursors: new Map<string, string>() };
const transaction = (work: (draft: typeof database) => void) => {
  const draft = { sessions: new Map(database.sessions), cursors: new Map(database.cursors) };
  work(draft);
  database = draft;
};

const sandbox = make({ users: 10, sessionsPerUser: 12 });
const [first = "", second = ""] = sandbox.userIds();

const hourly = async () => {
  let count = 0;
  const source = changes({
    domain: "sandbox.example",
    apiKey: sandbox.key,
    fetch: (input, init) => sandbox.fetch(new Request(input, init)),
    users: "all",
    // Without `set`, the caller keeps the cursor of each change by itself.
    cursors: { get: (userId) => database.cursors.get(userId) },
  });
  for await (const { userId, sessions, cursor } of source) {
    transaction(({ sessions: table, cursors }) => {
      for (const { session_id, last_updated } of sessions) table.set(`${userId} ${session_id}`, last_updated);
      if (cursor !== undefined) cursors.set(userId, cursor);
    });
    count += sessions.length;
  }
  return `${count} changes, ${database.sessions.size} sessions`;
};

console.log(await hourly());
console.log(await hourly());
sandbox.add(first);
for (const { session_id } of [...sandbox.sessions(second)].slice(0, 2)) sandbox.update(second, session_id);
console.log(await hourly());
