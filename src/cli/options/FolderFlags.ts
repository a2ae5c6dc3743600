/** The flags of commands on a folder that an export was written to: `monocloud-sessions verify` and `replay`. */
import type * as Command from "./Command.ts";
import type * as Flag from "./Flag.ts";
import { reporting } from "./SharedFlags.ts";

export const argument = { placeholder: "DIR", text: "The folder that an export was written to." };

export const groups = [{ title: "Reports", flags: reporting }] satisfies ReadonlyArray<Flag.Group>;

export type Args = Command.Args<typeof groups>;
