/**
 * Personal data taken out of sessions, or made unreadable, before anything is written. It changes batches, not bytes, so
 * every format says the same.
 *
 * **Fields that are not named.** A policy is a statement about what leaves the tenant, so what it does not speak of is
 * kept only if it is known. `session_key` is dropped unless the policy says otherwise: MonoCloud's page shows 64
 * hexadecimal digits and does not say what they open, its SDKs do not know the field, and `session_id` is enough to join
 * on. Fields this version does not know, in a row or in its `last_metadata`, are
 * dropped too: one may repeat an address under a new name.
 *
 * **Rows that are not sessions** can't be redacted by field. Under any policy but one that keeps all, what is left of one
 * is where it was served, the names of the fields that are wrong, and its `session_id`.
 *
 * **What it is not.** `user_id`, `session_id`, clients and times stay: the result is pseudonymous, not anonymous.
 * A hash hides a value, not how often it occurs.
 *
 * @module
 */
import { hmac } from "@noble/hashes/hmac.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import * as Either from "effect/Either";
import * as Predicate from "effect/Predicate";
import type * as Redacted from "effect/Redacted";
import { type Batch, map, type QuarantinedRow } from "./Batch.ts";
import * as IpAddress from "./IpAddress.ts";
import { keyOf, needsSecret, type Policy, settle, type SettledPolicy } from "./RedactionPolicy.ts";
import * as Session from "./Session.ts";

export { needsSecret, parse, type Policy, settle, type SettledPolicy, usage } from "./RedactionPolicy.ts";

type Change = (text: string) => string | null;

const keep = <A>(value: A): A => value;
const drop: Change = () => null;

/** A hash takes 8 to 11 µs, one that is kept a quarter of one (measured), and addresses and user agents recur. */
const KEPT = 4096;
/** Longer texts are hashed anew each time, so that what is kept is a few MB a column at most. */
const KEPT_LENGTH = 512;

const utf8 = new TextEncoder();

/** Gives the hash of each column. No column's name holds a `:`, so what is hashed for one is never that of another. */
const hashing = (secret: string | Redacted.Redacted | undefined): (column: string) => Change => {
  const keyed = hmac.create(sha256, keyOf(secret));
  return (column) => {
    const kept = new Map<string, string>();
    return (text) => {
      if (text === "") return text;
      const found = kept.get(text);
      if (found !== undefined) return found;
      const hash = bytesToHex(keyed.clone().update(utf8.encode(`${column}:${text}`)).digest());
      if (text.length > KEPT_LENGTH) return hash;
      if (kept.size === KEPT) kept.clear();
      kept.set(text, hash);
      return hash;
    };
  };
};

/** Changes to each member that there can be: a field that is new to the schema has to be decided on here. */
type Changes<A> = { readonly [Name in keyof A]-?: (member: NonNullable<A[Name]>) => A[Name] };

const rebuilding = <A extends object>(changes: Changes<A>, keepsUnknown: boolean): (value: A) => A => {
  const known = new Map<string, (member: never) => unknown>(Object.entries(changes));
  return (value) => {
    const members: Record<string, unknown> = {};
    for (const [name, member] of Object.entries(value)) {
      const change = known.get(name);
      if (change !== undefined) members[name] = member == null ? member : change(member as never);
      else if (keepsUnknown) {
        // A plain assignment to `__proto__` would set the prototype.
        const property = { value: member, enumerable: true, writable: true, configurable: true };
        Object.defineProperty(members, name, property);
      }
    }
    return members as A;
  };
};

const withhold = ({ userId, page, size, index, source }: QuarantinedRow): QuarantinedRow => {
  const row = Either.getOrUndefined(Either.try((): unknown => JSON.parse(source)));
  const id = Predicate.isRecord(row) ? row["session_id"] : undefined;
  const flaw = Either.flip(Session.decode(row));
  const wrong = Either.match(flaw, { onLeft: () => "unknown", onRight: Session.flawedFields });
  return {
    userId,
    page,
    size,
    index,
    paths: Either.match(flaw, { onLeft: () => [], onRight: ({ paths }) => paths }),
    message: `wrong: ${wrong}; the values are redacted`,
    source: JSON.stringify(typeof id === "string" ? { session_id: id } : {}),
    redacted: true,
  };
};

/**
 * A function that redacts batches by a policy. A dropped value becomes null; null, absence and, for `hash`, the empty
 * text stay what they are. NDJSON is written from the values.
 *
 * A hash is `HMAC-SHA-256(secret, "<column>:<value>")` as 64 lower-case hexadecimal digits, of the value as served, the
 * column being `ip_address`, `user_agent`, `country`, `region`, `city` or `session_key`. So the same value has the same
 * hash under one secret wherever it is made, and another one in another column. Whoever has the secret finds an IPv4
 * address by trying them all.
 *
 * Memory: the hashes of a few thousand recent values.
 *
 * @throws {TypeError} on a field or an action that there is not, and on a missing or short secret if one is needed.
 *
 * @example
 * ```ts
 * import { Batch, Formats, Redaction } from "monocloud-sessions";
 *
 * const redact = Redaction.make({ ip: "truncate", user_agent: "hash" }, "a secret of at least thirty-two bytes");
 * const last_metadata = { ip_address: "203.0.113.7", user_agent: "curl/8.5.0" };
 * const times = { initiated_at: 1640975400, expires_at: 1640983490, last_updated: 1640975400 };
 * const batch = Batch.make("alice", [{ session_id: "S1", client_ids: [], ...times, last_metadata }]);
 * const text = new TextDecoder().decode(Formats.make("ndjson").make().encode(redact(batch)));
 * console.assert(text.includes('"ip_address":"203.0.113.0"') && !text.includes("curl"));
 * ```
 */
export const make = (policy: Policy, secret?: string | Redacted.Redacted): (batch: Batch) => Batch => {
  const settled = settle(policy);
  if (Object.values(settled).every((action) => action === "keep")) return (batch) => batch;
  const hash = needsSecret(settled) ? hashing(secret) : () => drop;
  const change = (column: string, action: SettledPolicy["ip"], truncate: Change = drop): Change =>
    ({ keep, truncate, hash: hash(column), drop })[action];
  const { ip, user_agent, location, session_key, unknown, ...others } = settled;
  // A field that is new to policies has to be followed here: this does not compile without.
  others satisfies Record<string, never>;
  const coordinate = location === "keep" ? keep : drop;
  const inMetadata: Changes<Session.Metadata> = {
    country: change("country", location, keep),
    region: change("region", location, keep),
    city: change("city", location),
    latitude: coordinate,
    longitude: coordinate,
    ip_address: change("ip_address", ip, IpAddress.truncate),
    user_agent: change("user_agent", user_agent),
  };
  const redactMetadata = rebuilding(inMetadata, unknown === "keep");
  const redactSession = rebuilding<Session.Session>({
    session_id: keep,
    session_key: change("session_key", session_key),
    client_ids: keep,
    initiated_at: keep,
    expires_at: keep,
    last_updated: keep,
    last_metadata: redactMetadata,
  }, unknown === "keep");
  return (batch) => ({ ...map(batch, redactSession), quarantined: batch.quarantined.map(withhold) });
};
