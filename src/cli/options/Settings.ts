/**
 * What every command needs of the command line and the environment, decoded once: the tenant, the key and the pace.
 *
 * @module
 */
import * as SessionFilters from "../../api/SessionFilters.ts";
import { open } from "node:fs/promises";
import process from "node:process";
import * as HelpDoc from "@effect/cli/HelpDoc";
import * as Options from "@effect/cli/Options";
import * as ValidationError from "@effect/cli/ValidationError";
import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import * as Redacted from "effect/Redacted";
import type { Batch } from "../../session/Batch.ts";
import type { MaxQuarantined } from "../../export/Export.ts";
import * as RedactionPolicy from "../../session/RedactionPolicy.ts";
import { type Sort, sortKeys } from "../../api/Sort.ts";
import * as Tenant from "../../api/Tenant.ts";
import { leastSize, mostSize } from "../../source/paging/Limits.ts";
import { UsageError } from "../ExitCode.ts";
import * as Terminal from "../ui/Terminal.ts";

const unitSeconds = { s: 1, min: 60, m: 60, h: 3600 } as const;

/** An option whose text is read by a function that says what is wrong with it, if anything. */
const readAs = <A>(
  option: Options.Options<string>,
  read: (text: string) => A | undefined,
  required: string,
) =>
  Options.mapEffect(option, (text) => {
    const value = read(text.trim());
    if (value !== undefined) return Effect.succeed(value);
    return Effect.fail(ValidationError.invalidValue(HelpDoc.p(`${required}: it is ${JSON.stringify(text)}`)));
  });

const readWhole = (text: string, least: number, most: number): number | undefined => {
  const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
  return value >= least && value <= most ? value : undefined;
};

/** A whole number from `least` to `most`. */
export const whole = (name: string, least: number, most: number): Options.Options<number> =>
  readAs(
    Options.text(name),
    (text) => readWhole(text, least, most),
    `--${name} must be a whole number from ${least} to ${most}`,
  );

/** How many requests may be under way at once, or that this is to be found out. */
export const concurrency: Options.Options<number | "auto"> = readAs(
  Options.text("concurrency").pipe(
    Options.withPseudoName("N|auto"),
    Options.withDescription(
      "How many requests may be under way at once. auto, if left out: 8, and more as long as answers come faster for it.",
    ),
  ),
  (text) => text === "auto" ? text : readWhole(text, 1, 1000),
  "--concurrency must be a whole number from 1 to 1000, or auto",
).pipe(Options.withDefault("auto" as const));

const readRate = (text: string): number | "auto" | undefined => {
  if (text === "auto") return text;
  const found = /^(\d+(?:\.\d+)?)(?:\/(s|min|m|h))?$/.exec(text);
  const rate = found === null
    ? 0
    : Number(found[1]) / unitSeconds[(found[2] ?? "s") as keyof typeof unitSeconds];
  return rate > 0 && rate <= 1e6 ? rate : undefined;
};

const readSort = (text: string): Sort | undefined => {
  const [key, order = "asc", ...rest] = text.split(":");
  const direction = ({ asc: 1, desc: -1, 1: 1, "-1": -1 } as const)[order];
  const isKnown = rest.length === 0 && direction !== undefined && sortKeys.some((known) => known === key);
  return isKnown ? `${key}:${direction}` as Sort : undefined;
};

/** The domain of the tenant. */
export const domain = Options.text("domain").pipe(
  Options.withPseudoName("HOST"),
  Options.withDescription("The tenant, such as acme.eu.monocloud.com. Without it: MONOCLOUD_DOMAIN."),
  Options.optional,
);

/** The file that holds the key. */
export const apiKeyFile = Options.text("api-key-file").pipe(
  Options.withPseudoName("FILE"),
  Options.withDescription("A file that holds the API key and nothing else. Without it: MONOCLOUD_API_KEY."),
  Options.optional,
);

/** The ceiling of the rate, or that the rate is to be sought. */
export const rate = Options.text("rate").pipe(
  Options.withPseudoName("N/s|auto"),
  Options.withDescription(
    "The most requests to make in a second (20/s), a minute (600/min) or an hour, 20/s if left out. Slows down by itself on 429. " +
      "auto: begins at 20/s, finds out what the tenant allows and stays just below it.",
  ),
  Options.withDefault("20/s"),
  (option) => readAs(option, readRate, "--rate must be requests in a time, such as 20/s or 600/min, or auto"),
);

const readDuration = (text: string): number | undefined => {
  const found = /^(\d+(?:\.\d+)?)(s|min|m|h)$/.exec(text);
  const value = found === null
    ? 0
    : Number(found[1]) * unitSeconds[found[2] as keyof typeof unitSeconds] * 1000;
  return value > 0 && value <= 7 * 24 * 3600 * 1000 ? value : undefined;
};

