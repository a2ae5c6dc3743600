/** `monocloud-sessions sandbox`. */
import * as Effect from "effect/Effect";
import { usageError } from "../ExitCode.ts";
import * as Command from "../options/Command.ts";
import * as Flag from "../options/Flag.ts";
import * as Read from "../options/Read.ts";
import * as Terminal from "../ui/Terminal.ts";

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

/** The command. It runs until it is interrupted; standard output gets what to put into the environment. */
export const command = Command.make({
  name: "sandbox",
  summary: "Run a tenant of made-up users to try things on.",
  groups: [{ title: "What is there", flags: size }, { title: "What goes wrong", flags: trouble }],
  examples: [["sandbox --users 1000 --faults 429=5%,reset=1%", "A tenant that is large and not well"]],
}, (args) =>
  Effect.scoped(Effect.gen(function* () {
    // Loaded once it runs: help has no need of it.
    const Sandbox = yield* Effect.promise(() => import("../../sandbox/mod.ts"));
    const sandbox = yield* Effect.try({
      try: () => {
        const { sessions, maxSize = 1e6 } = args;
        return Sandbox.make({
          ...args,
          maxSize,
          sessionsPerUser: args.exactly ? sessions : { mean: sessions },
          faults: Sandbox.parseFaults(args.faults),
        });
      },
      catch: (error) => usageError((error as Error).message),
    });
    const server = yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () => Sandbox.serve(sandbox, { port: args.port }),
        catch: (error) => usageError(`Cannot listen on port ${args.port}: ${(error as Error).message}`),
      }),
      (server) => Effect.promise(() => server.close()),
    );
    const [user] = sandbox.userIds();
    yield* Terminal.print([
      `export MONOCLOUD_DOMAIN=${server.url}`,
      `export MONOCLOUD_API_KEY=${sandbox.key}`,
    ]);
    const users = args.users.toLocaleString("en-US");
    yield* Terminal.say([
      `A tenant of ${users} generated users is listening; Ctrl-C ends it. In another terminal, set`,
      "the two variables above and try:",
      ...(user === undefined ? [] : [`  monocloud-sessions check --user ${user}`]),
      "  monocloud-sessions export --all-users --out sessions.csv --rate 500/s",
    ]);
    yield* Effect.never;
  })));
