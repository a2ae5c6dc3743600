/**
 * A predicate that says of a value what a schema says, many times as fast, derived from the schema itself. It tells nothing
 * but yes or no: ask the schema why not.
 */
import * as Option from "effect/Option";
import * as Predicate from "effect/Predicate";
import type * as Schema from "effect/Schema";
import type * as AST from "effect/SchemaAST";

type Guard = (value: unknown) => boolean;

const ofObject = (ast: AST.TypeLiteral): Guard => {
  if (ast.indexSignatures.length > 0) return unsupported(ast);
  const fields = ast.propertySignatures.map(({ name, isOptional, type }) => ({
    name: name as string,
    isOptional,
    isInherited: name in Object.prototype,
    accepts: ofAst(type),
  }));
  return (value) => {
    if (!Predicate.isRecord(value)) return false;
    // Of a plain object a field that has a value is its own: there is no need to ask.
    const isPlain = Object.getPrototypeOf(value) === Object.prototype;
    for (let i = 0; i < fields.length; i++) {
      const { name, isOptional, isInherited, accepts } = fields[i]!;
      const field = value[name];
      const isThere = isPlain && !isInherited && field !== undefined || Object.hasOwn(value, name);
      if (isThere ? !accepts(field) : !isOptional) return false;
    }
    return true;
  };
};

const ofUnion = (ast: AST.Union): Guard => {
  const members = ast.types.map(ofAst);
  return (value) => {
    for (let i = 0; i < members.length; i++) if (members[i]!(value)) return true;
    return false;
  };
};

const ofArray = (ast: AST.TupleType): Guard => {
  const [rest, ...more] = ast.rest;
  if (ast.elements.length > 0 || rest === undefined || more.length > 0) return unsupported(ast);
  const accepts = ofAst(rest.type);
  return (value) => {
    if (!Array.isArray(value)) return false;
    for (let i = 0; i < value.length; i++) if (!accepts(value[i])) return false;
    return true;
  };
};

const ofRefinement = (ast: AST.Refinement): Guard => {
  const isBase = ofAst(ast.from);
  const options: AST.ParseOptions = {};
  return (value) => isBase(value) && Option.isNone(ast.filter(value, options, ast));
};

const unsupported = (ast: AST.AST): never => {
  throw new TypeError(
    `Cannot derive a guard as the schema must be made of plain types: it holds a ${ast._tag}`,
  );
};

/** Derives the same of what a schema is made of. */
export const ofAst = (ast: AST.AST): Guard => {
  switch (ast._tag) {
    case "StringKeyword":
      return Predicate.isString;
    case "NumberKeyword":
      return Predicate.isNumber;
    case "BooleanKeyword":
      return Predicate.isBoolean;
    case "UndefinedKeyword":
      return Predicate.isUndefined;
    case "Literal":
      return (value) => value === ast.literal;
    case "Union":
      return ofUnion(ast);
    case "TypeLiteral":
      return ofObject(ast);
    case "TupleType":
      return ofArray(ast);
    case "Refinement":
      return ofRefinement(ast);
    default:
      return unsupported(ast);
  }
};

/**
 * Derives the guard of a schema that transforms nothing: made of structs, arrays, unions, literals, strings, numbers,
 * booleans and refinements of them. Throws a TypeError for any other.
 */
export const of = <A>(schema: Schema.Schema<A>): (value: unknown) => value is A =>
  ofAst(schema.ast) as (value: unknown) => value is A;
