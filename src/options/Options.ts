/**
 * Options as callers give them, read once, by the names and the kinds that there are.
 *
 * **Why nothing else is let through.** An option that is misspelt, and left out for that, is one that was never given: a
 * redaction under a wrong name exports every address. So what has no name here is refused, whatever its value.
 *
 * **What may hold options.** Plain objects alone, a null prototype included. What a class instance or a prototype holds is
 * seen by some code and not by other, so both are refused. Getters are asked once. An option that is `undefined` is left
 * out.
 */
import * as Either from "effect/Either";
import * as Redacted from "effect/Redacted";

/** A kind of value: gives the value as it is to be used, or throws a flaw. */
export type Kind<A> = (value: unknown, name: string) => A;

/** The names of an interface's options, each with its kind. A list with one too few or one too many does not compile. */
export type Names<A> = { readonly [Name in keyof A]-?: Kind<Exclude<A[Name], undefined>> };

/** A flaw of an option, worded to end a sentence that says what can't be done. */
class Flaw extends Error {}

/** Longest name that is quoted in full; whoever sends a longer one has not misspelt anything. */
const QUOTED = 60;

const quoted = (text: string): string =>
  JSON.stringify(text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text);

/** Says what a value is, and never quotes it: it may be a secret in the wrong place. */
const wordFor = (value: unknown): string => {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "a list";
  if (typeof value !== "object") return `a ${typeof value}`;
  const { constructor } = value;
  return typeof constructor === "function" && constructor !== Object
    ? `an instance of ${constructor.name || "a class"}`
    : "an object";
};

/** Counts the letters to put in, take out or change to make one word of the other. */
const distance = (one: string, other: string): number => {
  let before = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (const [row, letter] of [...one].entries()) {
    const now = [row + 1];
    for (let at = 0; at < other.length; at++) {
      now.push(Math.min(now[at]! + 1, before[at + 1]! + 1, before[at]! + (letter === other[at] ? 0 : 1)));
    }
    before = now;
  }
  return before[other.length]!;
};

const plain = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, "");

export const meant = (name: string, allowed: ReadonlyArray<string>): string | undefined => {
  const given = plain(name.slice(0, QUOTED));
  const near = allowed.map((candidate) => {
    const own = plain(candidate);
    const isPart = own.length > 1 && (given.startsWith(own) || (given.length > 1 && own.startsWith(given)));
    return [candidate, isPart ? 1 : distance(given, own)] as const;
  }).sort(([, one], [, other]) => one - other)[0];
  return near !== undefined && near[1] <= (given.length < 5 ? 1 : 2) ? near[0] : undefined;
};

/** Says that there is no such name, which there are, and which was probably meant. */
export const unknown = (what: string, name: string, allowed: ReadonlyArray<string>, within = ""): string => {
  const near = meant(name, allowed);
  const hint = near === undefined ? "" : ` (did you mean ${near}?)`;
  const there = allowed.length === 0 ? "none" : allowed.join(", ");
  return `there is no ${what} ${quoted(name)}${within && ` in ${within}`}${hint}: allowed are ${there}`;
};

/** Values that pass a test; `must` says in words what they are. */
export const kind = <A>(must: string, is: (value: unknown) => boolean): Kind<A> => (value, name) => {
  if (is(value)) return value as A;
  throw new Flaw(`'${name}' must be ${must}: it is ${wordFor(value)}`);
};

/** Any value: whoever uses it checks it. */
// deno-lint-ignore no-explicit-any
export const any: Kind<any> = (value) => value;

export const boolean: Kind<boolean> = kind("true or false", (value) => typeof value === "boolean");

export const text: Kind<string> = kind("a text", (value) => typeof value === "string");

export const number: Kind<number> = kind("a number", (value) => typeof value === "number");

// deno-lint-ignore no-explicit-any
export const callback: Kind<any> = kind("a function", (value) => typeof value === "function");

