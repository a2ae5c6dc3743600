/** `monocloud-sessions users`. */
import process from "node:process";
import * as Effect from "effect/Effect";
import * as Stream from "effect/Stream";
import type { User, UserBatch } from "../../source/UserSource.ts";
import { exitCodes } from "../ExitCode.ts";
import * as Command from "../options/Command.ts";
import * as Flag from "../options/Flag.ts";
import * as Settings from "../options/Settings.ts";
import * as Shared from "../options/SharedFlags.ts";
import * as ProgressBar from "../ui/ProgressBar.ts";
import * as Terminal from "../ui/Terminal.ts";

const output = { ids: Flag.toggle("ids", "Print ids alone, one a line, as --users-file takes them.") };

const speed = { rate: Shared.rate, maxElapsed: Shared.maxElapsed("5m") };

const { quiet, verbose } = Shared.talking;

const lineOf = (user: User, isIds: boolean): string =>
  isIds ? Terminal.printable(user.user_id) : Terminal.printableJson(user);

/** Print each batch as it comes, and give why the list is not verified, if it is not. */
const printing = <E, R>(batches: Stream.Stream<UserBatch, E, R>, isIds: boolean, counts: Counts) =>
  Effect.scoped(Effect.gen(function* () {
    const sink = yield* Terminal.stdout().open;
    let reasons: ReadonlyArray<string> = [];
    yield* Stream.runForEach(batches, ({ users, total, unverifiedReasons }) => {
      counts.users += users.length;
      counts.total = total;
      reasons = unverifiedReasons ?? reasons;
      return sink.write(new TextEncoder().encode(users.map((user) => `${lineOf(user, isIds)}\n`).join("")));
    });
    yield* sink.commit;
    return reasons;
  }));

interface Counts {
  users: number;
  total: number | undefined;
}

export const command = Command.make(
  {
    name: "users",
    summary: "List the users of the tenant on stdout: ids with their times, as lines of JSON.",
    interrupted: "the list is incomplete",
    groups: [
      { title: "What to print", flags: output },
      { title: "How fast", flags: speed },
      { title: "Connection", flags: Shared.connection },
      { title: "Reports", flags: { quiet, verbose } },
    ],
    examples: [["users --ids > ids.txt", "A list to choose from, for export --users-file ids.txt"]],
  },
  ({ ids, quiet, rate, maxElapsed, verbose, ...args }) =>
    Effect.gen(function* () {
      // Loaded once it runs: help has no need of it.
      const UserSource = yield* Effect.promise(() => import("../../source/UserSource.ts"));
      const { tenantLayer } = yield* Effect.promise(() => import("./tenantLayer.ts"));
      const tenant = yield* Settings.tenantFrom(args);
      const counts: Counts = { users: 0, total: undefined };
      const work = Effect.provide(
        printing(UserSource.all(), ids, counts),
        tenantLayer(tenant, { rate, maxElapsed }, verbose),
      );
      // On a terminal the list itself shows how far it has come.
      const reasons = yield* quiet || process.stdout.isTTY ? work : ProgressBar.counting(
        work,
        "users",
        () => ({ done: counts.users, total: counts.total ?? counts.users }),
      );
      if (reasons.length === 0) return;
      yield* Terminal.say([`Warning: the list of users is not verified: ${reasons.join("; ")}`]);
      process.exitCode = exitCodes.incomplete;
    }),
);
