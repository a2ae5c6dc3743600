/** A flag of a command: what help and completions say of it, beside what reads it. */
import * as Either from "effect/Either";
import { usageError } from "../ExitCode.ts";

export interface About {
  readonly name: string;
  /** Placeholder of its value in help; a switch has none. */
  readonly placeholder?: string | undefined;
  /** Its effect, in sentences. */
  readonly text: string;
  readonly byDefault?: string | undefined;
  readonly words?: ReadonlyArray<string> | undefined;
  readonly isPath?: boolean | undefined;
  readonly isRepeatable?: boolean | undefined;
}

/** A flag, read from what was given of it: a text for each time, undefined where it was left out. */
export interface Flag<A> extends About {
  readonly read: (given: ReadonlyArray<string> | undefined) => A;
}

/** Flags by the names that the program has for them. */
// deno-lint-ignore no-explicit-any
export type Flags = Readonly<Record<string, Flag<any>>>;

export type Values<F> = { readonly [Name in keyof F]: F[Name] extends Flag<infer A> ? A : never };

export interface Group {
  readonly title: string;
  readonly flags: Flags;
}

export interface Reading<A> {
  readonly read: (text: string) => A | undefined;
  /** Name of a good value, such as "a whole number". */
  readonly must: string;
}

const valueOf = <A>({ name }: About, { read, must }: Reading<A>, text: string): A => {
  const value = read(text.trim());
  if (value !== undefined) return value;
  throw usageError(`--${name} must be ${must}: it is ${JSON.stringify(text)}`);
};

export const toggle = (name: string, text: string): Flag<boolean> => ({
  name,
  text,
  read: (given) => given !== undefined,
});

/** A flag whose text is taken as it is. */
export const text = (about: About): Flag<string | undefined> => ({ ...about, read: (given) => given?.[0] });

export const texts = (about: About): Flag<ReadonlyArray<string>> => ({
  ...about,
  isRepeatable: true,
  read: (given = []) => given,
});

/** A flag that can be left out, which means something else than any value. */
export const optional = <A>({ read, must, ...about }: About & Reading<A>): Flag<A | undefined> => ({
  ...about,
  read: (given) => given && valueOf(about, { read, must }, given[0]!),
});

/** A flag that has a default, written as the command line would have it. */
export const value = <A>(
  { read, must, ...about }: About & Reading<A> & { readonly byDefault: string },
): Flag<A> => ({
  ...about,
  read: (given) => valueOf(about, { read, must }, given?.[0] ?? about.byDefault),
});

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

/** A flag whose reader says by itself what is wrong. */
export const checked = <A>(
  about: About,
  read: (text: string) => Either.Either<A, string>,
): Flag<A | undefined> => ({
  ...about,
  read: (given) =>
    given && Either.getOrThrowWith(
      read(given[0]!),
      (flaw) => usageError(`--${about.name} can't be followed: ${flaw}`),
    ),
});
