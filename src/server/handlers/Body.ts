/**
 * The body of a request to start an export: read within its time, and no more of all at once than fits.
 *
 * @module
 */
import type * as HttpServerRequest from "@effect/platform/HttpServerRequest";
import * as Effect from "effect/Effect";
import * as Either from "effect/Either";
import * as ParseResult from "effect/ParseResult";
import * as Schema from "effect/Schema";
import { CLOSE_BRACE, CLOSE_BRACKET, COLON, OPEN_BRACE, OPEN_BRACKET, QUOTE } from "../../scan/JsonTokens.ts";
import { skipString } from "../../scan/JsonMembers.ts";
import * as Options from "../../options/Options.ts";
import { BODY_BYTES } from "../RequestGuard.ts";
import * as Problem from "../Problem.ts";
import { wordsOf } from "./Responses.ts";
import * as Job from "../jobs/Job.ts";

/** The most bytes that bodies under way may have together: four of the largest. */
const ALL_BYTES = 4 * BODY_BYTES;

/** Limit of nesting: a description needs two levels. */
const DEEPEST = 8;

/** Tell whether the text that ends there is the name of a member: then a colon follows. */
const isName = (text: string, end: number): boolean => {
  while (/\s/.test(text.charAt(end))) end++;
  return text.charCodeAt(end) === COLON;
};

/**
 * Find what `JSON.parse` accepts and nobody means: nesting so deep that other code overflows, and a name that is there twice,
 * of which the last would win.
 */
const flawOf = (text: string): string | undefined => {
  const open: Array<Set<string> | undefined> = [];
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === OPEN_BRACE || code === OPEN_BRACKET) {
      if (open.push(code === OPEN_BRACE ? new Set() : undefined) > DEEPEST) {
        return `its lists and objects lie more than ${DEEPEST} deep`;
      }
    } else if (code === CLOSE_BRACE || code === CLOSE_BRACKET) open.pop();
    else if (code === QUOTE) {
      const end = skipString(text, at);
      const names = open.at(-1);
      if (names !== undefined && isName(text, end)) {
        const name: string = JSON.parse(text.slice(at, end));
        if (names.has(name)) return `${JSON.stringify(name.slice(0, 60))} is there twice`;
        names.add(name);
      }
      at = end - 1;
    }
  }
};

const decode = Schema.decodeUnknownEither(Job.Description);

const readDescription = Options.object(Job.optionNames);

const invalid = (detail: string) => Problem.make("invalid-request", detail);

const described = (bytes: Uint8Array): Either.Either<Job.Description, string> =>
  Either.gen(function* () {
    const value: unknown = yield* Either.try({
      try: () => {
        const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
        const flaw = flawOf(text);
        if (flaw !== undefined) throw new RangeError(flaw);
        return JSON.parse(text);
      },
      catch: (error) => error instanceof RangeError ? error.message : "its body is no JSON in UTF-8",
    });
    const known = yield* Options.read(readDescription, value);
    return yield* Either.mapLeft(
      decode(known),
      (error) => wordsOf(ParseResult.ArrayFormatter.formatErrorSync(error)),
    );
  });

/**
 * Reads a body of so many bytes. However small the pieces are that it comes in, it takes no more room than that.
 *
 * What comes after the signal is read all the same, and dropped: Deno (2.9.6) never gives back the 50 kB of a read that is
 * cancelled.
 */
const bytesOf = async ({ body }: Request, length: number, signal: AbortSignal): Promise<Uint8Array> => {
  const reader = body!.getReader();
  let bytes: Uint8Array | undefined = new Uint8Array(length);
  signal.addEventListener("abort", () => (bytes = undefined));
  let at = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    bytes?.set(next.value, at);
    at += next.value.length;
  }
  return bytes?.subarray(0, at) ?? new Uint8Array();
};

/** Reads descriptions of exports, each within so many seconds; fails with the problem that says why one can't be read. */
export const reader = (seconds: number) => {
  let held = 0;
  return (
    request: HttpServerRequest.HttpServerRequest,
  ): Effect.Effect<Job.Description, Problem.Problem> => {
    const { headers } = request;
    const [type = ""] = (headers["content-type"] ?? "application/json").split(";");
    if (type.trim().toLowerCase() !== "application/json") {
      return Effect.fail(invalid("An export is described as JSON: send content-type: application/json"));
    }
    const length = Number(headers["content-length"] ?? 0);
    if (length === 0) return Effect.fail(invalid("An export is described as JSON, and the body is empty"));
    const read = Effect.tryPromise({
      try: (signal) => bytesOf(request.source as Request, length, signal),
      catch: () => invalid("Its body broke off"),
    }).pipe(
      Effect.timeoutFail({
        duration: `${seconds} seconds`,
        onTimeout: () => Problem.make("request-timeout", `Its body has not come within ${seconds} seconds`),
      }),
      Effect.flatMap(described),
      Effect.mapError((why) =>
        typeof why === "string" ? invalid(`The export can't be started as ${why}`) : why
      ),
    );
    return Effect.suspend((): Effect.Effect<Job.Description, Problem.Problem> => {
      if (held + length > ALL_BYTES) {
        return Effect.fail(Problem.make("busy", "Too many bodies are on their way"));
      }
      held += length;
      return Effect.ensuring(read, Effect.sync(() => void (held -= length)));
    });
  };
};
