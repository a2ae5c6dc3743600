/**
 * The fields of a redaction policy, and what can become of each, in one table: a field that is new is a line in each of three
 * places here, and `Redaction.ts` does not compile before it follows it. Options, HTTP bodies and the command's flag derive from it.
 */

/** The action for each field: a plain value, which can be stored as JSON. */
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

/** The action for each field that is left out. */
export const defaults: SettledPolicy = {
  ip: "keep",
  user_agent: "keep",
  location: "keep",
  session_key: "drop",
  unknown: "drop",
};

/** The actions that each field allows. */
export const actions: { readonly [Field in keyof Policy]-?: ReadonlyArray<SettledPolicy[Field]> } = {
  ip: ["keep", "truncate", "hash", "drop"],
  user_agent: ["keep", "hash", "drop"],
  location: ["keep", "truncate", "hash", "drop"],
  session_key: ["keep", "hash", "drop"],
  unknown: ["keep", "drop"],
};

/** Any action that some field allows. */
export type Action = SettledPolicy[keyof SettledPolicy];

/** Derive something for each field from what can become of it. */
export const mapFields = <A>(
  make: (allowed: ReadonlyArray<Action>) => A,
): { readonly [Field in keyof Policy]-?: A } =>
  Object.fromEntries(Object.entries(actions).map(([field, allowed]) => [field, make(allowed)])) as {
    readonly [Field in keyof Policy]-?: A;
  };
