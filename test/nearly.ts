/** Options as people, and worse, may give them: right ones, nearly right ones, and objects that are not what they look like. */
import * as fc from "fast-check";

/** What is given, and whether all of it is what there is, of the right kind, in a plain object. */
export interface Given {
  readonly value: unknown;
  readonly isRight: boolean;
  /** What it says, if it is right. */
  readonly says: Readonly<Record<string, unknown>>;
}

const misspelt = (name: string): ReadonlyArray<string> => [
  name.toUpperCase(),
  `${name}s`,
  `${name} `,
  name.slice(1),
  name.includes("_") ? name.replaceAll("_", "") : `${name.slice(0, 2)}_${name.slice(2)}`,
];

/** Names that nobody gave, or that mean something to an object. */
const strange = [
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "valueOf",
  "then",
  "",
];

class Settings {}

const define = (target: object, name: PropertyKey, property: PropertyDescriptor) =>
  Object.defineProperty(target, name, { enumerable: true, configurable: true, ...property });

/** Ways to hold the same options: those of the first kind are plain. */
const ways = ["plain", "null prototype", "getters", "hidden", "inherited", "instance", "symbol"] as const;

const holding = (way: typeof ways[number], entries: ReadonlyArray<readonly [string, unknown]>): object => {
  const made: object = way === "null prototype"
    ? Object.create(null)
    : way === "instance"
    ? new Settings()
    : {};
  for (const [name, value] of entries) {
    if (way === "getters") define(made, name, { get: () => value });
    else define(made, name, { value, writable: true, enumerable: way !== "hidden" });
  }
  if (way === "symbol") define(made, Symbol("redact"), { value: {} });
  return way === "inherited" ? Object.create(made) : made;
};

/** The names that there are, each with values that are right and with values that are not. */
export type Kinds = Readonly<
  Record<string, { readonly right: fc.Arbitrary<unknown>; readonly wrong?: fc.Arbitrary<unknown> }>
>;

const mostly = <A, B>(usual: A, other: fc.Arbitrary<B>): fc.Arbitrary<A | B> =>
  fc.oneof({ weight: 4, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: other });

/** Objects with some of these names; half of them are as they should be. `fixed` is there whatever else is. */
export const nearly = (
  kinds: Kinds,
  { fixed = {}, json = false }: {
    readonly fixed?: Readonly<Record<string, unknown>>;
    readonly json?: boolean;
  } = {},
): fc.Arbitrary<Given> => {
  const names = Object.keys(kinds);
  const known = fc.record(
    Object.fromEntries(names.map((name) => [name, kinds[name]!.right])),
    { requiredKeys: [] },
  );
  const others = [...names.flatMap(misspelt), ...strange].filter((name) =>
    !(name in { ...kinds, ...fixed } && Object.hasOwn(kinds, name))
  );
  const more = fc.dictionary(
    fc.oneof(
      fc.constantFrom(...others),
      fc.string().filter((name) => !names.includes(name) && !(name in fixed)),
    ),
    json ? fc.jsonValue() : fc.anything(),
    { minKeys: 1, maxKeys: 2 },
  );
  const bad = fc.constantFrom(...names.filter((name) => kinds[name]!.wrong !== undefined)).chain((name) =>
    kinds[name]!.wrong!.map((value) => [name, value] as const)
  );
  const plainWays = json ? ["plain"] as const : ways;
  return fc.record({
    known,
    more: mostly({}, more),
    bad: mostly(undefined, bad),
    way: fc.oneof({ weight: 3, arbitrary: fc.constant("plain" as const) }, fc.constantFrom(...plainWays)),
  }).map(({ known, more, bad, way }) => {
    const entries = new Map<string, unknown>([
      ...Object.entries(fixed),
      ...Object.entries(known),
      ...(bad === undefined ? [] : [bad]),
      ...Object.entries(more),
    ]);
    const isPlain = way !== "inherited" && way !== "instance" && way !== "symbol";
    const isWrong = bad !== undefined || Object.keys(more).length > 0;
    return {
      value: holding(way, [...entries]),
      isRight: isPlain && !isWrong,
      says: Object.fromEntries([...entries].filter(([, value]) => value !== undefined)),
    };
  });
};

const notOf = (...choices: ReadonlyArray<string>) =>
  fc.anything().filter((value) => value !== undefined && !choices.includes(value as string));

const action = (...choices: ReadonlyArray<string>) => ({
  right: fc.constantFrom(...choices, undefined),
  wrong: fc.oneof(notOf(...choices), fc.constantFrom("Drop", "drop ", "mask", "", null, true)),
});

/** What a redaction may say. */
export const policyKinds: Kinds = {
  ip: action("keep", "truncate", "hash", "drop"),
  user_agent: action("keep", "hash", "drop"),
  location: action("keep", "truncate", "hash", "drop"),
  session_key: action("keep", "hash", "drop"),
  unknown: action("keep", "drop"),
};

/** The addresses that a text holds. */
export const addressesIn = (text: string): ReadonlyArray<string> =>
  text.match(/\b\d{1,3}(\.\d{1,3}){3}\b|\b[0-9a-f]{1,4}(:[0-9a-f]{0,4}){3,7}\b/g) ?? [];
