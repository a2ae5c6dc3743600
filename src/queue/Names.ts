/**
 * Tenants and targets by the names that jobs have for them: `NAME.env` in a folder of secrets, one for each. Without a folder, the
 * environment is that of the one named `default`.
 */
import { open, readdir } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { parseEnv } from "node:util";
import * as Data from "effect/Data";
import * as Effect from "effect/Effect";
import * as Redacted from "effect/Redacted";
import * as Schema from "effect/Schema";
import * as Tenant from "../api/Tenant.ts";
import { Name } from "./ShardJob.ts";

/** A name is not configured here, or not as it must be. */
export class NameError extends Data.TaggedError("NameError")<{ readonly message: string }> {}

export const DEFAULT = "default";

export type Kind = "tenant" | "target";

/** Places that names are looked up in: folders, or the environment. */
export interface Places {
  readonly tenants: string | undefined;
  readonly targets: string | undefined;
}

export interface NamedTenant {
  readonly tenant: Tenant.Tenant;
  readonly rate: number | "auto" | undefined;
  readonly redactSecret: Redacted.Redacted | undefined;
}

/** A table, by the words of `MONOCLOUD_TO` and `MONOCLOUD_SCHEMA`, or a folder that all machines share. */
export type NamedTarget =
  | {
    readonly kind: "table";
    readonly to: string;
    readonly schema: string | undefined;
    /** The place where that is said, for messages. */
    readonly where: string;
  }
  | { readonly kind: "folder"; readonly root: string };

const isName = Schema.is(Name);
const SUFFIX = ".env";
/** Rights of others, and of the group but to read: a group may be how a container is given its secrets. */
const OTHERS = 0o027;

type Values = Readonly<Record<string, string | undefined>>;

const fail = (message: string) => new NameError({ message });

const readFile = async (path: string): Promise<string> => {
  const file = await open(path);
  try {
    const stat = await file.stat();
    if (process.platform !== "win32" && (stat.mode & OTHERS) !== 0) {
      throw fail(
        `Cannot use ${path} as other users of this machine can read it or write to it: chmod 600 it`,
      );
    }
    return await file.readFile("utf8");
  } finally {
    await file.close();
  }
};

/** Give the variables that stand for a name. */
const valuesOf = (kind: Kind, folder: string | undefined, name: string): Effect.Effect<Values, NameError> => {
  if (!isName(name)) {
    return fail(
      `${JSON.stringify(name)} names no ${kind}: a name has letters, digits, - and _, and is no path`,
    );
  }
  if (folder === undefined) {
    return name === DEFAULT
      ? Effect.sync(() => process.env)
      : fail(`There is no ${kind} ${name} here: give --${kind}s DIR, a folder with ${name}${SUFFIX}`);
  }
  const path = join(folder, `${name}${SUFFIX}`);
  return Effect.tryPromise({
    try: async () => parseEnv(await readFile(path)),
    catch: (error) => {
      if (error instanceof NameError) return error;
      const { code = "it can't be read" } = error as { readonly code?: string };
      return fail(`There is no ${kind} ${name} here: ${path} can't be read (${code})`);
    },
  });
};

const whereOf = (folder: string | undefined, name: string): string =>
  folder === undefined ? "the environment" : join(folder, `${name}${SUFFIX}`);

/** Read `MONOCLOUD_RATE`. */
export const rateOf = (
  text: string | undefined,
  where: string,
): Effect.Effect<number | "auto" | undefined, NameError> => {
  if (text === undefined || text === "") return Effect.succeed(undefined);
  const rate = text === "auto" ? text : Number(text);
  return rate === "auto" || (rate > 0 && rate <= 1e6) ? Effect.succeed(rate) : fail(
    `MONOCLOUD_RATE in ${where} must be a number of requests a second, above 0 and at most 1000000, or auto`,
  );
};

/** Give the tenant of a name. */
export const tenant = ({ tenants }: Places, name: string): Effect.Effect<NamedTenant, NameError> =>
  Effect.gen(function* () {
    const values = yield* valuesOf("tenant", tenants, name);
    const where = whereOf(tenants, name);
    const { MONOCLOUD_DOMAIN: domain, MONOCLOUD_API_KEY: apiKey } = values;
    // One for all tenants may be enough.
    const secret = values["MONOCLOUD_REDACT_SECRET"] || process.env["MONOCLOUD_REDACT_SECRET"];
    if (!domain || !apiKey) {
      return yield* fail(`The tenant ${name} needs MONOCLOUD_DOMAIN and MONOCLOUD_API_KEY in ${where}`);
    }
    return {
      tenant: yield* Effect.mapError(
        Tenant.make({ domain, apiKey: Redacted.make(apiKey) }),
        ({ message }) => fail(`The tenant ${name} in ${where} can't be used: ${message}`),
      ),
      rate: yield* rateOf(values["MONOCLOUD_RATE"], where),
      redactSecret: secret ? Redacted.make(secret) : undefined,
    };
  });

/** Tell whether a text names a table, by its kind. */
const isTable = (to: string): boolean => /^[a-z]+:\/\//i.test(to) || /\.(duckdb|db)$/i.test(to);

/** Give the target of a name. */
export const target = ({ targets }: Places, name: string): Effect.Effect<NamedTarget, NameError> =>
  Effect.gen(function* () {
    const { MONOCLOUD_TO: to, MONOCLOUD_SCHEMA: schema } = yield* valuesOf("target", targets, name);
    const where = whereOf(targets, name);
    if (!to) {
      return yield* fail(
        `The target ${name} needs MONOCLOUD_TO in ${where}: postgres://USER@HOST/DATABASE, or a folder that all machines share`,
      );
    }
    return isTable(to)
      ? { kind: "table", to, schema: schema || undefined, where }
      : { kind: "folder", root: to };
  });

/** List the names that are configured in a folder. */
export const list = (
  kind: Kind,
  folder: string | undefined,
): Effect.Effect<ReadonlyArray<string>, NameError> =>
  folder === undefined ? Effect.succeed([DEFAULT]) : Effect.tryPromise({
    try: async () =>
      (await readdir(folder)).filter((file) => file.endsWith(SUFFIX))
        .map((file) => file.slice(0, -SUFFIX.length)).filter(isName).sort(),
    catch: (error) => {
      const { code = String(error) } = error as { readonly code?: string };
      return fail(`Cannot read the folder of ${kind}s, ${folder}: ${code}`);
    },
  });
