/** The flags of `monocloud-sessions serve`, in the groups that help shows. */
import * as Log from "../../server/telemetry/Log.ts";
import type * as Command from "./Command.ts";
import * as Flag from "./Flag.ts";
import * as Read from "./Read.ts";

const address = {
  host: Flag.value({
    name: "host",
    placeholder: "ADDRESS",
    text: "Where to listen. Elsewhere than on loopback WORKER_TOKEN is needed.",
    byDefault: "127.0.0.1",
    read: (text) => text,
    must: "an address",
  }),
  port: Flag.value({
    name: "port",
    placeholder: "N",
    text: "The port to listen on; 0 for any free one.",
    byDefault: "8080",
    ...Read.whole(0, 65_535),
  }),
};

const log = Flag.optional<typeof Log.forms[number]>({
  name: "log",
  placeholder: "FORM",
  text: "Form of the lines about requests and exports: text, json or off.",
  byDefault: "WORKER_LOG, or text",
  words: Log.forms,
  read: (text) => Log.forms.find((form) => form === text),
  must: Log.forms.join(" or "),
});

export const groups = [
  { title: "Where to listen", flags: address },
  { title: "What to log", flags: { log } },
] satisfies ReadonlyArray<Flag.Group>;

export type Args = Command.Args<typeof groups>;
