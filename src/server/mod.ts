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
import type { TenantOptions } from "../plain/SessionsOptions.ts";
import * as Arrival from "./Arrival.ts";
import { mapLimits, type SomeLimits } from "./Limits.ts";
import { make as makeServer } from "./Server.ts";
import * as Settings from "./Settings.ts";
import * as Variables from "./Variables.ts";
import type { Line as LogLine } from "./telemetry/Line.ts";

export type { RequestInfo } from "./Arrival.ts";
export type { Line as LogLine } from "./telemetry/Line.ts";

/** Options of a server: the tenant, who may ask, and how much at once. The rate counts the requests of all callers together. */
export interface ServerSettings extends Pick<TenantOptions, "domain" | "apiKey" | "rate">, SomeLimits {
  /** Token that callers have to send, 16 characters or more. Left out, only callers on the same machine are served. */
  readonly token?: string | undefined;
  /** The folder in which exports are kept. Left out, there are downloads alone. */
  readonly folder?: string | undefined;
  /** Keys the hashes of redaction. */
  readonly redactSecret?: string | undefined;
  /** Queue of runs on many machines, which is shown: `postgres://…` or `redis://…`, with a password if need be. */
  readonly queueUrl?: string | undefined;
  /** Destination of traces: the root of an OTLP endpoint over HTTP. */
  readonly telemetry?: string | undefined;
  /** Is given each line of the log. Left out, nothing is logged. What it throws is dropped. */
  readonly log?: ((line: LogLine) => void) | undefined;
  /** Makes the requests to the tenant. @default {undici on Node, else globalThis.fetch} */
  readonly fetch?: typeof globalThis.fetch | undefined;
}

const settingsKind = Options.object<ServerSettings>({
  domain: Options.text,
  apiKey: Options.text,
  rate: Options.textOr(Options.oneOf(["auto"]), Options.number),
  token: Options.text,
  folder: Options.text,
  ...mapLimits(() => Options.number),
  redactSecret: Options.text,
  queueUrl: Options.text,
  telemetry: Options.text,
  log: Options.callback,
  fetch: Options.callback,
}, { required: ["domain", "apiKey"] });

type Given = Omit<ServerSettings, "fetch" | "log">;

const variables: { readonly [Name in keyof Given]-?: string } = Variables.variables;

/** Decodes settings as the environment is decoded. */
const decode = (given: Given): Settings.Settings => {
  const named = Object.entries(variables) as ReadonlyArray<readonly [keyof Given, string]>;
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
  const { fetch, log = "off", ...settings } = Options.take("make a server", settingsKind, given);
  const transport = fetch && Transport.fetch(fetch);
  const { fetch: answer, stop } = await Effect.runPromise(
    makeServer({ ...decode(settings), log }, transport),
  );
  return { fetch: (request, info) => answer(request, Arrival.ofInfo(info)), stop };
};
