/** Options that must stay the same within a run and from run to run. */
import * as Effect from "effect/Effect";
import * as SessionFilters from "../api/SessionFilters.ts";
import * as Formats from "../format/Formats.ts";
import { DatasetError } from "./DatasetError.ts";
import type { DatasetOptions } from "./DatasetOptions.ts";

/** Give these options, as a run records them. */
export const fixedOptions = (
  { formats, walk = {}, onInvalid = "quarantine", options }: Pick<
    DatasetOptions<never, never>,
    "formats" | "walk" | "onInvalid" | "options"
  >,
): Readonly<Record<string, unknown>> =>
  JSON.parse(JSON.stringify({
    format: formats.map(Formats.nameOf).sort(),
    ...SessionFilters.pick(walk),
    sort: walk.sort,
    onInvalid,
    ...options,
  }));

/** Refuses to go on with other options than something was begun with; names the first that differs. */
export const sameOptions = (
  root: string,
  begun: Readonly<Record<string, unknown>>,
  now: Readonly<Record<string, unknown>>,
) => {
  const names = new Set([...Object.keys(begun), ...Object.keys(now)]);
  const say = (value: unknown) => value === undefined ? "not given" : JSON.stringify(value);
  // The server of 0.1 did not say that it escapes formulas, as is the default.
  const isSame = (name: string) =>
    say(begun[name]) === say(now[name]) ||
    (name === "keepFormulas" &&
      [begun[name], now[name]].every((value) => value === undefined || value === false));
  const name = [...names].find((name) => !isSame(name));
  if (name === "shards") {
    return new DatasetError({
      reason: "Options",
      path: root,
      message: begun[name] === undefined
        ? `Cannot go on with the export in ${root} in shards, as one process began it: go on without, or choose another folder`
        : `Cannot go on with the export in ${root} without shards, as it was begun in them: give a queue as then, or choose another folder`,
    });
  }
  return name === undefined ? Effect.void : new DatasetError({
    reason: "Options",
    path: root,
    message:
      `Cannot go on with the export in ${root}: '${name}' was ${say(begun[name])} when it began and is ` +
      `${say(now[name])} now. Give what was given then, or choose another folder`,
  });
};
