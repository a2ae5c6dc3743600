/** The policy for personal data: read and checked without what it takes to follow it. */
import * as Either from "effect/Either";
import * as Redacted from "effect/Redacted";
import * as Options from "../options/Options.ts";
import { actions, defaults, mapFields, type Policy, type SettledPolicy } from "./RedactionFields.ts";

export type { Policy } from "./RedactionFields.ts";

export type { SettledPolicy } from "./RedactionFields.ts";

/** The syntax of {@link parse}: `ip=keep|truncate|hash|drop, …`. */
export const usage: string = Object.entries(actions)
  .map(([field, allowed]) => `${field}=${allowed.join("|")}`).join(", ");

/** See {@link Policy}. */
export const optionNames: Options.Names<Policy> = mapFields((allowed) =>
  Options.oneOf(allowed)
) as Options.Names<Policy>;

/** A policy as callers give it. */
export const kind: Options.Kind<Policy> = Options.object(optionNames, { what: "field" });

/**
 * The policy with its defaults filled in, as an export's manifest should record it.
 *
 * @throws {TypeError} on a field or an action that there is not: a misspelt one must not keep what was to be dropped.
 */
export const settle = (policy: Policy): SettledPolicy => ({
  ...defaults,
  ...Options.take("redact", kind, policy) as Partial<SettledPolicy>,
});

/** The policy that a command line writes as `ip=truncate,user_agent=drop`, settled, or what is wrong with the text. */
export const parse = (text: string): Either.Either<SettledPolicy, string> => {
  const named = new Map<string, string>();
  for (const part of text.split(",")) {
    const [field = "", action, ...more] = part.split("=").map((word) => word.trim());
    const flaw = action === undefined || more.length > 0
      ? `${JSON.stringify(part)} is not FIELD=ACTION`
      : named.has(field)
      ? `${field} is there twice`
      : undefined;
    if (flaw !== undefined) return Either.left(`${flaw}; in full, with commas between: ${usage}`);
    named.set(field, action!);
  }
  return Options.read(kind, Object.fromEntries(named)).pipe(
    Either.mapBoth({
      onLeft: (flaw) => `${flaw}; in full, with commas between: ${usage}`,
      onRight: settle,
    }),
  );
};

/** Tell whether a policy needs a secret. */
export const needsSecret = (policy: Policy): boolean => Object.values(policy).includes("hash");

/** The bytes of a hash, as RFC 2104 advises. */
const LEAST_SECRET = 32;

/**
 * The key that a secret is.
 *
 * @throws {TypeError} if it is missing or too short.
 */
export const keyOf = (secret: string | Redacted.Redacted | undefined): Uint8Array => {
  const key = new TextEncoder().encode(Redacted.isRedacted(secret) ? Redacted.value(secret) : secret);
  if (key.length < LEAST_SECRET) {
    throw new TypeError(
      `Cannot hash as the secret must have ${LEAST_SECRET} bytes or more: it has ${key.length}. ` +
        "Make one with `openssl rand -hex 32`, and keep it for as long as new hashes are to equal the old",
    );
  }
  return key;
};
