/**
 * A flag of a command: what help and completions say of it, beside what parses it.
 *
 * @module
 */
import * as HelpDoc from "@effect/cli/HelpDoc";
import * as Options from "@effect/cli/Options";
import * as ValidationError from "@effect/cli/ValidationError";
import * as Effect from "effect/Effect";
import type * as Option from "effect/Option";

/** Description of a flag. */
export interface About {
  /** Its name, without the dashes. */
  readonly name: string;
  /** Placeholder of its value in help; a switch has none. */
  readonly placeholder?: string | undefined;
  /** Its effect, in sentences. */
  readonly text: string;
  /** Its default, as help says it. */
  readonly byDefault?: string | undefined;
  /** Words its value may be. */
  readonly words?: ReadonlyArray<string> | undefined;
  /** True if its value is a path. */
  readonly isPath?: boolean | undefined;
  readonly isRepeatable?: boolean | undefined;
}

/** A flag that gives a value. */
export interface Flag<A> extends About {
  readonly option: Options.Options<A>;
}

/** Flags by the names that the program has for them. */
// deno-lint-ignore no-explicit-any
export type Flags = Readonly<Record<string, Flag<any>>>;

/** Flags that belong together. */
export interface Group {
  readonly title: string;
  readonly flags: Flags;
}

/** Give what parses each flag. */
export const optionsOf = <F extends Flags>(flags: F): { readonly [Name in keyof F]: F[Name]["option"] } =>
  Object.fromEntries(Object.entries(flags).map(([name, { option }]) => [name, option])) as {
    [Name in keyof F]: F[Name]["option"];
  };

/** Reader of a value, and what is said where it can't be read. */
export interface Reading<A> {
  readonly read: (text: string) => A | undefined;
  /** Name of a good value, such as "a whole number". */
  readonly must: string;
}

const invalid = (message: string) => Effect.fail(ValidationError.invalidValue(HelpDoc.p(message)));

const readAs = <A>(
  option: Options.Options<string>,
  { name }: About,
  { read, must }: Reading<A>,
): Options.Options<A> =>
  Options.mapEffect(option, (text) => {
    const value = read(text.trim());
    return value === undefined
      ? invalid(`--${name} must be ${must}: it is ${JSON.stringify(text)}`)
      : Effect.succeed(value);
  });

/** A flag that is there or not. */
export const toggle = (name: string, text: string): Flag<boolean> => ({
  name,
  text,
  option: Options.boolean(name),
});

/** A flag whose text is taken as it is. */
export const text = (about: About): Flag<Option.Option<string>> => ({
  ...about,
  option: Options.optional(Options.text(about.name)),
});

/** A flag that can be repeated. */
export const texts = (about: About): Flag<ReadonlyArray<string>> => ({
  ...about,
  isRepeatable: true,
  option: Options.repeated(Options.text(about.name)),
});

/** A flag that can be left out, which means something else than any value. */
export const optional = <A>({ read, must, ...about }: About & Reading<A>): Flag<Option.Option<A>> => ({
  ...about,
  option: Options.optional(readAs(Options.text(about.name), about, { read, must })),
});

/** A flag that has a default, written as the command line would have it. */
export const value = <A>(
  { read, must, ...about }: About & Reading<A> & { readonly byDefault: string },
): Flag<A> => ({
  ...about,
  option: readAs(Options.withDefault(Options.text(about.name), about.byDefault), about, { read, must }),
});

/** A flag that is one of a few words. */
export const choice = <Word extends string>(
  about: Omit<About, "words" | "byDefault"> & {
    readonly words: ReadonlyArray<Word>;
    readonly byDefault: Word;
  },
): Flag<Word> =>
  value<Word>({
    ...about,
    must: about.words.join(" or "),
    read: (text): Word | undefined => about.words.find((word) => word === text),
  });

/** A flag whose value is read by an effect that says what is wrong. */
export const checked = <A>(
  about: About,
  read: (text: string) => Effect.Effect<A, string>,
): Flag<Option.Option<A>> => ({
  ...about,
  option: Options.optional(Options.mapEffect(
    Options.text(about.name),
    (text) => Effect.catchAll(read(text), (flaw) => invalid(`--${about.name} can't be followed: ${flaw}`)),
  )),
});
