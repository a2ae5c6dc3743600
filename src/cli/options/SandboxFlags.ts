/** The flags of `monocloud-sessions sandbox`, in the groups that help shows. */
import type * as Command from "./Command.ts";
import * as Flag from "./Flag.ts";
import * as Read from "./Read.ts";

const size = {
  users: Flag.value({
    name: "users",
    placeholder: "N",
    text: "How many users there are.",
    byDefault: "100",
    ...Read.whole(0, 1e9),
  }),
  sessions: Flag.value({
    name: "sessions",
    placeholder: "N",
    text: "How many sessions a user has on average; some have few, some have thousands.",
    byDefault: "20",
    ...Read.whole(0, 1e7),
  }),
  exactly: Flag.toggle("exactly", "Give every user exactly that many sessions."),
  seed: Flag.value({
    name: "seed",
    placeholder: "N",
    text: "The same seed gives the same users and sessions.",
    byDefault: "1",
    ...Read.whole(0, Number.MAX_SAFE_INTEGER),
  }),
  port: Flag.value({
    name: "port",
    placeholder: "N",
    text: "The port to listen on, on 127.0.0.1; 0 for any free one.",
    byDefault: "0",
    ...Read.whole(0, 65_535),
  }),
};

const trouble = {
  faults: Flag.value({
    name: "faults",
    placeholder: "FAULT=N,...",
    text:
      "What goes wrong: 429=10%,500=5%,reset=1%,cut=1%,slow=5%,latency=20ms,deletes=0.2. A wrong name lists " +
      "the good ones.",
    byDefault: "",
    read: (text) => text,
    must: "faults",
  }),
  maxSize: Flag.optional({
    name: "max-size",
    placeholder: "N",
    text: "The largest page given; larger ones are cut to it.",
    ...Read.whole(1, 1e6),
  }),
  paginationHeader: Flag.choice({
    name: "pagination-header",
    placeholder: "WORD",
    text: "Whether answers carry x-pagination: present, absent or malformed.",
    words: ["present", "absent", "malformed"],
    byDefault: "present",
  }),
  ties: Flag.choice({
    name: "ties",
    placeholder: "WORD",
    text: "Whether sessions with equal sort values always come in the same order: stable or unstable.",
    words: ["stable", "unstable"],
    byDefault: "stable",
  }),
  malformed: Flag.value({
    name: "malformed",
    placeholder: "SHARE",
    text: "The share of rows that are no sessions, from 0 to 1.",
    byDefault: "0",
    ...Read.share,
  }),
  unknownFields: Flag.toggle("unknown-fields", "Give rows fields that no version knows."),
};

export const groups = [
  { title: "What is there", flags: size },
  { title: "What goes wrong", flags: trouble },
] satisfies ReadonlyArray<Flag.Group>;

export type Args = Command.Args<typeof groups>;
