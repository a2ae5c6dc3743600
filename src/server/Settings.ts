/**
 * Settings of the server from its environment, decoded once.
 *
 * @module
 */
import * as Config from "effect/Config";
import * as ConfigError from "effect/ConfigError";
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as Option from "effect/Option";
import * as Redacted from "effect/Redacted";
import * as RedactionPolicy from "../session/RedactionPolicy.ts";
import * as Tenant from "../api/Tenant.ts";
import * as QueueServer from "../queue/QueueServer.ts";
import { type Limits, mapLimits } from "./Limits.ts";
import { variables } from "./Variables.ts";
import * as Log from "./telemetry/Log.ts";

/** The environment is not as it must be. */
export class ConfigurationError extends Data.TaggedError("ConfigurationError")<{
  readonly message: string;
}> {}

/** A server's settings. */
export interface Settings extends Limits {
  readonly tenant: Tenant.Tenant;
  /** Requests a second to the tenant, of all downloads and exports together, or `"auto"` to find out what it allows. */
  readonly rate: number | "auto";
  /** Token that callers have to send; undefined where only callers on the same machine are served. */
  readonly token: Redacted.Redacted | undefined;
  /** Folder of exports; undefined where there are downloads alone. */
  readonly folder: string | undefined;
  /** Keys the hashes of redaction. */
  readonly redactSecret: Redacted.Redacted | undefined;
  /** Queue of runs on many machines, which is shown; undefined where there is none. */
  readonly queueUrl: Redacted.Redacted | undefined;
  /** Destination of traces: the root of an OTLP endpoint over HTTP. */
  readonly telemetry: string | undefined;
  /** Destination of the lines about requests and exports. */
  readonly log: Log.Destination;
}

const given = <A>(config: Config.Config<A>) => Config.map(Config.option(config), Option.getOrUndefined);

/** A token that can be guessed is none. */
const TOKEN = 16;

const all = Config.all({
  domain: Config.nonEmptyString(variables.domain),
  apiKey: Config.redacted(Config.nonEmptyString(variables.apiKey)),
  rate: Config.string(variables.rate).pipe(
    Config.validate({
      message: "must be a number of requests a second, above 0 and at most 1000000, or auto",
      validation: (text) => text === "auto" || Number(text) > 0 && Number(text) <= 1e6,
    }),
    Config.map((text) => text === "auto" ? text : Number(text)),
    Config.withDefault(20),
  ),
  redactSecret: given(Config.redacted(Config.nonEmptyString(variables.redactSecret))),
  token: given(
    Config.string(variables.token).pipe(
      Config.validate({
        message:
          `must have ${TOKEN} characters or more, none of them a space: openssl rand -hex 32 makes one`,
        validation: (token) => new RegExp(`^[!-~]{${TOKEN},}$`).test(token),
      }),
      Config.map(Redacted.make),
    ),
  ),
  folder: given(Config.nonEmptyString(variables.folder)),
  queueUrl: given(
    Config.string(variables.queueUrl).pipe(
      Config.mapOrFail((url) =>
        Either.try({
          // What it says quotes nothing: there may be a password.
          try: () => Redacted.make(QueueServer.parse(url).url),
          catch: (error) => ConfigError.InvalidData([], `can't be used: ${(error as Error).message}`),
        })
      ),
    ),
  ),
  ...mapLimits(({ variable, least, most, byDefault }) =>
    Config.integer(variable).pipe(
      Config.validate({
        message: `must be a whole number from ${least} to ${most}`,
        validation: (value) => value >= least && value <= most,
      }),
      Config.withDefault(byDefault),
    )
  ),
  log: Config.string(variables.log).pipe(
    Config.mapOrFail((text) =>
      Either.fromNullable(
        Log.forms.find((form) => form === text),
        () => ConfigError.InvalidData([], `must be one of ${Log.forms.join(", ")}`),
      )
    ),
    Config.withDefault("text" as const),
  ),
  telemetry: given(Config.url(variables.telemetry)),
});

const problems = ConfigError.reduceWithContext<undefined, ReadonlyArray<string>>(undefined, {
  andCase: (_, one, other) => [...one, ...other],
  orCase: (_, one, other) => [...one, ...other],
  missingDataCase: (_, path) => [`${path.join("_")} is not set`],
  invalidDataCase: (_, path, message) => [`${path.join("_")} ${message}`],
  sourceUnavailableCase: (_, path, message) => [`${path.join("_")} can't be read: ${message}`],
  unsupportedCase: (_, path, message) => [`${path.join("_")} can't be read: ${message}`],
});

/** Reads the environment; says of everything that is wrong with it what to do. */
export const load: Effect.Effect<Settings, ConfigurationError> = Effect.gen(function* () {
  const { domain, apiKey, telemetry, ...rest } = yield* Effect.mapError(
    all,
    (error) =>
      new ConfigurationError({
        message: `The environment is incomplete or wrong: ${problems(error).join("; ")}`,
      }),
  );
  const tenant = yield* Effect.mapError(
    Tenant.make({ domain, apiKey }),
    ({ message }) => new ConfigurationError({ message }),
  );
  if (rest.redactSecret !== undefined) {
    // A secret that is too short is told of now, not by the first export that hashes.
    yield* Effect.try({
      try: () => RedactionPolicy.keyOf(rest.redactSecret),
      catch: (error) =>
        new ConfigurationError({
          message: `MONOCLOUD_REDACT_SECRET can't be used: ${(error as Error).message}`,
        }),
    });
  }
  return { ...rest, tenant, telemetry: telemetry?.href };
});
