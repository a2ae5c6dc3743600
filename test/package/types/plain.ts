/** Names what each entry without Effect has, as its user would. Compiled by every TypeScript, and never run. */
import { make as makeDuckDb } from "monocloud-sessions/duckdb";
import { make as makePostgres, type Target } from "monocloud-sessions/postgres";
import {
  type Change,
  changes,
  type FormatChoice,
  isApiError,
  isTargetError,
  load,
  response,
  sessions,
  sync,
  type WarehouseReport,
} from "monocloud-sessions/promise";
import { make } from "monocloud-sessions/sandbox";
import { make as makeServer, type Server, type ServerSettings } from "monocloud-sessions/server";
import serving from "monocloud-sessions/server/serve";
import {
  type ExportFailure,
  exportSessions,
  type OffThreadOptions,
  type Report,
  serve,
  stream,
} from "monocloud-sessions/thread";
import * as worker from "monocloud-sessions/worker";

const sandbox = make({ users: 2 });
const settings: ServerSettings = { domain: "sandbox.example", apiKey: sandbox.key, rate: "auto" };
const server: Server = await makeServer(settings);
const again: Server = await worker.make(settings);
const answers: ReadonlyArray<Response> = [
  await server.fetch(new Request("http://localhost/"), { remoteAddr: { hostname: "127.0.0.1" } }),
  await again.fetch(new Request("http://localhost/")),
  await serving.fetch(new Request("http://localhost/")),
];

const options: OffThreadOptions = { domain: "a.example", apiKey: "key", users: ["a"], timeout: "3 seconds" };
const bytes: ReadableStream<Uint8Array> = stream("csv", { ...options, csv: { escapeFormulas: false } });
const report: Report = await exportSessions({ ...options, out: "a.csv", onProgress: ({ users }) => users });
const reason = (error: ExportFailure): string => `${error._tag} ${error.reason} ${error.message}`;
// @ts-expect-error: there is no such format
stream("xml", options);
// @ts-expect-error: a redaction under a wrong name
stream("csv", { ...options, redact: { policy: { address: "drop" } } });
const first = async (): Promise<string | undefined> => {
  for await (
    const { user_id, session_id } of sessions({ domain: "a.example", apiKey: "key", users: "all" })
  ) {
    return `${user_id} ${session_id}`;
  }
};
const format: FormatChoice = "csv.gz";
const answer: Response = await response(format, { domain: "a.example", apiKey: "key", users: ["a"] });
const cursorOf = ({ cursor }: Change): string | undefined => cursor;
const changed = changes({
  domain: "a.example",
  apiKey: "key",
  users: "all",
  cursors: new Map<string, string>(),
});
const told = (error: unknown): string => isApiError(error) ? error.reason : "";
const target: Target = makePostgres({ url: "postgres://loader@db/warehouse", schema: "sessions" });
const synced: Promise<WarehouseReport> = sync({ domain: "a.example", apiKey: "key", users: "all", target });
const loaded: Promise<WarehouseReport> = load({ folder: "a", target: makeDuckDb({ path: "a.duckdb" }) });
const denied = (error: unknown): boolean => isTargetError(error) && error.reason === "Denied";
export { denied, loaded, synced };
export { answer, changed, cursorOf, first, told };
export { answers, bytes, reason, report, serve };
