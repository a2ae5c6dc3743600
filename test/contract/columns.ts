/** The values of the columns, found from a session's text without the code under test. */
import { members } from "../../src/scan/JsonMembers.ts";
import * as RowSlices from "../../src/scan/RowSlices.ts";
import type { Encodable } from "../../src/format/Format.ts";

type Values = Readonly<Record<string, unknown>>;

export const topLevel = [
  "session_id",
  "session_key",
  "client_ids",
  "initiated_at",
  "expires_at",
  "last_updated",
];
export const inMetadata = ["country", "region", "city", "latitude", "longitude", "ip_address", "user_agent"];

/** The names of the columns, in their order. */
export const columnNames = ["user_id", ...topLevel, ...inMetadata, "_rescued_data"];

const isCoordinate = (name: string): boolean => name === "latitude" || name === "longitude";

const isNumber = (value: unknown): value is string =>
  typeof value === "string" && /^[+-]?[0-9]{1,9}(\.[0-9]+)?$/.test(value);

const object = (entries: ReadonlyArray<readonly [string, string]>): string =>
  `{${entries.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;

/** What no column can hold, as JSON text; null if there is nothing. */
const leftOver = (text: string): string | null => {
  const found = members(text).flatMap(([name, value]): ReadonlyArray<readonly [string, string]> => {
    if (topLevel.includes(name)) return [];
    if (name !== "last_metadata") return [[name, value]];
    const inside = value === "null"
      ? []
      : members(value).filter(([name, value]) =>
        isCoordinate(name) ? value !== "null" && !isNumber(JSON.parse(value)) : !inMetadata.includes(name)
      );
    return inside.length === 0 ? [] : [[name, object(inside)]];
  });
  return found.length === 0 ? null : object(found);
};

/** The value of each column, from the text of a session. */
export const valuesOf = (userId: string, text: string): Values => {
  const session = JSON.parse(text);
  const metadata = session.last_metadata ?? {};
  return Object.fromEntries([
    ["user_id", userId],
    ...topLevel.map((name) => [name, session[name] ?? null]),
    ...inMetadata.map((name) => {
      const value = metadata[name] ?? null;
      if (!isCoordinate(name)) return [name, value];
      return [name, isNumber(value) ? Number(value) + 0 : null];
    }),
    ["_rescued_data", leftOver(text)],
  ]);
};

/** The JSON text of each session of a batch: as served, or as the value has it. */
export const textsOf = ({ rows }: Pick<Encodable, "rows">): ReadonlyArray<string> =>
  rows._tag === "Bytes"
    ? rows.slices.from.map((_, row) => RowSlices.text(rows.slices, row))
    : rows.sessions.map((session) => JSON.stringify(session));

/** The values of the columns in each row of a batch. */
export const rowsOf = (batch: Encodable): ReadonlyArray<Values> =>
  textsOf(batch).map((text) => valuesOf(batch.userId, text));
