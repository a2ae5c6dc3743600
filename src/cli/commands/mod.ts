/** The commands, in the order of help. */
import * as check from "./check.ts";
import * as exporting from "./export.ts";
import * as loading from "./load.ts";
import * as replaying from "./replay.ts";
import * as sandbox from "./sandbox.ts";
import * as serving from "./serve.ts";
import * as syncing from "./sync.ts";
import * as users from "./users.ts";
import * as verifying from "./verify.ts";
import * as working from "./work.ts";

export const commands = [
  exporting.command,
  syncing.command,
  loading.command,
  check.command,
  users.command,
  verifying.command,
  replaying.command,
  working.command,
  serving.command,
  sandbox.command,
];

export const specs = commands.map(({ spec }) => spec);
