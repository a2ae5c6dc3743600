/** The plan of a scanner, derived from a schema. */
import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import * as AST from "effect/SchemaAST";
import type { Counts } from "./FieldOffsets.ts";
import * as SchemaPredicate from "./SchemaPredicate.ts";

/** A field's name with its last quote and the colon after it, also four bytes at a time, the last four at the end. */
export interface Name {
  readonly text: string;
  readonly length: number;
  readonly words: Int32Array;
}

/** The kinds of fields. */
export const TEXT = 0, NUMBER = 1, TEXTS = 2, OBJECT = 3;

export interface Field {
  readonly name: Name;
  readonly kind: typeof TEXT | typeof NUMBER | typeof TEXTS | typeof OBJECT;
  readonly nullable: boolean;
  /** The place of its value among those of its kind in a row. */
  readonly slot: number;
  /** The schema's refinement of a number, if it has one. */
  readonly accepts: ((value: unknown) => boolean) | undefined;
  /** True if a text may be empty. */
  readonly mayBeEmpty: boolean;
  readonly inside: Shape | undefined;
}

export interface Shape {
  /** The place of such an object among all of a row; the row itself is the first. */
  readonly slot: number;
  readonly fields: ReadonlyArray<Field>;
  /** The names that mean something, of fields and others. */
  readonly names: ReadonlySet<string>;
  /** A bit for each field that must be there. */
  readonly required: number;
  /** The field that came after each one the last time, and in place 0 the first: rows are written alike. */
  readonly next: Uint8Array;
}

/** The fields to look for, and the number of places that a row has for them. */
export interface ScanPlan {
  readonly shape: Shape;
  readonly counts: Counts;
}

const nameOf = (name: string): Name => {
  const bytes = new TextEncoder().encode(`${name}":`);
  const words = new Int32Array(Math.ceil(bytes.length / 4));
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < words.length; i++) words[i] = view.getInt32(Math.min(4 * i, bytes.length - 4), true);
  return { text: name, length: bytes.length, words };
};

const unsupported = (ast: AST.AST): never => {
  throw new TypeError(
    `Cannot derive a scanner as the schema must be made of structs, texts that may be empty or not, numbers and lists of texts: it holds a ${ast._tag}`,
  );
};

const members = (ast: AST.AST): ReadonlyArray<AST.AST> =>
  ast._tag === "Union" ? ast.types.flatMap(members) : [ast];

/** Gives the type that a field has where it is neither absent nor null. */
const base = (ast: AST.AST): { readonly its: AST.AST; readonly nullable: boolean } => {
  const isNull = (ast: AST.AST) => ast._tag === "Literal" && ast.literal === null;
  const all = members(ast);
  const [its, ...more] = all.filter((type) => type._tag !== "UndefinedKeyword" && !isNull(type));
  return its === undefined || more.length > 0 ? unsupported(ast) : { its, nullable: all.some(isNull) };
};

/** Tells whether it is a text that may be any but the empty one. */
const isNonEmpty = (ast: AST.AST): boolean =>
  ast._tag === "Refinement" && ast.from._tag === "StringKeyword" &&
  ast.annotations[AST.SchemaIdAnnotationId] === Schema.MinLengthSchemaId &&
  Option.exists(AST.getJSONSchemaAnnotation(ast), (of) => "minLength" in of && of.minLength === 1);

/** Gives the shape of objects of that type, whose values are counted. */
const shapeOf = (ast: AST.AST, counts: Counts, reserved: ReadonlyArray<string>): Shape => {
  if (ast._tag !== "TypeLiteral" || ast.indexSignatures.length > 0 || ast.propertySignatures.length > 31) {
    return unsupported(ast);
  }
  const slot = counts.objects++;
  const fields = ast.propertySignatures.map(({ name, type }): Field => {
    if (typeof name !== "string" || !/^\w{2,}$/.test(name)) return unsupported(ast);
    const { its, nullable } = base(type);
    const field = { name: nameOf(name), nullable, accepts: undefined, mayBeEmpty: true, inside: undefined };
    let inner = its;
    while (inner._tag === "Refinement") inner = inner.from;
    if (inner._tag === "NumberKeyword") {
      const accepts = inner === its ? undefined : SchemaPredicate.ofAst(its);
      return { ...field, kind: NUMBER, slot: counts.numbers++, accepts };
    }
    if (isNonEmpty(its)) return { ...field, kind: TEXT, slot: counts.texts++, mayBeEmpty: false };
    if (inner !== its) return unsupported(its);
    if (inner._tag === "StringKeyword") return { ...field, kind: TEXT, slot: counts.texts++ };
    if (inner._tag === "TypeLiteral") {
      return { ...field, kind: OBJECT, slot: -1, inside: shapeOf(inner, counts, []) };
    }
    const isList = inner._tag === "TupleType" && inner.elements.length === 0 && inner.rest.length === 1 &&
      inner.rest[0]!.type._tag === "StringKeyword";
    return isList ? { ...field, kind: TEXTS, slot: counts.texts++ } : unsupported(its);
  });
  let required = 0;
  ast.propertySignatures.forEach(({ isOptional }, index) => isOptional || (required |= 1 << index));
  const names = new Set([...fields.map(({ name }) => name.text), ...reserved]);
  return { slot, fields, names, required, next: new Uint8Array(fields.length + 1) };
};

/** Plan the scan of rows of a schema. Throws a TypeError for a schema that rows can't be scanned by. */
export const of = (schema: Schema.Schema.AnyNoContext, reserved: ReadonlyArray<string>): ScanPlan => {
  const counts: Counts = { texts: 0, numbers: 0, objects: 0 };
  return { shape: shapeOf(schema.ast, counts, reserved), counts };
};

/**
 * Gives the place of a field among those of its kind in a row, by the names that lead to it: `last_metadata.country`. Throws
 * a TypeError if there is no such field.
 */
export const placeOf = ({ shape }: ScanPlan, kind: "texts" | "numbers" | "objects", path: string): number => {
  let [fields, field] = [shape.fields, undefined as Field | undefined];
  for (const name of path.split(".")) {
    field = fields.find((field) => field.name.text === name);
    fields = field?.inside?.fields ?? [];
  }
  const isNumber = field?.kind === NUMBER;
  const slot = kind === "objects"
    ? field?.inside?.slot
    : isNumber === (kind === "numbers")
    ? field?.slot
    : -1;
  if (slot === undefined || slot < 0) throw new TypeError(`No field ${path} has a place among ${kind}`);
  return slot;
};
