/** The options that calls share, as they are read: names, kinds, and what is refused. */
import * as EffectDuration from "effect/Duration";
import * as TenantClient from "../api/TenantClient.ts";
import * as Export from "../export/Export.ts";
import * as Formats from "../format/Formats.ts";
import * as Options from "../options/Options.ts";
import * as RedactionPolicy from "../session/RedactionPolicy.ts";
import * as SessionSource from "../source/SessionSource.ts";
import type {
  ActivityOptions,
  Duration,
  EncodingOptions,
  FormatChoice,
  Redaction,
  SessionsOptions,
  TenantOptions,
} from "../plain/SessionsOptions.ts";

export const duration: Options.Kind<Duration> = Options.kind(
  'milliseconds from 0 on, or a text such as "30 seconds"',
  (value) =>
    (typeof value === "number" && value >= 0) ||
    (typeof value === "string" && /^\d+(\.\d+)? (milli|second|minute|hour|day)s?$/.test(value)),
);

const isObject = (value: unknown): value is Readonly<Record<PropertyKey, unknown>> =>
  typeof value === "object" && value !== null;

export const signal: Options.Kind<AbortSignal> = Options.kind(
  "an AbortSignal",
  (value) =>
    isObject(value) && typeof value["aborted"] === "boolean" &&
    typeof value["addEventListener"] === "function",
);

const users: Options.Kind<SessionsOptions["users"]> = Options.kind(
  'a list of user ids, or "all"',
  (value) =>
    value === "all" || (isObject(value) && (Symbol.iterator in value || Symbol.asyncIterator in value)),
);

const time: Options.Kind<Date> = Options.kind(
  "a Date that is valid",
  (value) => value instanceof Date && !Number.isNaN(value.getTime()),
);

const tenantNames: Options.Names<TenantOptions> = {
  ...TenantClient.optionNames,
  apiKey: Options.text,
  timeout: duration,
  maxElapsed: duration,
  baseDelay: duration,
  maxDelay: duration,
  fetch: Options.callback,
};

export const sessionsNames: Options.Names<SessionsOptions> = {
  ...tenantNames,
  ...SessionSource.optionNames,
  filter: Options.callback,
  map: Options.callback,
  redact: Options.object<Redaction>(
    { policy: RedactionPolicy.kind, secret: Options.text },
    { required: ["policy"] },
  ),
  users,
  since: time,
  signal,
};

export const encodingNames: Options.Names<EncodingOptions> = {
  ...Formats.optionNames,
  ...Export.quarantineNames,
};

const LONGEST_LOOKBACK = 31 * 86_400;

/** Takes a time to look back. */
export const lookback: Options.Kind<Duration> = (value, name) => {
  const seconds = secondsOf(duration(value, name));
  return Options.kind<Duration>("from 0 to 31 days", () => seconds <= LONGEST_LOOKBACK)(value, name);
};

export const required = ["domain", "apiKey", "users"] as const;

export const format: Options.Kind<FormatChoice> = Options.oneOf(
  Formats.builtInChoices,
);

/** Reads options to do something with them. Left out altogether, the first that is needed is told. */
export const take = <A>(doing: string, kind: Options.Kind<A>, given: unknown): A =>
  Options.take(doing, kind, given === undefined ? {} : given);

/** Gives whole seconds, no fewer. */
export const secondsOf = (given: Duration): number => Math.ceil(EffectDuration.toSeconds(given));

export const activityNames: Options.Names<ActivityOptions> = {
  byActivity: Options.boolean,
  sweepEvery: duration,
  lookback,
};

/** Says what is wrong with options by themselves, if anything. */
export const activityFlaw = ({ byActivity, sweepEvery }: ActivityOptions): string | undefined =>
  sweepEvery !== undefined && !byActivity ? "'sweepEvery' goes with 'byActivity'" : undefined;

/** Gives the same options as runs take them, in seconds. */
export const activityOf = ({ byActivity, sweepEvery, lookback }: ActivityOptions) => ({
  byActivity: byActivity ? { sweepEvery: sweepEvery && secondsOf(sweepEvery) } : undefined,
  lookback: lookback && secondsOf(lookback),
});
