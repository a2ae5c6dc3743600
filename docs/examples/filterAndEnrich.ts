/**
 * Filter and enrich: export the sessions of one client, with a field of your own added, to two files.
 *
 * Run: `deno run -A docs/examples/filterAndEnrich.ts FOLDER`. With Node 22.18 or later: `npm run build`, then
 * `node docs/examples/filterAndEnrich.ts FOLDER`. The sandbox stands in for a tenant; remove `fetch` for a real one.
 */
import { join } from "node:path";
import process from "node:process";
import { exportSessions } from "monocloud-sessions/promise";
import { make } from "monocloud-sessions/sandbox";

const sandbox = make({ users: 20, sessionsPerUser: 10 });
const [client = ""] = sandbox.clientIds;
const folder = process.argv[2] ?? ".";

const report = await exportSessions({
  domain: "sandbox.example",
  apiKey: sandbox.key,
  fetch: (input, init) => sandbox.fetch(new Request(input, init)),
  users: "all",
  out: [join(folder, "client.ndjson"), join(folder, "client.csv.gz")],
  // First the filter, then the map. Make a new object: the one given is not to be changed.
  filter: ({ client_ids }) => client_ids.includes(client),
  map: (session) => ({ ...session, minutes: (session.expires_at - session.initiated_at) / 60 }),
});

for (const { name, format, rows } of report.files) {
  if (rows > 0) console.log(`${name.slice(folder.length + 1)}: ${format}`);
}
console.log(`${report.sessions > 0 && report.sessions < 200 ? "some" : "not some"} of 200 sessions`);
console.log(`verified: ${report.verified}`);
