/**
 * The column `_rescued_data`: whatever of a session no other column holds, such as fields that this version does not know, and
 * coordinates that are not numbers.
 */
import * as Schema from "effect/Schema";
import * as FieldOffsets from "../scan/FieldOffsets.ts";
import { members } from "../scan/JsonMembers.ts";
import * as MemoTable from "../scan/MemoTable.ts";
import type { RowSlices } from "../scan/RowSlices.ts";
import * as Session from "./Session.ts";

/**
 * A coordinate as a number, or null where the text is no decimal number. "-0.0" is 0: not every format has a -0. People sign
 * in from few places, so those are remembered.
 */
const toNumber = MemoTable.of(
  4096,
  (text: string): number | null => /^[+-]?\d{1,9}(\.\d+)?$/.test(text) ? Number(text) + 0 : null,
);

/** Read a text in a page's bytes as a decimal number; null where it is none. */
export const decimalAt = (bytes: Uint8Array, from: number, end: number): number | null => {
  const number = FieldOffsets.decimal(bytes, from, end);
  return Number.isNaN(number) ? toNumber(FieldOffsets.text(bytes, from, end)) : number;
};

/** Places that a scanner gives to the fields that are looked at here. */
interface Places {
  /** Fields that a column of numbers may not hold: all lie in `last_metadata`. */
  readonly coordinates: ReadonlyArray<{ readonly name: string; readonly slot: number }>;
  readonly metadata: number | undefined;
}

const isNoNumber = (rows: RowSlices, row: number, slot: number): boolean => {
  const { bytes, fields } = rows;
  const at = FieldOffsets.placeOf(fields, row, slot);
  const from = fields.texts[at]!;
  return from >= 0 && decimalAt(bytes, from, fields.texts[at + 1]!) === null;
};

const areNumbers = (rows: RowSlices, row: number, { coordinates }: Places): boolean => {
  for (let i = 0; i < coordinates.length; i++) if (isNoNumber(rows, row, coordinates[i]!.slot)) return false;
  return true;
};

/** A member of a row: where it lies, whether within `last_metadata`, and its text. */
interface Member {
  readonly at: number;
  readonly isInside: boolean;
  readonly text: string;
}

/** Move an end of text by so many bytes, whether it is complemented or not. */
const moved = (end: number, by: number): number => end < 0 ? ~(~end + by) : end + by;

const membersOf = (
  rows: RowSlices,
  row: number,
  { coordinates, metadata }: Places,
): ReadonlyArray<Member> => {
  const { bytes, fields } = rows;
  const others = fields.others[row] ?? [];
  const members: Array<Member> = [];
  for (let i = 0; i < others.length; i += FieldOffsets.OTHER) {
    const [slot, name, nameEnd, from, end] = others.slice(i, i + FieldOffsets.OTHER) as [
      number,
      number,
      number,
      number,
      number,
    ];
    const quoted = FieldOffsets.json(bytes, name - 1, moved(nameEnd, 1));
    members.push({
      at: from,
      isInside: slot === metadata,
      text: `${quoted}:${FieldOffsets.json(bytes, from, end)}`,
    });
  }
  for (const { name, slot } of coordinates) {
    if (!isNoNumber(rows, row, slot)) continue;
    const at = FieldOffsets.placeOf(fields, row, slot);
    const [from, end] = [fields.texts[at]!, fields.texts[at + 1]!];
    const text = FieldOffsets.json(bytes, from - 1, moved(end, 1));
    members.push({ at: from, isInside: true, text: `"${name}":${text}` });
  }
  return members.sort((one, other) => one.at - other.at);
};

const textOf = (members: ReadonlyArray<Member>): string => {
  const inside = members.filter(({ isInside }) => isInside).map(({ text }) => text);
  const first = members.findIndex(({ isInside }) => isInside);
  const all = members.flatMap(({ isInside, text }, index) =>
    index === first ? [`"last_metadata":{${inside.join(",")}}`] : isInside ? [] : [text]
  );
  return `{${all.join(",")}}`;
};

/** The value that a column has of a JSON value; undefined where it is of another type, and stays where it is. */
const columnValue = (
  kind: "text" | "text_list" | "timestamp" | "number",
  json: string,
): ColumnValue | undefined => {
  const value: unknown = JSON.parse(json);
  if (value === null) return null;
  switch (kind) {
    case "text":
      return typeof value === "string" ? value : undefined;
    case "number":
      return typeof value === "string" ? toNumber(value) ?? undefined : undefined;
    case "timestamp":
      return Schema.is(Session.EpochSeconds)(value) ? value : undefined;
    case "text_list":
      return Array.isArray(value) && value.every((text) => typeof text === "string") ? value : undefined;
  }
};

type ColumnValue = string | number | null | ReadonlyArray<string>;

/** A column that was none when a text was written. */
export interface NewColumn {
  readonly name: string;
  readonly kind: "text" | "text_list" | "timestamp" | "number";
  /** True of a field of `last_metadata`. */
  readonly isInside: boolean;
}

const objectOf = (all: ReadonlyArray<readonly [name: string, value: string]>): string | undefined =>
  all.length === 0
    ? undefined
    : `{${all.map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;

/** Take the values of columns out of rescued data that an earlier version wrote; gives what is left, null if nothing is. */
export const split = (
  text: string,
  columns: ReadonlyArray<NewColumn>,
): { readonly values: ReadonlyArray<ColumnValue>; readonly rest: string | null } => {
  const values = new Map<NewColumn, ColumnValue>();
  const without = (json: string, isInside: boolean) =>
    members(json).flatMap(([name, value]): Array<readonly [string, string]> => {
      const column = columns.find((column) => column.name === name && column.isInside === isInside);
      const found = column && columnValue(column.kind, value);
      if (column !== undefined && found !== undefined) {
        values.set(column, found);
        return [];
      }
      if (isInside || name !== "last_metadata" || !value.startsWith("{")) return [[name, value]];
      const rest = objectOf(without(value, true));
      return rest === undefined ? [] : [[name, rest]];
    });
  const rest = objectOf(without(text, false)) ?? null;
  return { values: columns.map((column) => values.get(column) ?? null), rest };
};

/** Make what {@link at} is, for rows of a scanner that puts fields elsewhere, or knows fewer of them. */
export const reader = (place: (kind: "texts" | "objects", path: string) => number | undefined) => {
  const places: Places = {
    coordinates: Session.numericFields.flatMap((path) => {
      const slot = place("texts", path);
      return slot === undefined ? [] : [{ name: path.replace("last_metadata.", ""), slot }];
    }),
    metadata: place("objects", "last_metadata"),
  };
  return (rows: RowSlices, row: number): string | null => {
    const { others, rescued } = rows.fields;
    if (others[row] === undefined && areNumbers(rows, row, places)) return null;
    const before = rescued.get(row);
    if (before !== undefined) return before;
    const text = textOf(membersOf(rows, row, places));
    rescued.set(row, text);
    return text;
  };
};

/**
 * Give whatever of a row the other columns can't hold, as the text of a JSON object: each value as served, so that no digit is
 * lost. Null where they hold all of it, as they nearly always do.
 */
export const at = reader(Session.place);
