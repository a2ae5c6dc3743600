/**
 * The commands, in the order of help.
 *
 * @module
 */
import * as check from "./check.ts";
import * as exporting from "./export.ts";
import * as replaying from "./replay.ts";
import * as sandbox from "./sandbox.ts";
import * as serving from "./serve.ts";
import * as users from "./users.ts";
import * as verifying from "./verify.ts";

/** What each is and takes: of this come help, completions and the checks of a command line. */
export const specs = [
  exporting.spec,
  check.spec,
  users.spec,
  verifying.spec,
  replaying.spec,
  serving.spec,
  sandbox.spec,
];

/** What each does, as the parser takes them. */
export const commands = [
  exporting.command,
  check.command,
  users.command,
  verifying.command,
  replaying.command,
  serving.command,
  sandbox.command,
] as const;
