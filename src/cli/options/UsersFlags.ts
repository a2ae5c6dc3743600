/** The flags of `monocloud-sessions users`, in the groups that help shows. */
import type * as Command from "./Command.ts";
import * as Flag from "./Flag.ts";
import * as Shared from "./SharedFlags.ts";

const output = { ids: Flag.toggle("ids", "Print ids alone, one a line, as --users-file takes them.") };

const speed = { rate: Shared.rate, maxElapsed: Shared.maxElapsed("5m") };

const { quiet, verbose } = Shared.talking;

export const groups = [
  { title: "What to print", flags: output },
  { title: "How fast", flags: speed },
  { title: "Connection", flags: Shared.connection },
  { title: "Reports", flags: { quiet, verbose } },
] satisfies ReadonlyArray<Flag.Group>;

export type Args = Command.Args<typeof groups>;