/** The patience with a tenant that fails or asks to be left alone, in milliseconds. */
export const patience = (byDefault: string) =>
  Options.text("max-elapsed").pipe(
    Options.withPseudoName("TIME"),
    Options.withDescription(
      "How long to try a request that fails, or to be held off by the tenant, before giving up: 90s, 10m or 2h; " +
        `${byDefault} if left out.`,
    ),
    Options.withDefault(byDefault),
    (option) => readAs(option, readDuration, "--max-elapsed must be a time such as 90s, 5m or 2h"),
  );

const multiples = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 } as const;

const readBytes = (text: string): number | undefined => {
  const found = /^(\d{1,12})([KMG]?)$/.exec(text);
  const value = found === null ? 0 : Number(found[1]) * multiples[found[2] as keyof typeof multiples];
  return value > 0 && value <= 2 ** 45 ? value : undefined;
};

const readTime = (text: string): { readonly since: number } | undefined => {
  const milliseconds = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?(Z|[+-]\d{2}:\d{2}))?$/.test(text)
    ? Date.parse(text)
    : NaN;
  return Number.isNaN(milliseconds) ? undefined : { since: Math.floor(milliseconds / 1000) };
};

/** The time from which on changes are wanted. */
export const since = Options.text("since").pipe(
  Options.withPseudoName("TIME"),
  Options.withDescription(
    "Only sessions that began or were updated at or after this time, such as 2026-01-31 (UTC) or 2026-01-31T18:00:00+01:00.",
  ),
  (option) =>
    readAs(option, readTime, "--since must be a date, or a time with its zone, such as 2026-01-31T18:00:00Z"),
  Options.optional,
);

/** A size in bytes, which may be left out. */
const size = (name: string, description: string) =>
  Options.text(name).pipe(
    Options.withPseudoName("SIZE"),
    Options.withDescription(description),
    (option) => readAs(option, readBytes, `--${name} must be a size such as 64M or 1G`),
    Options.optional,
  );

/** The size of a part. */
export const partBytes = size(
  "part-bytes",
  "In a folder: complete a part once its largest file has so many bytes before compression: 64M or 1G; 512M if left out.",
);

/** The largest body of an answer. */
export const maxBodyBytes = size(
  "max-body-bytes",
  "The most bytes an answer of the tenant may have, as sent and unpacked: 16M or 1G; 64M if left out.",
);

const readBudget = (text: string): MaxQuarantined | undefined => {
  const found = /^(\d{1,12}(?:\.\d+)?)(%?)$/.exec(text);
  const value = Number(found?.[1]);
  if (found?.[2] === "%") return value <= 100 ? { percent: value } : undefined;
  return Number.isInteger(value) ? { count: value } : undefined;
};

/** How many rows may be quarantined. */
export const maxQuarantined = Options.text("max-quarantined").pipe(
  Options.withPseudoName("N|P%"),
  Options.withDescription(
    "Stop once more rows are no sessions than this, or than this share of 1,000 rows or more: 50 or 0.1%. Left out: never.",
  ),
  (option) => readAs(option, readBudget, "--max-quarantined must be a whole number or a share such as 0.1%"),
  Options.optional,
);

/** Rows a page. */
export const pageSize = whole("page-size", leastSize, mostSize).pipe(
  Options.withPseudoName("N"),
  Options.withDescription(
    `Sessions to ask for at a time, from ${leastSize} to ${mostSize}, 100 if left out. The tenant may give fewer.`,
  ),
  Options.withDefault(100),
);

/** The flags that choose sessions. */
export const filters = SessionFilters.mapFilters(({ query, placeholder, description }) =>
  Options.text(query.replaceAll("_", "-")).pipe(
    Options.withPseudoName(placeholder),
    Options.withDescription(description),
    Options.optional,
  )
);

/** Give what these flags say. */
export const filtersFrom = (
  args: { readonly [Name in keyof SessionFilters.SessionFilters]-?: Option.Option<string> },
): SessionFilters.SessionFilters => SessionFilters.mapFilters((_, name) => Option.getOrUndefined(args[name]));

/** The order within each user. */
export const sort = Options.text("sort").pipe(
  Options.withPseudoName("KEY:ORDER"),
  Options.withDescription(
    `The order within each user: ${sortKeys.join(", ")}, then :asc or :desc. Left out: newest first. ` +
      "expires_at and last_updated change while the list is read; an export in their order is never verified.",
  ),
  (option) =>
    readAs(option, readSort, `--sort must be KEY:asc or KEY:desc, KEY one of ${sortKeys.join(", ")}`),
  Options.optional,
);

