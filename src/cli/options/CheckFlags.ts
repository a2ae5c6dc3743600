/** The flags of `monocloud-sessions check`, in the groups that help shows. */
import type * as Command from "./Command.ts";
import * as Flag from "./Flag.ts";
import * as Shared from "./SharedFlags.ts";

const subject = {
  user: Flag.text({
    name: "user",
    placeholder: "ID",
    text: "Look at the sessions of this user.",
    byDefault: "at the list of users",
  }),
  activity: Flag.toggle(
    "activity",
    "Compare the newest session of some users with their activity: can --by-activity be gone by?",
  ),
  ...Shared.filters,
};

const speed = { rate: Shared.rate, pageSize: Shared.pageSize, maxElapsed: Shared.maxElapsed("30s") };

export const groups = [
  { title: "What to look at", flags: subject },
  { title: "How fast", flags: speed },
  { title: "Connection", flags: Shared.connection },
  { title: "Reports", flags: Shared.talking },
] satisfies ReadonlyArray<Flag.Group>;

export type Args = Command.Args<typeof groups>;
