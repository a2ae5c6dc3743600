/**
 * The columns of every tabular format, in one table. CSV, Parquet, the manifest and loaders are derived from
 * it, so they can't disagree.
 *
 * @module
 */
import { type Batch, sourceOf } from "./Batch.ts";
import * as Fields from "../scan/Fields.ts";
import * as JsonRows from "../scan/JsonRows.ts";
import { members } from "../scan/JsonText.ts";
import * as Memo from "../scan/Memo.ts";
import { type Metadata, place, type Session } from "./Session.ts";

/** What a column holds, and the SQL type that says so. */
export const sqlTypes = {
  text: "VARCHAR",
  timestamp: "TIMESTAMPTZ",
  number: "DOUBLE",
  text_list: "VARCHAR[]",
  json: "VARCHAR",
} as const;

/** The kind of a column. */
export type Kind = keyof typeof sqlTypes;

interface Values {
  readonly text: string | null;
  /** Whole seconds since the epoch, as served. */
  readonly timestamp: number;
  readonly number: number | null;
  readonly text_list: ReadonlyArray<string>;
  /** The text of a JSON object. */
  readonly json: string | null;
}

/** Reads a value off a session, which is the one at `index` in `source` if it is as it was served. */
type Get<A> = (session: Session, userId: string, source: JsonRows.JsonRows | undefined, index: number) => A;

/** One column: its name, its kind, and how to read it off a session. */
export type Column = {
  readonly [K in Kind]: {
    readonly name: string;
    readonly kind: K;
    readonly nullable: boolean;
    /** An identifier that other tables join on: never altered on the way out. */
    readonly key: boolean;
    readonly get: Get<Values[K]>;
    /** Where it lies in {@link Fields}: among the numbers if it is a timestamp, among the texts otherwise; if it does. */
    readonly place?: number;
  };
}[Kind];

/**
 * A coordinate as a number, or null where the text is no decimal number. "-0.0" is 0: not every format has a -0. People sign
 * in from few places, so those are remembered.
 */
const toNumber = Memo.of(
  4096,
  (text: string): number | null => /^[+-]?\d{1,9}(\.\d+)?$/.test(text) ? Number(text) + 0 : null,
);

/** The same, where there may be no text. */
export const decimal = (text: string | null | undefined): number | null =>
  text == null ? null : toNumber(text);

const known: Readonly<Record<string, true>> = {
  __proto__: null as never,
  session_id: true,
  session_key: true,
  client_ids: true,
  initiated_at: true,
  expires_at: true,
  last_updated: true,
  last_metadata: true,
};

const knownMetadata: Readonly<Record<string, true>> = {
  __proto__: null as never,
  country: true,
  region: true,
  city: true,
  latitude: true,
  longitude: true,
  ip_address: true,
  user_agent: true,
};

const isCoordinate = (name: string) => name === "latitude" || name === "longitude";

const metadataFits = (metadata: Metadata): boolean => {
  for (const name in metadata) if (!(name in knownMetadata)) return false;
  const { latitude, longitude } = metadata;
  return (latitude == null || decimal(latitude) !== null) &&
    (longitude == null || decimal(longitude) !== null);
};

const fits = (session: Session): boolean => {
  for (const name in session) if (!(name in known)) return false;
  return session.last_metadata == null || metadataFits(session.last_metadata);
};

/** The members of a value as JSON text: from the text as served where there is one, so that no digit is lost. */
const textMembers = (value: object, source: string | undefined): ReadonlyArray<readonly [string, string]> =>
  source !== undefined
    ? members(source)
    : Object.entries(value).filter(([, v]) => v !== undefined).map(([name, v]) => [name, JSON.stringify(v)]);