/** What personal data to take out or make unreadable. */
export const redact = Options.text("redact").pipe(
  Options.withPseudoName("FIELD=ACTION,..."),
  Options.withDescription(
    `What becomes of personal data: ${RedactionPolicy.usage}. Left out: it is exported as served. With it, session_key and ` +
      "unknown fields are dropped unless named. hash is keyed with MONOCLOUD_REDACT_SECRET.",
  ),
  (option) =>
    Options.mapEffect(option, (text) =>
      Effect.mapError(
        RedactionPolicy.parse(text),
        (flaw) => ValidationError.invalidValue(HelpDoc.p(`--redact can't be followed: ${flaw}`)),
      )),
  Options.optional,
);

const unreadable: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENAMETOOLONG: "there is no such file",
  EACCES: "permission denied",
  EISDIR: "it is a folder",
};

/** A variable of the environment. */
const variable = (name: string): Effect.Effect<string | undefined, UsageError> =>
  Effect.try({
    try: () => process.env[name],
    catch: () =>
      new UsageError({
        message: `Cannot read ${name} from the environment: Deno needs --allow-env=${name} for that`,
      }),
  });

/** The text of a file, and whether other users of this machine can read it as well. */
const readSecret = async (path: string): Promise<{ readonly text: string; readonly isOpen: boolean }> => {
  const file = await open(path);
  try {
    const stat = await file.stat();
    const isOpen = process.platform !== "win32" && stat.isFile() && (stat.mode & 0o044) !== 0;
    return { text: await file.readFile("utf8"), isOpen };
  } finally {
    await file.close();
  }
};

const readKeyFile = (path: string): Effect.Effect<string, UsageError> =>
  Effect.tryPromise({
    try: () => readSecret(path),
    // Neither the name nor the system's words, which quote it: it may be the key, put in the wrong place.
    catch: (cause) => {
      const { code, name } = cause as { readonly code?: unknown; readonly name?: unknown };
      const why = typeof code === "string"
        ? unreadable[code] ?? code
        : name === "NotCapable"
        ? "Deno needs --allow-read for that"
        : "it can't be read";
      return new UsageError({
        message: `Cannot read the API key from the file that --api-key-file names: ${why}`,
      });
    },
  }).pipe(
    Effect.tap(({ isOpen }) =>
      isOpen
        ? Terminal.say([
          "Warning: other users of this machine can read the file that --api-key-file names: chmod 600 keeps it to you",
        ])
        : Effect.void
    ),
    Effect.map(({ text }) => text),
  );

const readKey = (file: Option.Option<string>): Effect.Effect<string, UsageError> =>
  Option.match(file, {
    onNone: () =>
      Effect.flatMap(variable("MONOCLOUD_API_KEY"), (key) =>
        key ? Effect.succeed(key) : Effect.fail(
          new UsageError({
            message: "No API key: set MONOCLOUD_API_KEY, or name a file that holds it with --api-key-file",
          }),
        )),
    onSome: readKeyFile,
  });

/** The tenant that options and environment name. */
export const tenantFrom = (options: {
  readonly domain: Option.Option<string>;
  readonly apiKeyFile: Option.Option<string>;
}): Effect.Effect<Tenant.Tenant, UsageError | Tenant.TenantError> =>
  Effect.gen(function* () {
    const host = Option.getOrUndefined(options.domain) ?? (yield* variable("MONOCLOUD_DOMAIN"));
    if (!host) {
      return yield* Effect.fail(
        new UsageError({
          message: "No tenant: set MONOCLOUD_DOMAIN, or give --domain, such as acme.eu.monocloud.com",
        }),
      );
    }
    const apiKey = Redacted.make(yield* readKey(options.apiKeyFile));
    return yield* Tenant.make({ domain: host, apiKey });
  });

/** What redacts each batch by a policy, with the secret from the environment if it hashes. */
export const redactionFrom = (
  policy: RedactionPolicy.SettledPolicy,
): Effect.Effect<(batch: Batch) => Batch, UsageError> =>
  Effect.gen(function* () {
    const secret = RedactionPolicy.needsSecret(policy)
      ? yield* variable("MONOCLOUD_REDACT_SECRET")
      : undefined;
    // What it takes to hash is of no use to most commands, and to none that only helps.
    const Redaction = yield* Effect.promise(() => import("../../session/Redaction.ts"));
    return yield* Effect.try({
      try: () => Redaction.make(policy, secret === undefined ? undefined : Redacted.make(secret)),
      catch: (error) =>
        new UsageError({ message: `${(error as Error).message}. It is taken from MONOCLOUD_REDACT_SECRET` }),
    });
  });
