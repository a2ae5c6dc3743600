/**
 * Settings of every command from the command line and the environment, decoded once: the tenant, the key and the secret.
 */
import { open } from "node:fs/promises";
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Redacted from "effect/Redacted";
import type { Batch } from "../../session/Batch.ts";
import * as RedactionPolicy from "../../session/RedactionPolicy.ts";
import * as Tenant from "../../api/Tenant.ts";
import { type UsageError, usageError } from "../ExitCode.ts";
import * as Terminal from "../ui/Terminal.ts";

const unreadable: Readonly<Record<string, string>> = {
  ENOENT: "there is no such file",
  ENAMETOOLONG: "there is no such file",
  EACCES: "permission denied",
  EISDIR: "it is a folder",
};

export const variable = (name: string): Effect.Effect<string | undefined, UsageError> =>
  Effect.try({
    try: () => process.env[name],
    catch: () =>
      usageError(`Cannot read ${name} from the environment: Deno needs --allow-env=${name} for that`),
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
      return usageError(`Cannot read the API key from the file that --api-key-file names: ${why}`);
    },
  }).pipe(
    Effect.tap(({ isOpen }) =>
      isOpen
        ? Terminal.say([
          "Warning: other users of this machine can read the file that --api-key-file names: chmod 600 keeps it to you",
        ])
        : Effect.void
    ),
    Effect.flatMap(({ text }) =>
      /\S\s+\S|^\s*\w+=/.test(text)
        ? usageError(
          "The file that --api-key-file names must hold the key alone, on one line: no name, no comment, nothing else",
        )
        : Effect.succeed(text)
    ),
  );

const readKey = (file: string | undefined): Effect.Effect<string, UsageError> =>
  file !== undefined ? readKeyFile(file) : Effect.flatMap(
    variable("MONOCLOUD_API_KEY"),
    (key) =>
      key
        ? Effect.succeed(key)
        : usageError("No API key: set MONOCLOUD_API_KEY, or name a file that holds it with --api-key-file"),
  );

export const tenantFrom = (options: {
  readonly domain: string | undefined;
  readonly apiKeyFile: string | undefined;
}): Effect.Effect<Tenant.Tenant, UsageError | Tenant.TenantError> =>
  Effect.gen(function* () {
    const host = options.domain ?? (yield* variable("MONOCLOUD_DOMAIN"));
    if (!host) {
      return yield* usageError(
        "No tenant: set MONOCLOUD_DOMAIN, or give --domain, such as acme.eu.monocloud.com",
      );
    }
    const apiKey = Redacted.make(yield* readKey(options.apiKeyFile));
    return yield* Tenant.make({ domain: host, apiKey });
  });

/** Make the redaction of each batch by a policy, with the secret that is given or from the environment if it hashes. */
export const redactionFrom = (
  policy: RedactionPolicy.SettledPolicy,
  given?: Redacted.Redacted,
): Effect.Effect<(batch: Batch) => Batch, UsageError> =>
  Effect.gen(function* () {
    const text = RedactionPolicy.needsSecret(policy) && given === undefined
      ? yield* variable("MONOCLOUD_REDACT_SECRET")
      : undefined;
    const secret = text === undefined ? given : Redacted.make(text);
    // What it takes to hash is of no use to most commands, and to none that only helps.
    const Redaction = yield* Effect.promise(() => import("../../session/Redaction.ts"));
    return yield* Effect.try({
      try: () => Redaction.make(policy, secret),
      catch: (error) => usageError(`${(error as Error).message}. It is taken from MONOCLOUD_REDACT_SECRET`),
    });
  });
