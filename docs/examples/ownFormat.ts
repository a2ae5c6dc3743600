/**
 * A format of your own: tab-separated lines, in a dataset that is extended and verified like any other.
 *
 * Run: `deno run -A docs/examples/ownFormat.ts FOLDER`. With Node 22.18 or later: `npm run build`, then
 * `node docs/examples/ownFormat.ts FOLDER`.
 */
import { join } from "node:path";
import process from "node:process";
import { Batch, Dataset, Format, Formats, TenantClient, Transport } from "monocloud-sessions";
import { make } from "monocloud-sessions/sandbox";
import * as Effect from "effect/Effect";
import * as Layer from "effect/Layer";
import * as Stream from "effect/Stream";

const utf8 = new TextEncoder();

Formats.register({
  name: "tabs",
  extension: "tab",
  contentType: "text/plain",
  gzip: true,
  columns: Format.allColumns,
  make: () =>
    Format.encoder("tabs", {
      encode: (batch) => {
        const line = (row: unknown) => `${encodeURIComponent(batch.userId)}\t${JSON.stringify(row)}\n`;
        return utf8.encode(Batch.sessions(batch).map(line).join(""));
      },
      finish: () => new Uint8Array(0),
    }),
  decode: async function* (file) {
    for await (const lines of Format.lines(file.chunks())) {
      yield lines.map((line) => {
        const [user = "", json = ""] = line.split("\t");
        return Format.decodedRow(decodeURIComponent(user), JSON.parse(json));
      });
    }
  },
});

const sandbox = make({ users: 3, sessionsPerUser: 20 });
const [first = ""] = sandbox.userIds();
const tenant = TenantClient.layer({ domain: "sandbox.example", apiKey: sandbox.key }).pipe(
  Layer.provide(Transport.fetch((input, init) => sandbox.fetch(new Request(input, init)))),
);
const root = join(process.argv[2] ?? ".", "tabs-export");
const run = Dataset.run({
  root,
  formats: [Formats.choose("tabs.gz")!],
  tenant: "https://sandbox.example",
  users: { ids: Stream.fromIterable([...sandbox.userIds()]) },
  changes: "since-last",
  mode: "resume",
}).pipe(Effect.provide(tenant));

console.log(`${(await Effect.runPromise(run)).sessions} sessions`);
sandbox.add(first);
console.log(`${(await Effect.runPromise(run)).sessions} more`);
console.log(`${(await Effect.runPromise(Dataset.verify(root))).problems.length} problems`);
