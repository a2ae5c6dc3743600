/**
 * The columns of every tabular format, derived from the schema of a session: each field is a column, those of `last_metadata`
 * by their own names, beside `user_id` and `_rescued_data`. CSV, Parquet, the manifest and loaders are derived from this table,
 * so they can't disagree.
 *
 * @module
 */
import * as Schema from "effect/Schema";
import type * as AST from "effect/SchemaAST";
import * as FieldOffsets from "../scan/FieldOffsets.ts";
import type { RowSlices } from "../scan/RowSlices.ts";
import * as RescuedData from "./RescuedData.ts";
import * as Session from "./Session.ts";

/** Kinds of columns, each with its SQL type. */
export const sqlTypes = {
  text: "VARCHAR",
  timestamp: "TIMESTAMPTZ",
  number: "DOUBLE",
  text_list: "VARCHAR[]",
  json: "VARCHAR",
} as const;

/** The kind of a column. */
export type Kind = keyof typeof sqlTypes;

/** One column: its name, its kind, and where its values are. */
export interface Column {
  readonly name: string;
  readonly kind: Kind;
  readonly nullable: boolean;
  /** An identifier that other tables join on: never altered on the way out. */
  readonly key: boolean;
  /**
   * The place of its field in {@link FieldOffsets}: among the numbers if it is a timestamp, among the texts otherwise. Undefined
   * of the user's id and of rescued data, which are no fields.
   */
  readonly place?: number;
}

/** Fields that other tables join on. */
const keys: ReadonlyArray<string> = ["session_id", "session_key"];

type Field = Schema.Schema.AnyNoContext | Schema.PropertySignature.All;

const typesOf = (ast: AST.AST): ReadonlyArray<AST.AST> =>
  ast._tag === "Union" ? ast.types.flatMap(typesOf) : [ast];

/** Give the type of a field besides null and absence. */
const typeOf = (field: Field): { readonly type: AST.AST | undefined; readonly nullable: boolean } => {
  const { ast } = field;
  const types = typesOf("type" in ast ? ast.type as AST.AST : ast as AST.AST);
  const isNothing = (type: AST.AST) =>
    type._tag === "UndefinedKeyword" || (type._tag === "Literal" && type.literal === null);
  const [type, ...more] = types.filter((type) => !isNothing(type));
  return { type: more.length === 0 ? type : undefined, nullable: types.some(isNothing) };
};

const innermost = (type: AST.AST): AST.AST => type._tag === "Refinement" ? innermost(type.from) : type;

const kindOf = (type: AST.AST): Kind | undefined => {
  if (type === Session.EpochSeconds.ast) return "timestamp";
  if (
    type._tag === "TupleType" && type.elements.length === 0 && type.rest[0]?.type._tag === "StringKeyword"
  ) {
    return "text_list";
  }
  return innermost(type)._tag === "StringKeyword" ? "text" : undefined;
};

/**
 * Derive a column for each field, those of objects within included.
 *
 * @throws {TypeError} on a field that no kind of column holds: then a format would leave it out in silence.
 */
export const fieldColumns = (
  fields: Readonly<Record<string, Field>>,
  place: (kind: "texts" | "numbers", path: string) => number,
  within = "",
): ReadonlyArray<Column> =>
  Object.entries(fields).flatMap(([name, field]): ReadonlyArray<Column> => {
    const path = `${within}${name}`;
    const { type, nullable } = typeOf(field);
    if (type?._tag === "TypeLiteral" && within === "") {
      const inside = Object.fromEntries(
        type.propertySignatures.map(({ name, isOptional, type }) => {
          const schema = Schema.make(type);
          return [String(name), isOptional ? Schema.UndefinedOr(schema) : schema];
        }),
      );
      return fieldColumns(inside, place, `${path}.`).map((column) => ({ ...column, nullable: true }));
    }
    const kind = type && (Session.numericFields.includes(path) ? "number" : kindOf(type));
    if (kind === undefined) {
      throw new TypeError(`No kind of column holds the field ${path}: give it one in session/Columns.ts`);
    }
    return [{
      name,
      kind,
      nullable,
      key: keys.includes(path),
      place: place(kind === "timestamp" ? "numbers" : "texts", path),
    }];
  });

/** The names of the columns of version 0.1, in their order. */
export const first: ReadonlyArray<string> =
  ("user_id session_id session_key client_ids initiated_at expires_at last_updated country region city latitude longitude " +
    "ip_address user_agent _rescued_data").split(" ");

/** The names of those that came since, in the order of their versions. A release appends its own, so that they stay in place. */
const later: ReadonlyArray<string> = [];

const released = [...first, ...later];
const rankOf = ({ name }: Column) => released.includes(name) ? released.indexOf(name) : released.length;

/** The column of what no other holds. */
export const rescued: Column = { name: "_rescued_data", kind: "json", nullable: true, key: false };

/** The columns, in the order every tabular format writes them: a new one behind all others, for who loads them by position. */
export const columns: ReadonlyArray<Column> = [
  { name: "user_id", kind: "text", nullable: false, key: true } as const,
  ...fieldColumns(Session.Session.fields, Session.place),
  rescued,
].sort((one, other) => rankOf(one) - rankOf(other));

const names = new Set(columns.map(({ name }) => name));
if (names.size < columns.length) throw new TypeError("Two fields have a column of the same name");

/** A value of a column: text, null, a number, seconds since the epoch, a list of texts. */
export type Value = string | number | null | ReadonlyArray<string>;

/** Read the value of a column in one row. Formats read many at once, by loops of their own. */
export const valueAt = (
  { name, kind, place }: Column,
  userId: string,
  rows: RowSlices,
  row: number,
): Value => {
  if (place === undefined) return name === "user_id" ? userId : RescuedData.at(rows, row);
  const { bytes, fields } = rows;
  if (kind === "timestamp") return fields.numbers[row * fields.numberCount + place]!;
  const at = FieldOffsets.placeOf(fields, row, place);
  const [from, end] = [fields.texts[at]!, fields.texts[at + 1]!];
  if (from < 0) return null;
  if (kind === "number") return RescuedData.decimalAt(bytes, from, end);
  return kind === "text_list"
    ? JSON.parse(FieldOffsets.json(bytes, from, end))
    : FieldOffsets.text(bytes, from, end);
};
