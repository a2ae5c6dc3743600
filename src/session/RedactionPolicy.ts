/**
 * What is to become of personal data: read and checked without what it takes to do it.
 *
 * @module
 */
import * as Either from "effect/Either";
import * as Redacted from "effect/Redacted";
import * as Options from "../options/Options.ts";

/** What becomes of each field: a plain value, which can be stored as JSON. */
export interface Policy {
  /**
   * `truncate`: the network's address, of a /24 for IPv4, of a /48 for IPv6. An IPv4 address inside an IPv6 one is
   * truncated as IPv4. What is no IP address (a port or a zone after it, say) is dropped.
   *
   * @default {"keep"}
   */
  readonly ip?: "keep" | "truncate" | "hash" | "drop" | undefined;
  /** Can't be truncated: it is whatever the client sent, and no part of it is known to be harmless. @default {"keep"} */
  readonly user_agent?: "keep" | "hash" | "drop" | undefined;
  /**
   * `truncate`: country and region are kept, city and coordinates are dropped. `hash`: country, region and city each on
   * its own; coordinates are dropped, for their column holds numbers.
   *
   * @default {"keep"}
   */
  readonly location?: "keep" | "truncate" | "hash" | "drop" | undefined;
  /** @default {"drop"} */
  readonly session_key?: "keep" | "hash" | "drop" | undefined;
  /** Fields this version does not know. If kept, numbers that a JavaScript number can't hold lose digits. @default {"drop"} */
  readonly unknown?: "keep" | "drop" | undefined;
}

/** A policy that leaves nothing to defaults. */
export type SettledPolicy = { readonly [Field in keyof Policy]-?: NonNullable<Policy[Field]> };

const defaults: SettledPolicy = {
  ip: "keep",
  user_agent: "keep",
  location: "keep",
  session_key: "drop",
  unknown: "drop",
};

const actions: { readonly [Field in keyof Policy]-?: ReadonlyArray<SettledPolicy[Field]> } = {
  ip: ["keep", "truncate", "hash", "drop"],
  user_agent: ["keep", "hash", "drop"],
  location: ["keep", "truncate", "hash", "drop"],
  session_key: ["keep", "hash", "drop"],
  unknown: ["keep", "drop"],
};

/** What {@link parse} understands: `ip=keep|truncate|hash|drop, …`. */
export const usage: string = Object.entries(actions)
  .map(([field, allowed]) => `${field}=${allowed.join("|")}`).join(", ");

/** See {@link Policy}. */
export const optionNames: Options.Names<Policy> = {
  ip: Options.oneOf(actions.ip),
  user_agent: Options.oneOf(actions.user_agent),
  location: Options.oneOf(actions.location),
  session_key: Options.oneOf(actions.session_key),
  unknown: Options.oneOf(actions.unknown),
};

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

/** Whether a secret is needed for it. */
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
