/**
 * A row of a part as it was read back, in a form that all formats can give: whether two of them say the same, and what is
 * wrong with one.
 *
 * @module
 */
import * as Batch from "../session/Batch.ts";
import { type Column, columns, type Value, valueAt } from "../session/Columns.ts";
import * as RescuedData from "../session/RescuedData.ts";
import type { RowSlices } from "../scan/RowSlices.ts";
import type { Session } from "../session/Session.ts";
import * as Formula from "./csv/Formula.ts";

export type { Value } from "../session/Columns.ts";

/** A row that was read back. */
export interface Row {
  /** The values of all columns but the last, in their order. */
  readonly values: ReadonlyArray<Value>;
  /**
   * What the other columns can't hold, the last column: its text, or whether a text says the same. NDJSON has no such
   * column; several texts may say what one of its rows does.
   */
  readonly rescued: string | null | ((text: string | null) => boolean);
  /** How text is written: see {@link Text}. */
  readonly text: Text;
}

/**
 * How a file writes text: as it is (`plain`), with a `'` before what a spreadsheet would run (`escaped`), or the one or the
 * other, where nothing says which (`either`).
 */
export type Text = "plain" | "escaped" | "either";

/** A row that is none of its format, and why. */
export interface Flaw {
  readonly flaw: string;
}

/** The columns that {@link Row.values} are of. */
export const compared: ReadonlyArray<Column> = columns.slice(0, -1);

const wellFormed = (value: Value): Value => {
  if (typeof value === "string") return value.isWellFormed() ? value : value.toWellFormed();
  return typeof value === "object" && value !== null ? value.map((text) => text.toWellFormed()) : value;
};

/** Read the columns of a row off its bytes. */
export const valuesAt = (userId: string, rows: RowSlices, row: number): ReadonlyArray<Value> =>
  compared.map((column) => wellFormed(valueAt(column, userId, rows, row)));

/**
 * Make a row of a session, for decoders that read sessions.
 *
 * @throws {TypeError} on a value that is no session.
 */
export const of = (userId: string, session: Session): Row => {
  const { slices } = Batch.toBytes(Batch.make(userId, [session])).rows;
  return { values: valuesAt(userId, slices, 0), rescued: RescuedData.at(slices, 0), text: "plain" };
};

const indexOf = (name: string) => compared.findIndex((column) => column.name === name);
const [user, session, initiated, updated] = [
  "user_id",
  "session_id",
  "initiated_at",
  "last_updated",
].map(indexOf) as [number, number, number, number];

/** What a row is known by. */
export const keyOf = ({ values }: Row): readonly [userId: string, sessionId: string] => [
  values[user] as string,
  values[session] as string,
];

/** When the row's session began, in seconds since the epoch. */
export const initiatedAt = ({ values }: Row): number => values[initiated] as number;

/** When the row's session was last used, in seconds since the epoch. */
export const lastUpdated = ({ values }: Row): number => values[updated] as number;

/**
 * Whether rows of the same key had the same key when they were written: in CSV `'=x` may be an escaped `=x`, and U+FFFD may
 * stand for any lone surrogate.
 */
export const isCertain = (row: Row): boolean =>
  keyOf(row).every((id) => !id.includes("\ufffd") && (row.text === "plain" || !id.startsWith("'")));

/** The text of a column as CSV escapes it; `isFormula` is this version's rule, or that of 0.1. */
const escaped = ({ key }: Pick<Column, "key">, text: string, isFormula = Formula.isFormula): string =>
  isFormula(text) && !(key && Formula.isPlainId(text)) ? Formula.inert(text) : text;

/** How a file that writes text so may write a key. */
export const spelled = (
  key: readonly [userId: string, sessionId: string],
  how: Text,
): ReadonlyArray<readonly [userId: string, sessionId: string]> => {
  const plain = [key[0].toWellFormed(), key[1].toWellFormed()] as const;
  if (how === "plain" || !plain.some(Formula.isFormula)) return [plain];
  const written = [Formula.isFormula, Formula.wasFormula].map((rule) =>
    [escaped(compared[user]!, plain[0], rule), escaped(compared[session]!, plain[1], rule)] as const
  );
  return how === "escaped" ? written : [plain, ...written];
};

const sameText = (column: Column, plain: string, written: string, how: Text): boolean =>
  (how !== "escaped" && plain === written) ||
  (how !== "plain" &&
    (escaped(column, plain) === written || escaped(column, plain, Formula.wasFormula) === written));

const sameTexts = (one: ReadonlyArray<string>, other: ReadonlyArray<string>): boolean =>
  one.length === other.length && one.every((text, i) => text === other[i]);

const sameValue = (column: Column, one: Value, other: Value, how: Text, otherHow: Text): boolean => {
  if (column.kind === "text" && how !== otherHow && typeof one === "string" && typeof other === "string") {
    return otherHow === "plain" ? sameText(column, other, one, how) : sameText(column, one, other, otherHow);
  }
  return one === other || (Array.isArray(one) && Array.isArray(other) && sameTexts(one, other));
};

const sameRescued = ({ rescued: one }: Row, { rescued: other }: Row): boolean => {
  if (typeof one === "function") return typeof other === "function" || one(other);
  return typeof other === "function" ? other(one) : one === other;
};

const LENGTH = 60;

const show = (value: Value | Row["rescued"]): string => {
  const text = typeof value === "function" ? "other text" : JSON.stringify(value);
  return text.length > LENGTH ? `${text.slice(0, LENGTH)}…` : text;
};

/** What a row says that differs from another; undefined if they say the same. */
export const difference = (row: Row, expected: Row): string | undefined => {
  for (let i = 0; i < compared.length; i++) {
    const [column, found, wanted] = [compared[i]!, row.values[i]!, expected.values[i]!];
    if (sameValue(column, found, wanted, row.text, expected.text)) continue;
    return `${column.name} is ${show(found)}, ${found === wanted ? "unescaped" : `not ${show(wanted)}`}`;
  }
  if (sameRescued(row, expected)) return undefined;
  return `${columns.at(-1)!.name} is ${show(row.rescued)}, not ${show(expected.rescued)}`;
};
