/**
 * Lines about requests and exports, one each. They name nobody: only {@link fields} are written, and none of these holds a
 * key, a token, a user's id, a path or a query as it was sent.
 *
 * @module
 */
import * as Effect from "effect/Effect";
import type * as Layer from "effect/Layer";
import * as Logger from "effect/Logger";
import type { Line } from "./Line.ts";

/** Names of fields, in the order in which they are written. */
const fields = [
  ...["id", "method", "route", "status", "bytes", "seconds", "ended"],
  ...["users", "sessions", "quarantined", "missing", "failed", "unverified"],
  ...["reason", "path", "at"],
] as const;

/** Fields of a line besides time, level and message. */
export type Fields = { readonly [Name in typeof fields[number]]?: string | number | undefined };

/** Characters that end a line, that a terminal obeys, or that have no shape. */
const unprintable = /[\s\p{Cc}\p{Cf}\p{DI}\p{Zl}\p{Zp}]+/gu;

/** Puts a text on one line, without what a terminal would obey. */
export const oneLine = (text: string): string => text.replace(unprintable, " ").trim();

const textOf = (line: Line): string =>
  Object.entries(line).map(([name, value]) => {
    const text = oneLine(String(value));
    return `${name}=${/^[^\s"=]+$/.test(text) ? text : JSON.stringify(text)}`;
  }).join(" ");

/** Forms in which lines are printed on standard error. */
export const forms = ["text", "json", "off"] as const;

/** Destination of lines: standard error, in one of {@link forms}, or a function. */
export type Destination = typeof forms[number] | ((line: Line) => void);

/** Prints a line on standard error. */
export const print = {
  text: (line: Line) => console.error(textOf(line)),
  json: (line: Line) => console.error(oneLine(JSON.stringify(line))),
  off: () => {},
};

/** Sends lines there. What a function throws is dropped: no request fails for it. */
export const layer = (destination: Destination): Layer.Layer<never> => {
  const write = typeof destination === "function" ? destination : print[destination];
  return Logger.replace(
    Logger.defaultLogger,
    Logger.map(Logger.structuredLogger, ({ timestamp, logLevel, message, annotations }) => {
      const known = fields.filter((name) => annotations[name] !== undefined);
      const line = {
        time: timestamp,
        level: logLevel,
        message: String(message),
        ...Object.fromEntries(known.map((name) => [name, annotations[name]])),
      } as Line;
      try {
        write(line);
      } catch {
        // Whoever gave the function has to look after it.
      }
    }),
  );
};

/** Says on standard error that the server listens: a line for people, unless all lines are JSON. */
export const sayListening = (destination: Destination, url: string): void => {
  const message = `Listening on ${url}`;
  if (destination === "json") print.json({ time: new Date().toISOString(), level: "INFO", message });
  else console.error(message);
};

/** Logs what happened as it should. */
export const info = (message: string, about: Fields): Effect.Effect<void> =>
  Effect.annotateLogs(Effect.logInfo(message), about);

/** Logs what somebody may have to look into. */
export const warn = (message: string, about: Fields): Effect.Effect<void> =>
  Effect.annotateLogs(Effect.logWarning(message), about);
