/**
 * A row of a part as it was read back, in a form that all formats can give: whether two of them say the same, and what is
 * wrong with one.
 */
import * as Batch from "../session/Batch.ts";
import { type Column, columns, rescued, type Value, valueAt } from "../session/Columns.ts";
import * as RescuedData from "../session/RescuedData.ts";
import type { Session } from "../session/Session.ts";

export type { Value } from "../session/Columns.ts";

/** A row that was read back. */
export interface Row {
  /** The values of {@link compared}, in their order; undefined of one that the file has not. */
  readonly values: ReadonlyArray<Value | undefined>;
  /**
   * The column of what the others can't hold: its text, or a function that tells whether a text says the same. NDJSON has no such
   * column; several texts may say what one of its rows does.
   */
  readonly rescued: string | null | ((text: string | null) => boolean);
  /** A text of the last column where {@link rescued} is a function: the one that a table has. */
  readonly rescuedText?: (() => string | null) | undefined;
  /** The way that its file writes text. */
  readonly text: Text;
}

/** The way that a file writes text. A format that alters text has one value for each way it does, the same for all its files. */
export interface Text {
  /** Give all that the file may have where the text is meant: more than one where nothing says which. */
  readonly spellings: (column: Column, text: string) => ReadonlyArray<string>;
  /** Tell whether nothing else is written like it. */
  readonly isCertain: (written: string) => boolean;
  /** Give the text that was meant, the likelier one where it may be either. Left out where text is as it was. */
  readonly original?: ((column: Column, written: string) => string) | undefined;
}

/** Text as it is. */
export const plain: Text = { spellings: (_, text) => [text], isCertain: () => true };

/** The way that a file was written. */
export interface Written {
  /** The names of its columns, in their order. An older version has fewer. */
  readonly columns: ReadonlyArray<string>;
  readonly text: Text;
}

/** A row that is none of its format, and why. */
export interface Flaw {
  readonly flaw: string;
}

/** The longest text that a message quotes. */
const LENGTH = 60;

/** The columns that {@link Row.values} are of: all but that of rescued data. */
export const compared: ReadonlyArray<Column> = columns.filter((column) => column !== rescued);

const places = columns.map((column) => compared.indexOf(column));

/** Give the value that a table has of a row, by the place of its column among {@link columns}. */
export const tableValue = (
  { values, rescued, rescuedText, text: { original } }: Row,
  place: number,
): Value => {
  const index = places[place]!;
  if (index === -1) return typeof rescued === "function" ? rescuedText?.() ?? null : rescued;
  const value = values[index] ?? null;
  return typeof value === "string" && original !== undefined ? original(compared[index]!, value) : value;
};

/** Make a value one that UTF-8 can write. */
export const wellFormed = (value: Value): Value => {
  if (typeof value === "string") return value.isWellFormed() ? value : value.toWellFormed();
  return typeof value === "object" && value !== null ? value.map((text) => text.toWellFormed()) : value;
};

/**
 * Make a row of a session, for decoders that read sessions.
 *
 * @throws {TypeError} on a value that is no session.
 */
export const of = (userId: string, session: Session): Row => {
  const { slices } = Batch.toBytes(Batch.make(userId, [session])).rows;
  const values = compared.map((column) => wellFormed(valueAt(column, userId, slices, 0)));
  return { values, rescued: RescuedData.at(slices, 0), text: plain };
};

const keyColumns = ["user_id", "session_id", "initiated_at", "last_updated"];

/**
 * Give the place that each of {@link compared}, and behind them rescued data, has in a file, -1 of one that it has not.
 *
 * @throws {Error} on a column that only a later version knows, and where one that every session has is missing.
 */
export const placesIn = (names: ReadonlyArray<string>): ReadonlyArray<number> => {
  const unknown = names.find((name) => columns.every((column) => column.name !== name));
  if (unknown !== undefined) {
    throw new Error(
      `it has a column ${
        JSON.stringify(unknown.slice(0, LENGTH))
      }, which this version does not know: use the one that wrote it`,
    );
  }
  const missing = keyColumns.find((name) => !names.includes(name));
  if (missing !== undefined) throw new Error(`it has no column ${missing}`);
  return [...compared, rescued].map(({ name }) => names.indexOf(name));
};

const indexOf = (name: string) => compared.findIndex((column) => column.name === name);
const [user, session, initiated, updated] = keyColumns.map(indexOf) as [number, number, number, number];

/** Give the key of a row. */
export const keyOf = ({ values }: Row): readonly [userId: string, sessionId: string] => [
  values[user] as string,
  values[session] as string,
];

/** When the row's session began, in seconds since the epoch. */
export const initiatedAt = ({ values }: Row): number => values[initiated] as number;

/** When the row's session was last used, in seconds since the epoch. */
export const lastUpdated = ({ values }: Row): number => values[updated] as number;

/**
 * Tell whether rows of the same key had the same key when they were written: in CSV `'=x` may be an escaped `=x`, and U+FFFD may
 * stand for any lone surrogate.
 */
export const isCertain = (row: Row): boolean =>
  keyOf(row).every((id) => !id.includes("\ufffd") && row.text.isCertain(id));

/** Give the keys that a file may have where this one is meant. */
export const spelled = (
  key: readonly [userId: string, sessionId: string],
  { spellings }: Text,
): ReadonlyArray<readonly [userId: string, sessionId: string]> => {
  const ids = spellings(compared[session]!, key[1].toWellFormed());
  return spellings(compared[user]!, key[0].toWellFormed()).flatMap((userId) =>
    ids.map((id) => [userId, id] as const)
  );
};

const sameTexts = (one: ReadonlyArray<string>, other: ReadonlyArray<string>): boolean =>
  one.length === other.length && one.every((text, i) => text === other[i]);

const sameValue = (column: Column, one: Value, other: Value, how: Text, otherHow: Text): boolean => {
  if (column.kind === "text" && how !== otherHow && typeof one === "string" && typeof other === "string") {
    if (otherHow === plain) return how.spellings(column, other).includes(one);
    // Of what two formats alter, each in its way, nothing tells what it was.
    return how !== plain || otherHow.spellings(column, one).includes(other);
  }
  return one === other || (Array.isArray(one) && Array.isArray(other) && sameTexts(one, other));
};

/** Compare what other columns can't hold, of files that have the same columns. */
const sameRescued = (row: Row, expected: Row): boolean => {
  if (row.values.some((value, i) => (value === undefined) !== (expected.values[i] === undefined))) {
    return true;
  }
  const [one, other] = [row.rescued, expected.rescued];
  if (typeof one === "function") return typeof other === "function" || one(other);
  return typeof other === "function" ? other(one) : one === other;
};

const show = (value: Value | Row["rescued"]): string => {
  const text = typeof value === "function" ? "other text" : JSON.stringify(value);
  return text.length > LENGTH ? `${text.slice(0, LENGTH)}…` : text;
};

/** Tell what a row says that differs from another; undefined if they say the same. What one's file has no column for is not compared. */
export const difference = (row: Row, expected: Row): string | undefined => {
  for (let i = 0; i < compared.length; i++) {
    const [column, found, wanted] = [compared[i]!, row.values[i], expected.values[i]];
    if (found === undefined || wanted === undefined) continue;
    if (sameValue(column, found, wanted, row.text, expected.text)) continue;
    return `${column.name} is ${show(found)}, ${found === wanted ? "unescaped" : `not ${show(wanted)}`}`;
  }
  if (sameRescued(row, expected)) return undefined;
  return `${rescued.name} is ${show(row.rescued)}, not ${show(expected.rescued)}`;
};
