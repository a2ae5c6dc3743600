/**
 * Exports over HTTP, as a handler that any server of web standards can carry.
 *
 * @module
 */
import * as ConfigProvider from "effect/ConfigProvider";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Options from "../options/Options.ts";
import * as Transport from "../api/transport/Transport.ts";
import * as Arrival from "./Arrival.ts";
import * as Settings from "./Settings.ts";
import { make as makeServer } from "./Server.ts";

export type { RequestInfo } from "./Arrival.ts";

/** Which tenant, who may ask, and how much at once. */
export interface ServerSettings {
  /** The host, with or without `https://`: `acme.eu.monocloud.com`. */
  readonly domain: string;
  /** Never printed, logged or put into an answer. */
  readonly apiKey: string;
  /** Requests a second to the tenant, of all callers together, or `"auto"` to find out what it allows. @default {20} */
  readonly rate?: number | "auto" | undefined;
  /** What callers have to send, 16 characters or more. Left out, only callers on the same machine are served. */
  readonly token?: string | undefined;
  /** The folder in which exports are kept. Left out, there are downloads alone. */
  readonly folder?: string | undefined;
  /** How many exports run at once. @default {2} */
  readonly exports?: number | undefined;
  /** How many more may wait. @default {100} */
  readonly queue?: number | undefined;
  /** How many downloads there may be at once. @default {256} */
  readonly downloads?: number | undefined;
  /** How many exports may be watched at once. @default {256} */
  readonly streams?: number | undefined;
  /** How long an answer may wait for its reader. @default {120} */
  readonly idleSeconds?: number | undefined;
  /** How long a request may take to arrive. @default {60} */
  readonly requestSeconds?: number | undefined;
  /** How long downloads may go on once the server is told to stop. @default {20} */
  readonly graceSeconds?: number | undefined;
  /** Keys the hashes of redaction. */
  readonly redactSecret?: string | undefined;
  /** Where traces go: the root of an OTLP endpoint over HTTP. */
  readonly telemetry?: string | undefined;
  /** Makes the requests to the tenant. @default {undici on Node, else globalThis.fetch} */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/** The variable of the environment that says the same as a setting. */
const variables: { readonly [Name in keyof Omit<ServerSettings, "fetch">]-?: typeof Settings.names[number] } =
  {
    domain: "MONOCLOUD_DOMAIN",
    apiKey: "MONOCLOUD_API_KEY",
    rate: "MONOCLOUD_RATE",
    token: "WORKER_TOKEN",
    folder: "WORKER_FOLDER",
    exports: "WORKER_EXPORTS",
    queue: "WORKER_QUEUE",
    downloads: "WORKER_DOWNLOADS",
    streams: "WORKER_STREAMS",
    idleSeconds: "WORKER_IDLE_SECONDS",
    requestSeconds: "WORKER_REQUEST_SECONDS",
    graceSeconds: "WORKER_GRACE_SECONDS",
    redactSecret: "MONOCLOUD_REDACT_SECRET",
    telemetry: "OTEL_EXPORTER_OTLP_ENDPOINT",
  };

const settingsKind = Options.object<ServerSettings>({
  domain: Options.text,
  apiKey: Options.text,
  rate: Options.textOr(Options.oneOf(["auto"]), Options.number),
  token: Options.text,
  folder: Options.text,
  exports: Options.number,
  queue: Options.number,
  downloads: Options.number,
  streams: Options.number,
  idleSeconds: Options.number,
  requestSeconds: Options.number,
  graceSeconds: Options.number,
  redactSecret: Options.text,
  telemetry: Options.text,
  fetch: Options.callback,
}, { required: ["domain", "apiKey"] });

/** Decodes settings as the environment is decoded. */
const decode = (given: Omit<ServerSettings, "fetch">): Settings.Settings => {
  const named = Object.entries(variables) as ReadonlyArray<readonly [keyof typeof variables, string]>;
  const environment = new Map(
    named.flatMap(([name, variable]) => given[name] === undefined ? [] : [[variable, String(given[name])]]),
  );
  const loading = Effect.withConfigProvider(Settings.load, ConfigProvider.fromMap(environment));
  return Either.getOrThrowWith(Effect.runSync(Effect.either(loading)), ({ message }) => {
    const said = named.reduce((text, [name, variable]) => text.replaceAll(variable, `'${name}'`), message);
    return new TypeError(`Cannot make a server: ${said.replace("The environment is", "The settings are")}`);
  });
};

/** A server that is at work. */
export interface Server {
  /** Answers a request, given what is known of it. */
  readonly fetch: (request: Request, info?: Arrival.RequestInfo) => Promise<Response>;
  /** Takes on nothing more, lets downloads end for `graceSeconds`, and cuts exports, which the next server resumes. */
  readonly stop: () => Promise<void>;
}

/**
 * Make a server. Exports that an earlier one left unfinished in its folder are taken up at once. Rejects with a TypeError on
 * a setting that there is not, of the wrong kind or out of range.
 *
 * Memory: for each download a page and what its encoder holds, and about 1 kB for each export in the folder.
 *
 * @example
 * ```ts
 * import { make as makeServer } from "monocloud-sessions/server";
 * import { make } from "monocloud-sessions/sandbox";
 *
 * const sandbox = make({ users: 2 });
 * const [userId = ""] = sandbox.userIds();
 * const server = await makeServer({
 *   domain: "sandbox.example",
 *   apiKey: sandbox.key,
 *   token: "a-token-that-is-long-enough",
 *   fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 * });
 * const response = await server.fetch(
 *   new Request(`http://localhost/v1/users/${encodeURIComponent(userId)}/sessions.csv`, {
 *     headers: { authorization: "Bearer a-token-that-is-long-enough" },
 *   }),
 * );
 * console.assert((await response.text()).startsWith("user_id,session_id"));
 * await server.stop();
 * ```
 */
export const make = async (given: ServerSettings): Promise<Server> => {
  const { fetch, ...settings } = Options.take("make a server", settingsKind, given);
  const transport = fetch && Transport.fetch(fetch);
  const { fetch: answer, stop } = await Effect.runPromise(makeServer(decode(settings), transport));
  return { fetch: (request, info) => answer(request, Arrival.ofInfo(info)), stop };
};
