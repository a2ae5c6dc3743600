/** The program of `monocloud-sessions sandbox`. */
import * as Effect from "effect/Effect";
import * as Sandbox from "../../sandbox/mod.ts";
import { usageError } from "../ExitCode.ts";
import type { Args } from "../options/SandboxFlags.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Terminal from "../ui/Terminal.ts";

/** Run until interrupted; standard output gets what to put into the environment. */
export const run = (args: Args) =>
  Effect.scoped(Effect.gen(function* () {
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
    const users = ProgressBar.count(args.users);
    yield* Terminal.say([
      `A tenant of ${users} generated users is listening; Ctrl-C ends it. In another terminal, set`,
      "the two variables above and try:",
      ...(user === undefined ? [] : [`  monocloud-sessions check --user ${user}`]),
      "  monocloud-sessions export --all-users --out sessions.csv --rate 500/s",
    ]);
    yield* Effect.never;
  }));
