/**
 * `monocloud-sessions sandbox`.
 *
 * @module
 */
import * as Command from "@effect/cli/Command";
import * as Options from "@effect/cli/Options";
import * as Effect from "effect/Effect";
import * as Option from "effect/Option";
import * as Schema from "effect/Schema";
import { UsageError } from "../ExitCode.ts";
import * as Settings from "../options/Settings.ts";
import * as Terminal from "../ui/Terminal.ts";

const options = {
  port: Settings.whole("port", 0, 65_535).pipe(
    Options.withPseudoName("N"),
    Options.withDescription("The port to listen on, on 127.0.0.1; 0 for any free one."),
    Options.withDefault(0),
  ),
  users: Settings.whole("users", 0, 1e9).pipe(
    Options.withPseudoName("N"),
    Options.withDescription("How many users there are."),
    Options.withDefault(100),
  ),
  sessions: Settings.whole("sessions", 0, 1e7).pipe(
    Options.withPseudoName("N"),
    Options.withDescription("How many sessions a user has on average; some have few, some have thousands."),
    Options.withDefault(20),
  ),
  exactly: Options.boolean("exactly").pipe(
    Options.withDescription("Give every user exactly that many sessions."),
  ),
  seed: Settings.whole("seed", 0, Number.MAX_SAFE_INTEGER).pipe(
    Options.withPseudoName("N"),
    Options.withDescription("The same seed gives the same users and sessions."),
    Options.withDefault(1),
  ),
  faults: Options.text("faults").pipe(
    Options.withDescription(
      "What goes wrong, such as 429=10%,500=5%,reset=1%,cut=1%,slow=5%,latency=20ms,deletes=0.2. A wrong name lists the good ones.",
    ),
    Options.withDefault(""),
  ),
  maxSize: Settings.whole("max-size", 1, 1e6).pipe(
    Options.withPseudoName("N"),
    Options.withDescription("The largest page given; larger ones are cut to it."),
    Options.optional,
  ),
  pageFacts: Options.choice("page-facts", ["present", "absent", "malformed"]).pipe(
    Options.withDescription("Whether answers carry a good x-pagination header."),
    Options.withDefault("present" as const),
  ),
  ties: Options.choice("ties", ["stable", "unstable"]).pipe(
    Options.withDescription("Whether sessions with equal sort values always come in the same order."),
    Options.withDefault("stable" as const),
  ),
  malformed: Options.float("malformed").pipe(
    Options.withDescription("The share of rows that are not sessions by the schema, from 0 to 1."),
    Options.withSchema(Schema.Number.pipe(Schema.between(0, 1))),
    Options.withDefault(0),
  ),
  unknownFields: Options.boolean("unknown-fields").pipe(
    Options.withDescription("Rows carry fields no version knows."),
  ),
};

/** The command. It runs until it is interrupted; standard output gets what to put into the environment. */
export const command = Command.make("sandbox", options, (args) =>
  Effect.scoped(Effect.gen(function* () {
    // Loaded once it runs: help has no need of it.
    const Sandbox = yield* Effect.promise(() => import("../../sandbox/mod.ts"));
    const sandbox = yield* Effect.try({
      try: () => {
        const mean = args.exactly ? args.sessions : { mean: args.sessions };
        const maxSize = Option.getOrUndefined(args.maxSize);
        return Sandbox.make({
          ...args,
          ...(maxSize === undefined ? { maxSize: 1e6 } : { maxSize }),
          sessionsPerUser: mean,
          faults: Sandbox.parseFaults(args.faults),
        });
      },
      catch: (error) => new UsageError({ message: (error as Error).message }),
    });
    const server = yield* Effect.acquireRelease(
      Effect.tryPromise({
        try: () => Sandbox.serve(sandbox, { port: args.port }),
        catch: (error) =>
          new UsageError({ message: `Cannot listen on port ${args.port}: ${(error as Error).message}` }),
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
  }))).pipe(Command.withDescription("An embedded tenant of generated users, to try all of this on."));
