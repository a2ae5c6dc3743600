/**
 * Printing of commands: never a control character of someone else's, and never a crash because the reader has gone.
 */
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Logger from "effect/Logger";
import type { Sink, SinkError } from "../../sink/Sink.ts";
import { coloured, plain, type Style } from "../help/Layout.ts";
import * as WebSink from "../../sink/WebSink.ts";

// Control characters, line breaks of all kinds, and what has no shape, such as marks that turn the direction of writing.
const unprintable = /[\p{Cc}\p{Cf}\p{DI}\p{Zl}\p{Zp}]/gu;

/** Escapes such as `\u001b`, one for each code unit. */
const escapes = (char: string): string =>
  Array.from({ length: char.length }, (_, at) => `\\u${char.charCodeAt(at).toString(16).padStart(4, "0")}`)
    .join("");

/**
 * The text on one line, with escapes such as `\u001b` for what a terminal would obey instead of show: ids and messages
 * come from files and servers.
 */
export const printable = (text: string): string => text.replace(unprintable, escapes);

/** A value as JSON on one line that a terminal shows as it is. */
export const printableJson = (value: unknown): string =>
  printable(JSON.stringify(value, (_, inner: unknown) => isObject(inner) ? withJsonNames(inner) : inner));

const isObject = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The names of fields in JSON, where they are others than in code. */
const jsonNames: Readonly<Record<string, string>> = {
  unverifiedReasons: "unverified_reasons",
  userListUnverifiedReasons: "user_list_unverified_reasons",
};

const withJsonNames = (value: object): object =>
  Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      jsonNames[name] ?? name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      inner,
    ]),
  );

const CLEAR = "\r\u001b[K";

let isBarDrawn = false;

export const drawBar = (text: string): void => {
  isBarDrawn = true;
  process.stderr.write(`${CLEAR}${text}`);
};

export const clearBar = (): void => {
  if (isBarDrawn) process.stderr.write(CLEAR);
  isBarDrawn = false;
};

/** Print a line on standard error; a bar that is there is cleared, and drawn anew below it. */
const sayLine = (line: string): void => {
  clearBar();
  process.stderr.write(`${printable(line)}\n`);
};

export const say = (lines: ReadonlyArray<string>): Effect.Effect<void> =>
  Effect.sync(() => lines.forEach(sayLine));

/** Layer that tells what the library logs on standard error, a line each. */
export const logger = Logger.replace(
  Logger.defaultLogger,
  Logger.make(({ message }) => sayLine((Array.isArray(message) ? message : [message]).join(" "))),
);

const { Deno: deno } = globalThis as {
  readonly Deno?: { readonly stdout: { readonly write: (bytes: Uint8Array) => Promise<number> } };
};

const writeOut = (bytes: Uint8Array): Promise<void> =>
  new Promise((done, failed) => {
    process.stdout.write(bytes, (error) => error ? failed(error) : done());
  });

/** Under Deno, `process.stdout` lets nothing else happen until the bytes are read, and no signal arrive. */
const writeOutOfDeno = async (bytes: Uint8Array): Promise<void> => {
  for (let at = 0; at < bytes.length;) at += await deno!.stdout.write(bytes.subarray(at));
};

/** Standard output. Its end is left to the process. */
export const stdout = (): Sink =>
  WebSink.make(
    "standard output",
    new WritableStream({ write: deno === undefined ? writeOut : writeOutOfDeno }),
  );

/** Lines on standard output, for people or programs; returns when they have left. */
export const print = (lines: ReadonlyArray<string>): Effect.Effect<void, SinkError> =>
  Effect.scoped(Effect.gen(function* () {
    const sink = yield* stdout().open;
    yield* sink.write(new TextEncoder().encode(lines.map((line) => `${line}\n`).join("")));
    yield* sink.commit;
  }));

/**
 * Outlives readers that have gone. A write to standard output reports that itself; without its reader, what standard
 * error would have said is lost, and the work goes on.
 */
export const guard: Effect.Effect<void> = Effect.sync(() => {
  process.stdout.on("error", () => {});
  process.stderr.on("error", () => {});
});

const COLUMNS = 80;

/** Give the style of standard output: in colour on a terminal, unless `NO_COLOR` is set. */
export const look = (): { readonly width: number; readonly style: Style } => {
  const isColoured = process.stdout.isTTY === true && !process.env["NO_COLOR"];
  return { width: process.stdout.columns || COLUMNS, style: isColoured ? coloured : plain };
};
