/**
 * A target in PostgreSQL, 15 or later, as an entry of the package. Needs the packages `pg` and `pg-copy-streams`.
 *
 * @module
 */
import * as Options from "../options/Options.ts";
import type { PostgresOptions, Target } from "../plain/Target.ts";
import * as Postgres from "./targets/postgres.ts";

export type * from "../plain/Target.ts";

const kind = Options.object<PostgresOptions>({
  url: Options.text,
  password: Options.text,
  schema: Options.text,
  patience: Options.number,
}, { required: ["url"] });

/**
 * Make a target in PostgreSQL. It connects once a run begins, with a connection of its own for as long as that lasts.
 *
 * Memory: a few thousand rows on their way.
 *
 * @throws {TypeError} on an option that there is not, or of the wrong kind, and on a URL that is none.
 *
 * @example
 * ```ts
 * import { isTargetError, sync } from "monocloud-sessions/promise";
 * import { make as makeTarget } from "monocloud-sessions/postgres";
 * import { make } from "monocloud-sessions/sandbox";
 *
 * const sandbox = make({ users: 1 });
 * // Nobody listens there; yours is reached.
 * const target = makeTarget({ url: "postgres://loader@127.0.0.1:1/warehouse", password: "secret" });
 * try {
 *   await sync({
 *     domain: "sandbox.example",
 *     apiKey: sandbox.key,
 *     users: "all",
 *     target,
 *     maxElapsed: "1 second",
 *     fetch: (input, init) => sandbox.fetch(new Request(input, init)),
 *   });
 * } catch (error) {
 *   console.assert(isTargetError(error) && error.reason === "Unreachable");
 * }
 * ```
 */
export const make = (given: PostgresOptions): Target =>
  Postgres.make(Options.take("make a target in PostgreSQL", kind, given));