/** Takes one of a few values. */
export const oneOf =
  <const A extends string | number>(choices: ReadonlyArray<A>): Kind<A> => (value, name) => {
    if (choices.some((choice) => choice === value)) return value as A;
    const must = choices.map((choice) => JSON.stringify(choice)).join(" or ");
    const is = typeof value === "string" ? quoted(value) : wordFor(value);
    throw new Flaw(`'${name}' must be ${must}: it is ${is}`);
  };

/** Takes a value of the first kind if it is a text, else of the other. */
export const textOr = <A, B>(ofText: Kind<A>, other: Kind<B>): Kind<A | B> => (value, name) =>
  typeof value === "string" ? ofText(value, name) : other(value, name);

/** A text that is not to be shown. */
export const secret: Kind<string | Redacted.Redacted> = kind(
  "a text, or one that is Redacted",
  (value) => typeof value === "string" || Redacted.isRedacted(value),
);

/** Tell plain objects, of any realm, from class instances and from objects that inherit options. */
const isPlain = (value: unknown): value is object => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype ||
    (Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf"));
};

/** Takes options by their names. Those that are required must be there; `what` is what people call them. */
export const object = <A>(
  names: Names<A>,
  { required = [], what = "option" }: {
    readonly required?: ReadonlyArray<keyof A & string>;
    readonly what?: string;
  } = {},
): Kind<A> => {
  const allowed = Object.keys(names);
  return (value, name) => {
    if (!isPlain(value)) {
      throw new Flaw(`${name ? `'${name}'` : "the options"} must be a plain object: it is ${wordFor(value)}`);
    }
    const inFull = (key: string) => name ? `${name}.${key}` : key;
    const taken: Record<string, unknown> = {};
    for (const key of Reflect.ownKeys(value)) {
      if (typeof key === "symbol" || !Object.hasOwn(names, key)) {
        throw new Flaw(unknown(what, String(key), allowed, name && `'${name}'`));
      }
      const given = (value as Readonly<Record<string, unknown>>)[key];
      const read: Kind<unknown> = names[key as keyof A];
      if (given !== undefined) taken[key] = read(given, inFull(key));
    }
    const missing = required.find((key) => !Object.hasOwn(taken, key));
    if (missing !== undefined) throw new Flaw(`'${inFull(missing)}' must be given`);
    return taken as A;
  };
};

/** Takes options of which one has to be given, and one alone. */
export const exactlyOne = <A>(names: Names<A>): Kind<A> => {
  const read = object(names);
  return (value, name) => {
    const taken = read(value, name);
    if (Object.keys(taken as object).length === 1) return taken;
    throw new Flaw(`'${name}' must have one of ${Object.keys(names).join(" and ")}, and no more`);
  };
};

export const list = <A>(item: Kind<A>): Kind<ReadonlyArray<A>> => (value, name) => {
  if (!Array.isArray(value)) throw new Flaw(`'${name}' must be a list: it is ${wordFor(value)}`);
  return Array.from(value, (one, index) => item(one, `${name}[${index}]`));
};

/** Reads options; left is what is wrong with them. Of those that are right, nothing is shared with what was given. */
export const read = <A>(kind: Kind<A>, options: unknown, name = ""): Either.Either<A, string> => {
  try {
    return Either.right(kind(options, name));
  } catch (error) {
    if (error instanceof Flaw) return Either.left(error.message);
    throw error;
  }
};

/**
 * Reads options, to do something with them.
 *
 * @throws {TypeError} on a name that there is not, and on a value of the wrong kind.
 */
export const take = <A>(doing: string, kind: Kind<A>, options: unknown, name = ""): A =>
  Either.getOrThrowWith(read(kind, options, name), (flaw) => new TypeError(`Cannot ${doing} as ${flaw}`));

/** Gives those options that have these names, of options that have others as well. */
export const pick = <A extends object, B extends A>(names: Names<A>, options: B): A =>
  Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(names, name))) as A;
