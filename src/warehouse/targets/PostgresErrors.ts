/** Errors of PostgreSQL and of its client, as a {@link TargetError}: their reasons, and what to do about them. */
import { TargetError } from "../Target.ts";
import { quoted } from "../../postgres/Quoted.ts";

/** The database that a message names. */
export interface Database {
  /** {@link TargetError.target} */
  readonly name: string;
  readonly schema: string;
}

/** Classes of SQLSTATE, the longer ones first. */
const reasons: ReadonlyArray<readonly [prefix: string, reason: TargetError["reason"]]> = [
  ["25006", "Denied"],
  ["25P03", "Unreachable"],
  ["53100", "Full"],
  ["55P03", "Busy"],
  ["42501", "Denied"],
  ["42P06", "Exists"],
  ["42P07", "Exists"],
  ["42710", "Exists"],
  ["23505", "Exists"],
  ["3D000", "Denied"],
  ["08", "Unreachable"],
  ["28", "Denied"],
  ["40", "Busy"],
  ["53", "Unreachable"],
  ["57P", "Unreachable"],
];

/** The words of each reason, before what the database says. */
const doings: Readonly<Partial<Record<TargetError["reason"], string>>> = {
  Unreachable: "Cannot reach",
  UnknownHost: "Cannot find the host of",
  Insecure: "Cannot trust the server of",
  Busy: "Cannot write at present to",
  Denied: "Cannot log in to or write to",
  Full: "Cannot write for want of space to",
};

const passwordIsFrom = "The password comes from MONOCLOUD_TO, PGPASSWORD or ~/.pgpass";

/** Advice, by what the database or its client says. */
const advice = (schema: string): ReadonlyArray<readonly [says: RegExp, todo: string]> => {
  const its = quoted(schema);
  return [
    [/does not support SSL/, "Set TLS up there; sslmode=disable does without, where nobody else can listen"],
    [
      /altname|does not match|not valid for/i,
      "Connect by a name that is in the certificate; sslmode=no-verify encrypts and trusts anyone",
    ],
    [
      /certificate/i,
      "sslmode=require means verify-full here: name the authority's certificate by sslrootcert=FILE in the URL, or " +
      "by NODE_EXTRA_CA_CERTS; sslmode=no-verify encrypts and trusts anyone",
    ],
    [/password(?! file)/, passwordIsFrom],
    [
      /for database/,
      `Make the schema for its role: CREATE SCHEMA ${its} AUTHORIZATION its_role; or GRANT CREATE ON DATABASE`,
    ],
    [/temporary tables/, "GRANT TEMPORARY ON DATABASE to its role: rows wait in temporary tables"],
    [/for schema/, `GRANT USAGE, CREATE ON SCHEMA ${its} to its role; CREATE until the tables are there`],
    [
      /for (table|view|relation)/,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${its} to its role`,
    ],
    [/database .* does not exist/, "Create it, or name another in the URL"],
  ];
};

/** Tell what an error is that the database itself did not send. */
const reasonOf = (code: string, message: string): TargetError["reason"] => {
  if (code === "ENOTFOUND") return "UnknownHost";
  if (/^SASL|password must be|password file/.test(message)) return "Denied";
  if (/CERT|^ERR_(TLS|SSL)/.test(code) || /certificate|\bSSL\b|\bTLS\b/i.test(message)) return "Insecure";
  return "Unreachable";
};

/** Message of the client of PostgreSQL where there is no password at all. */
const NO_PASSWORD = /client password must be/;

/** Tell what has failed, and why. */
export const of = (error: unknown, { name, schema }: Database): TargetError => {
  if (error instanceof TargetError) return error;
  const { code, message } = error as Error & { readonly code?: unknown };
  const state = typeof code === "string" ? code : "";
  const reason = /^[0-9A-Z]{5}$/.test(state)
    ? reasons.find(([prefix]) => state.startsWith(prefix))?.[1] ?? "Statement"
    : reasonOf(state, message);
  const says = NO_PASSWORD.test(message) ? "it asks for a password" : message || state;
  const todo = ["Denied", "Insecure"].includes(reason)
    ? advice(schema).find(([pattern]) => pattern.test(says))?.[1]
    : undefined;
  return new TargetError({
    reason,
    target: name,
    message: `${doings[reason] ?? "Cannot write to"} ${name}: ${says}${
      todo === undefined ? "" : `. ${todo}`
    }`,
    cause: error,
  });
};