const toObject = (entries: ReadonlyArray<readonly [string, string]>): string =>
  `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;

/**
 * Whatever of a session the other columns can't hold, as the text of a JSON object; null when they hold all
 * of it. That is every field this version does not know, and coordinates that are not numbers.
 */
export const rescue = (session: Session, source?: string): string | null => {
  if (fits(session)) return null;
  const rescued: Array<readonly [string, string]> = [];
  for (const [name, value] of textMembers(session, source)) {
    if (!(name in known)) rescued.push([name, value]);
    else if (name === "last_metadata" && session.last_metadata != null) {
      const inside = textMembers(session.last_metadata, value).filter(([field, text]) =>
        isCoordinate(field)
          ? text !== "null" && decimal(JSON.parse(text)) === null
          : !(field in knownMetadata)
      );
      if (inside.length > 0) rescued.push([name, toObject(inside)]);
    }
  }
  return toObject(rescued);
};

/** The same of a text in a page's bytes. */
export const decimalAt = (bytes: Uint8Array, from: number, end: number): number | null => {
  const number = Fields.decimal(bytes, from, end);
  return Number.isNaN(number) ? decimal(Fields.text(bytes, from, end)) : number;
};

const coordinates = ["latitude", "longitude"].map((name) => place("texts", `last_metadata.${name}`));

/** Whether the other columns can hold the coordinates. */
const areNumbers = (bytes: Uint8Array, { texts, textCount }: Fields.Fields, row: number): boolean => {
  for (let i = 0; i < coordinates.length; i++) {
    const at = 2 * (row * textCount + coordinates[i]!);
    if (texts[at]! >= 0 && decimalAt(bytes, texts[at]!, texts[at + 1]!) === null) return false;
  }
  return true;
};

const inMetadata = place("objects", "last_metadata");

const rescued = (source: JsonRows.JsonRows, fields: Fields.Fields, row: number): string => {
  const { bytes } = source;
  if (!areNumbers(bytes, fields, row)) {
    const text = JsonRows.text(source, row);
    return rescue(JSON.parse(text) as Session, text)!;
  }
  const others = fields.others[row]!;
  const all: Array<string> = [];
  const inside: Array<string> = [];
  let insideAt = -1;
  for (let i = 0; i < others.length; i += Fields.OTHER) {
    const [name, nameEnd] = [others[i + 1]!, others[i + 2]!];
    const value = Fields.json(bytes, others[i + 3]!, others[i + 4]!);
    const member = `${Fields.text(bytes, name - 1, nameEnd + 1)}:${value}`;
    if (others[i] !== inMetadata) all.push(member);
    else {
      if (insideAt === -1) insideAt = all.push("") - 1;
      inside.push(member);
    }
  }
  if (insideAt !== -1) all[insideAt] = `"last_metadata":{${inside.join(",")}}`;
  return `{${all.join(",")}}`;
};

/** {@link rescue} of a session whose fields are known. */
export const rescueAt = (source: JsonRows.JsonRows, fields: Fields.Fields, row: number): string | null => {
  if (fields.others[row] === undefined && areNumbers(source.bytes, fields, row)) return null;
  const before = fields.rescued.get(row);
  if (before !== undefined) return before;
  const text = rescued(source, fields, row);
  fields.rescued.set(row, text);
  return text;
};

// Each names its field in a function of its own: engines read a field faster where it is always the same.
const metadataText = (name: string, get: (session: Session) => string | null) =>
  ({
    name,
    kind: "text",
    nullable: true,
    key: false,
    get,
    place: place("texts", `last_metadata.${name}`),
  }) satisfies Column;

const coordinate = (name: string, get: (session: Session) => number | null) =>
  ({
    name,
    kind: "number",
    nullable: true,
    key: false,
    get,
    place: place("texts", `last_metadata.${name}`),
  }) satisfies Column;

const time = (name: string, get: (session: Session) => number) =>
  ({
    name,
    kind: "timestamp",
    nullable: false,
    key: false,
    get,
    place: place("numbers", name),
  }) satisfies Column;

/** The columns, in the order every tabular format writes them. */
export const columns: ReadonlyArray<Column> = [
  { name: "user_id", kind: "text", nullable: false, key: true, get: (_, userId) => userId },
  {
    name: "session_id",
    kind: "text",
    nullable: false,
    key: true,
    get: (session) => session.session_id,
    place: place("texts", "session_id"),
  },
  {
    name: "session_key",
    kind: "text",
    nullable: true,
    key: true,
    get: (session) => session.session_key ?? null,
    place: place("texts", "session_key"),
  },
  {
    name: "client_ids",
    kind: "text_list",
    nullable: false,
    key: false,
    get: (session) => session.client_ids,
    place: place("texts", "client_ids"),
  },
  time("initiated_at", (session) => session.initiated_at),
  time("expires_at", (session) => session.expires_at),
  time("last_updated", (session) => session.last_updated),
  metadataText("country", (session) => session.last_metadata?.country ?? null),
  metadataText("region", (session) => session.last_metadata?.region ?? null),
  metadataText("city", (session) => session.last_metadata?.city ?? null),
  coordinate("latitude", (session) => decimal(session.last_metadata?.latitude)),
  coordinate("longitude", (session) => decimal(session.last_metadata?.longitude)),
  metadataText("ip_address", (session) => session.last_metadata?.ip_address ?? null),
  metadataText("user_agent", (session) => session.last_metadata?.user_agent ?? null),
  {
    name: "_rescued_data",
    kind: "json",
    nullable: true,
    key: false,
    get: (session, _, source, index) =>
      fits(session) ? null : rescue(session, source && JsonRows.text(source, index)),
  },
];

/** The values of one column over a batch, as plain arrays: what Arrow or a Parquet writer takes. */
export type Vector =
  & { readonly name: string; readonly nullable: boolean }
  & (
    | { readonly kind: "text" | "json"; readonly values: ReadonlyArray<string | null> }
    | { readonly kind: "text_list"; readonly values: ReadonlyArray<ReadonlyArray<string>> }
    /** Milliseconds since the epoch, UTC. */
    | { readonly kind: "timestamp"; readonly values: BigInt64Array }
    /** `valid[i]` is 1 where there is a value; where it is 0 `values[i]` is NaN. */
    | { readonly kind: "number"; readonly values: Float64Array; readonly valid: Uint8Array }
  );

/**
 * The columns of a batch as plain and typed arrays, one entry a session. Holds one batch.
 *
 * @example
 * ```ts
 * import { Batch, Columns } from "monocloud-sessions";
 *
 * const vectors = Columns.vectors(Batch.make("alice", [
 *   { session_id: "S1", client_ids: ["app"], initiated_at: 1640975400, expires_at: 1640983490, last_updated: 1640975400 },
 * ]));
 * const initiated = vectors.find(({ name }) => name === "initiated_at");
 * console.assert(initiated?.values[0] === 1640975400000n);
 * ```
 */
export const vectors = (batch: Pick<Batch, "userId" | "sessions" | "source">): Array<Vector> => {
  const { userId, sessions } = batch;
  const source = sourceOf(batch);
  return columns.map((column): Vector => {
    const { name, nullable } = column;
    switch (column.kind) {
      case "text":
      case "json":
        return {
          name,
          nullable,
          kind: column.kind,
          values: sessions.map((s, i) => column.get(s, userId, source, i)),
        };
      case "text_list":
        return {
          name,
          nullable,
          kind: column.kind,
          values: sessions.map((s, i) => column.get(s, userId, source, i)),
        };
      case "timestamp": {
        const values = new BigInt64Array(sessions.length);
        sessions.forEach((s, i) => values[i] = BigInt(column.get(s, userId, source, i)) * 1000n);
        return { name, nullable, kind: column.kind, values };
      }
      case "number": {
        const values = new Float64Array(sessions.length).fill(NaN);
        const valid = new Uint8Array(sessions.length);
        sessions.forEach((s, i) => {
          const value = column.get(s, userId, source, i);
          if (value !== null) {
            values[i] = value;
            valid[i] = 1;
          }
        });
        return { name, nullable, kind: column.kind, values, valid };
      }
    }
  });
};
