/**
 * Reads JSON that anyone may have written: what is nested deep, or has a great many values, is refused before anything
 * recurses into it or holds it.
 */
import * as Either from "effect/Either";
import * as ParseResult from "effect/ParseResult";
import * as Schema from "effect/Schema";

/** Nothing that this program writes is nested a tenth as deep. */
const DEEPEST = 100;

/** A value takes 16 bytes at the least of what this program writes: so many are in no file that it may read. */
const MOST = 1 << 24;

/** The names of fields that this program writes are some dozens. Where there are millions, each takes a moment. */
const NAMES = 500;
/** Text that is no longer can't have so many that it matters. */
const SHORT = 1 << 20;

const isEscaped = (text: string, quote: number): boolean => {
  let before = quote;
  while (text.charCodeAt(before - 1) === 0x5c) before--;
  return (quote - before) % 2 === 1;
};

const check = (text: string): void => {
  let depth = 0;
  let values = 1;
  let [from, to] = [0, 0];
  const names = new Set<string>();
  for (let i = 0; i < text.length; i++) {
    switch (text.charCodeAt(i)) {
      case 0x22: // "
        from = i;
        do {
          i = text.indexOf('"', i + 1);
          if (i === -1) return;
        } while (isEscaped(text, i));
        to = i;
        break;
      case 0x3a: // :
        if (text.length > SHORT) names.add(text.slice(from, to));
        if (names.size > NAMES) throw new SyntaxError(`it has more than ${NAMES} names of fields`);
        break;
      case 0x5b: // [
      case 0x7b: // {
        if (++depth > DEEPEST) throw new SyntaxError(`it is nested more than ${DEEPEST} deep`);
        values++;
        break;
      case 0x5d: // ]
      case 0x7d: // }
        depth--;
        break;
      case 0x2c: // ,
        values++;
    }
    if (values > MOST) throw new SyntaxError(`it has more than ${MOST} values`);
  }
};

/** Reads a value; throws an error that goes on from `is damaged:`. */
export const parse = (text: string): unknown => {
  check(text);
  try {
    return JSON.parse(text);
  } catch {
    throw new SyntaxError("it is not JSON");
  }
};

const LENGTH = 200;

/** Text that may be of any length, as it is shown in a message. */
export const brief = (text: string): string => text.length > LENGTH ? `${text.slice(0, LENGTH)}…` : text;

/** The first that is wrong with a value, by its path. */
export const flawOf = (error: ParseResult.ParseError): string => {
  const [{ path = [], message = "" } = {}] = ParseResult.ArrayFormatter.formatErrorSync(error);
  return brief(path.length === 0 ? message : `${path.join(".")}: ${message}`);
};

/** Reads lines of JSON of one shape; says of another one that it `is no` such thing. */
export const lineDecoder = <A, I>(schema: Schema.Schema<A, I>, what: string) => {
  const decode = Schema.decodeUnknownEither(schema);
  return (text: string): Either.Either<A, string> => {
    let value: unknown;
    try {
      value = parse(text);
    } catch (error) {
      return Either.left(`is no ${what}: ${(error as Error).message}`);
    }
    return Either.mapLeft(decode(value), (error) => `is no ${what}: ${flawOf(error)}`);
  };
};
